"""Finds and opens the tokenizer on this machine that the config file names for a server's model."""

from pathlib import Path
from typing import TYPE_CHECKING

from hermes_cli.application.runtime import Runtime
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.errors import ModelUnavailable, UsageError
from hermes_cli.models import selection
from hermes_cli.models.checkpoint.folder import has_tokenizer
from hermes_cli.models.gguf.model import GgufHeader
from hermes_cli.models.reference import parse

if TYPE_CHECKING:  # imported only if a server is used
    from hermes_cli.engines.remote.local_vocabulary import LocalVocabulary


def find_tokenizer(runtime: Runtime, address: ServerAddress) -> tuple[str, Path | GgufHeader]:
    """Return the name of the model with the server's tokenizer, and its folder or the header of its GGUF.

    Raises ModelUnavailable if there is no such model, or it is broken.
    """
    try:
        return _find(address.tokenizer, runtime.paths.models)
    except (ModelUnavailable, UsageError) as error:
        raise _unusable(address, error.message, error.hint) from None


def open_tokenizer(runtime: Runtime, address: ServerAddress) -> "LocalVocabulary":
    """Return the tokenizer that the config file names. The run of the command closes it at the end.

    Raises ModelUnavailable if it is missing or cannot be used.
    """
    from hermes_cli.application.local_engine import engine_log
    from hermes_cli.engines.remote.local_vocabulary import open_folder, open_gguf

    name, source = find_tokenizer(runtime, address)
    try:
        if isinstance(source, Path):
            return open_folder(name, source)
        opened = open_gguf(name, source, engine_log(runtime))
    except ModelUnavailable as error:
        raise _unusable(address, error.message) from None
    runtime.at_exit.callback(opened.close)
    return opened


def _find(name: str, models: Path) -> tuple[str, Path | GgufHeader]:
    ref = parse(name, models_dir=models, is_typed=False)
    if ref.path is not None and has_tokenizer(ref.path):
        return ref.name, ref.path
    model = selection.installed_for(ref, models)
    if has_tokenizer(model.path):
        return model.name, model.path
    if model.broken or model.header is None:
        reason = model.broken or "it has no tokenizer.json"
        raise ModelUnavailable(f"{model.name} cannot be used: {reason}", model.advice)
    return model.name, model.header


def _unusable(address: ServerAddress, reason: str, hint: str = "") -> ModelUnavailable:
    key = f"servers.{address.label}.tokenizer"
    remedy = f"correct {key} in the config file, or remove it with 'hermes config unset {key}'"
    return ModelUnavailable(
        f"the tokenizer of the server {address.label}: {reason}", "; ".join(filter(None, (hint, remedy)))
    )
