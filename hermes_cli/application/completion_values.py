"""The values that a shell offers for an option or an argument, each with its description.

Each function returns a map from values to descriptions, and imports no library of a model.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # completing a command does not need it
    from hermes_cli.config import Paths
    from hermes_cli.server_settings import ServerSettings

Values = Callable[["Paths"], Mapping[str, str]]

SHOWN_CONVERSATIONS: Final = 50


def _without_description(values: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(values, "")


def installed_models(paths: "Paths") -> Mapping[str, str]:
    """Return the models on this machine."""
    from hermes_cli.models import local

    return {model.name: model.broken or model.precision for model in local.installed(paths.models)}


def known_models(_paths: "Paths") -> Mapping[str, str]:
    """Return the models with a short name."""
    from hermes_cli.models.catalogue import CATALOGUE

    entries = {entry.alias: entry.description for entry in CATALOGUE.values()}
    variants = {
        entry.spelling(variant): entry.description
        for entry in CATALOGUE.values()
        for variant in entry.variants
    }
    return entries | variants


def models(paths: "Paths") -> Mapping[str, str]:
    """Return the models on this machine and those with a short name."""
    return {**known_models(paths), **installed_models(paths)}


def _configured_servers(paths: "Paths") -> "Mapping[str, ServerSettings]":
    """Return the servers of the config file; none if it is invalid."""
    from hermes_cli import config
    from hermes_cli.errors import ConfigError

    try:
        return config.load(paths, {}).servers
    except ConfigError:
        return {}


def servers(paths: "Paths") -> Mapping[str, str]:
    """Return the names of servers, which are not contacted, with a description."""
    from hermes_cli.engines.remote.address import LOCAL_SERVERS

    return {**LOCAL_SERVERS, **{name: server.url for name, server in _configured_servers(paths).items()}}


def models_and_servers(paths: "Paths") -> Mapping[str, str]:
    """Return the values of --model: the names of models and of servers."""
    return {**models(paths), **servers(paths)}


def personas(paths: "Paths") -> Mapping[str, str]:
    """Return the names of the personas, without reading their files."""
    from hermes_cli.personas import loader

    return _without_description(loader.keys(paths.personas, loader.shipped_dir()))


def lorebooks(paths: "Paths") -> Mapping[str, str]:
    """Return the names of the lorebooks, without reading their files."""
    from hermes_cli.personas import loader

    return _without_description(loader.lorebook_keys(paths.lore))


def conversations(paths: "Paths") -> Mapping[str, str]:
    """Return the numbers of the last conversations, described by their titles."""
    from hermes_cli.store.titles import recent_titles

    titles = recent_titles(paths.conversations, SHOWN_CONVERSATIONS)
    return {str(number): title for number, title in titles.items()}


def precisions(_paths: "Paths") -> Mapping[str, str]:
    """Return the values of --precision."""
    from hermes_cli.models.plan.request import PRECISIONS

    return _without_description(PRECISIONS)


def devices(_paths: "Paths") -> Mapping[str, str]:
    """Return the values of --device without those that have a number."""
    from hermes_cli.models.plan.request import AUTO, CPU, GPU_KINDS

    return _without_description((AUTO, CPU, *GPU_KINDS))


def kv_types(_paths: "Paths") -> Mapping[str, str]:
    """Return the values of --kv."""
    from hermes_cli.models.plan.request import KV_TYPES

    return _without_description(KV_TYPES)


def overflow_actions(_paths: "Paths") -> Mapping[str, str]:
    """Return the values of --on-overflow."""
    from hermes_cli.chat.prompt_settings import Overflow

    return _without_description(Overflow)


def conversation_formats(_paths: "Paths") -> Mapping[str, str]:
    """Return the formats of conversation files."""
    from hermes_cli.formats.registry import FORMATS

    return {file_format.name: file_format.help for file_format in FORMATS}


def persona_formats(_paths: "Paths") -> Mapping[str, str]:
    """Return the formats in which a persona can be exported."""
    from hermes_cli.application.persona_files import FORMATS

    return _without_description(FORMATS)


def programs(_paths: "Paths") -> Mapping[str, str]:
    """Return the programs whose prompts can be printed."""
    from hermes_cli.application.persona_prompt import Program

    return _without_description(Program)


def _server_keys(paths: "Paths") -> list[str]:
    """Return the keys of the servers in the config file."""
    from hermes_cli.server_settings import NAMES

    return [f"servers.{name}.{key}" for name in _configured_servers(paths) for key in NAMES]


def config_keys(paths: "Paths") -> Mapping[str, str]:
    """Return the keys of the config file, and the help of those that are generation options."""
    from hermes_cli.config import PLAIN_SETTINGS
    from hermes_cli.lore_settings import NAMES
    from hermes_cli.options import FIELDS

    names = (*PLAIN_SETTINGS, *(f"lore.{name}" for name in NAMES), *_server_keys(paths))
    return _without_description(names) | {name: option.help for name, option in FIELDS.items()}


VALUES: Final[Mapping[str, Values]] = {
    "--device": devices,
    "--kv": kv_types,
    "--lore": lorebooks,
    "--model": models_and_servers,
    "--on-overflow": overflow_actions,
    "--persona": personas,
    "--precision": precisions,
    "--resume": conversations,
    "config set key": config_keys,
    "config unset key": config_keys,
    "models plan name": models_and_servers,
    "models pull name": known_models,
    "models quantize name": models,
    "models rm name": installed_models,
    "models show name": models,
    "personas check name": personas,
    "personas edit name": personas,
    "personas export --format": persona_formats,
    "personas export name": personas,
    "personas prompt --like": programs,
    "personas prompt name": personas,
    "personas show name": personas,
    "sessions export --format": conversation_formats,
    "sessions export names": conversations,
    "sessions import --format": conversation_formats,
    "sessions rename name": conversations,
    "sessions rm names": conversations,
    "sessions show name": conversations,
}
"""The values of options, and of options and arguments of a single command."""
