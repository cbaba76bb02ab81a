"""Write the man pages into man/, from the commands, settings, slash commands and exit codes of hermes.

`python -m tools.man` replaces the files; a test fails if they are out of date. There is one page for `hermes`
and one for each of its commands.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import typer.main

from hermes_cli import __version__, app, errors, options
from hermes_cli.application.flags import Flags
from hermes_cli.config import CHOICES, ENV_PREFIX, HOME_VARIABLE, PLAIN_SETTINGS
from hermes_cli.repl.command_table import COMMANDS, KEYS

PROJECT: Final = Path(__file__).parents[1]
FOLDER: Final = PROJECT / "man"
ALIASES: Final = ("openhermes", "openhermes-cli")
"""The other names of the program."""
PROGRAM: Final = "hermes"
CHAT: Final = "chat"
_CODE_LINE: Final = re.compile(r"^[│├└─ ]*(\w+) +(128 \+ n|\d+) +(.+)$", re.MULTILINE)
_SPECIAL: Final = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
OTHER_VARIABLES: Final = {
    HOME_VARIABLE: "The folder of everything that hermes saves, instead of the system's folders for "
    "settings, data, caches and state. `hermes doctor` shows them.",
    "HF_HOME, HF_HUB_CACHE": "The folder of the Hugging Face cache.",
    "HF_TOKEN": "The access token for models that are not public.",
    "OLLAMA_HOST": "The address of the server that `-m ollama` uses.",
    "VISUAL, EDITOR": "The editor for messages, personas and settings.",
    "NO_COLOR": "If it is not empty, hermes prints no colours.",
    "HTTPS_PROXY, NO_PROXY": "The proxy for downloads and for model servers on other machines.",
}


def pages() -> dict[str, str]:
    """Return the content of each man page by its file name."""
    root: Any = typer.main.get_command(app.app)
    result = {f"{PROGRAM}.1": _main_page(root)}
    for verb in app.VERBS:
        result[f"{PROGRAM}-{verb}.1"] = _verb_page(verb, root.get_command(None, verb))
    return result | {f"{alias}.1": f".so man1/{PROGRAM}.1\n" for alias in ALIASES}


def escape(text: str) -> str:
    """Return text that roff prints as it is."""
    escaped = "".join(
        _SPECIAL.get(character, character if character.isascii() else f"\\[u{ord(character):04X}]")
        for character in text
    )
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def release_date(changelog: str) -> str:
    """Return the date of this version in the changelog, or an empty string if it is not released."""
    found = re.search(rf"^## \[?{re.escape(__version__)}\]? - (\d{{4}}-\d\d-\d\d)$", changelog, re.MULTILINE)
    return found[1] if found else ""


def _main_page(root: Any) -> str:
    names = f"{PROGRAM}, {', '.join(ALIASES)}"
    commands = {f"{PROGRAM}-{verb}(1)": line for verb, line in app.VERBS.items()}
    settings = {
        f"{ENV_PREFIX}{name.upper()}": _setting_text(name) for name in (*PLAIN_SETTINGS, *options.FIELDS)
    }
    return _page(
        PROGRAM,
        _section("NAME", [f"{escape(names)} \\- {escape(_sentence(root.help))}"]),
        _section("SYNOPSIS", [f"{_bold(PROGRAM)} [options] [command]"]),
        _section("DESCRIPTION", _paragraphs(root.help)),
        _section("COMMANDS", _entries(commands)),
        _section("OPTIONS", _options(root)),
        _exit_status(),
        _section("ENVIRONMENT", _entries({**OTHER_VARIABLES, **settings})),
        _section(
            "FILES",
            _entries({"config.toml": "The settings. `hermes config path` prints where this file is."}),
        ),
        _see_also(app.VERBS),
    )


def _verb_page(verb: str, command: Any) -> str:
    path = f"{PROGRAM} {verb}"
    groups: list[Iterable[str]] = []
    if hasattr(command, "commands"):
        groups.append(_section("COMMANDS", _subcommands(path, command)))
    else:
        groups.append(_section("ARGUMENTS", _arguments(command)))
        groups.append(_section("OPTIONS", _options(command)))
    if verb == CHAT:
        slash_commands = {command.usage: command.help for command in COMMANDS}
        groups.append(_section("COMMANDS IN THE CHAT", _entries(slash_commands)))
        groups.append(_section("KEYS", _entries(dict(KEYS))))
    return _page(
        f"{PROGRAM}-{verb}",
        _section("NAME", [f"{escape(f'{PROGRAM}-{verb}')} \\- {escape(_sentence(app.VERBS[verb]))}"]),
        _section("SYNOPSIS", [_synopsis(path, command)]),
        _section("DESCRIPTION", _paragraphs(command.help)),
        *groups,
        _section("EXAMPLES", _examples(command)),
        _exit_status(),
        _see_also([]),
    )


def _page(name: str, *sections: Iterable[str]) -> str:
    date = release_date((PROJECT / "CHANGELOG.md").read_text(encoding="utf-8"))
    title = f'.TH "{escape(name.upper())}" 1 "{date}" "hermes {__version__}" "hermes manual"'
    comment = '.\\" Written by tools/man.py. Do not edit.'
    return "\n".join([comment, title, *(line for section in sections for line in section)]) + "\n"


def _section(title: str, lines: Iterable[str]) -> list[str]:
    """Return the lines of a section, none if it is empty."""
    content = list(lines)
    return [f".SH {title}", *content] if content else []


def _bold(text: str) -> str:
    return f"\\fB{escape(text)}\\fR"


def _italic(text: str) -> str:
    return f"\\fI{escape(text)}\\fR"


def _sentence(text: str) -> str:
    """Return the first sentence of a help text as the NAME section has it."""
    first = text.splitlines()[0].removesuffix(".")
    return f"{first[:1].lower()}{first[1:]}"


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text. Lines that typer does not wrap are kept apart."""
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield ".PP"
        is_literal = paragraph.startswith("\b")
        if is_literal:
            yield ".nf"
        yield from (escape(line) for line in paragraph.removeprefix("\b").strip("\n").splitlines())
        if is_literal:
            yield ".fi"


def _entries(entries: Mapping[str, str]) -> Iterator[str]:
    """Yield a list of terms and their descriptions."""
    for term, text in entries.items():
        yield from (".TP", _bold(term), escape(text))


def _subcommands(path: str, group: Any) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _subcommands(f"{path} {name}", command)
            continue
        yield from (f'.SS "{escape(f"{path} {name}")}"', _synopsis(f"{path} {name}", command), ".PP")
        yield from _paragraphs(command.help)
        yield from _arguments(command)
        yield from _options(command)


def _examples(command: Any) -> Iterator[str]:
    """Yield the examples at the end of a command's help."""
    lines = [line.strip() for line in (command.epilog or "").splitlines()[2:]]
    if lines:
        yield from (".nf", *map(escape, lines), ".fi")


def _synopsis(path: str, command: Any) -> str:
    if hasattr(command, "commands"):
        return f"{_bold(path)} command"
    arguments = [_argument_name(argument) for argument in _parameters(command, "argument")]
    return " ".join([_bold(path), "[options]", *map(escape, arguments)])


def _parameters(command: Any, kind: str) -> list[Any]:
    return [
        parameter
        for parameter in command.params
        if parameter.param_type_name == kind and not parameter.hidden
    ]


def _argument_name(argument: Any) -> str:
    """Return an argument as the usage shows it, such as `[FILE]...`."""
    choices = getattr(argument.type, "choices", None)
    name: str = argument.metavar or ("|".join(choices) if choices else argument.name.upper())
    name = f"{name}..." if argument.nargs == -1 and not name.endswith("...") else name
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _arguments(command: Any) -> Iterator[str]:
    for argument in _parameters(command, "argument"):
        yield from (".TP", _italic(_argument_name(argument)), escape(argument.help or ""))


def _options(command: Any) -> Iterator[str]:
    for option in _parameters(command, "option"):
        value = "" if option.is_flag else f" {_italic(option.metavar or 'TEXT')}"
        names = ", ".join(map(_bold, sorted(option.opts, key=len)))
        yield from (".TP", f"{names}{value}", escape(option.help or ""))
    yield from (".TP", ", ".join(map(_bold, ("-h", "--help"))), "Show the help and exit.")


def exit_codes(text: str = str(errors.__doc__)) -> dict[str, list[str]]:
    """Return the meanings of each exit code, from the list in `errors.py`."""
    codes: dict[str, list[str]] = {"0": ["the command succeeded"]}
    for _, code, meaning in _CODE_LINE.findall(text):
        codes.setdefault(code, []).append(meaning)
    return codes


def _exit_status() -> list[str]:
    codes = {code: f"{'; '.join(meanings)}." for code, meanings in exit_codes().items()}
    return _section(
        "EXIT STATUS", _entries({code: text[0].upper() + text[1:] for code, text in codes.items()})
    )


def _setting_text(name: str) -> str:
    """Return the description of the environment variable of a setting or a generation option."""
    if name in options.FIELDS:
        return options.FIELDS[name].help
    for flag in fields(Flags):
        if flag.name == name:
            return str(flag.metadata["option"].help)
    choices = f": {' or '.join(CHOICES[name])}" if name in CHOICES else ""
    return f"The setting '{name}' of the config file{choices}."


def _see_also(verbs: Iterable[str]) -> list[str]:
    names = [f"{PROGRAM}-{verb}" for verb in verbs] or [PROGRAM]
    return _section("SEE ALSO", [", ".join(f"{_bold(name)}(1)" for name in names)])


def main() -> None:
    """Write the pages, and remove those of commands that no longer exist."""
    FOLDER.mkdir(exist_ok=True)
    written = pages()
    for path in FOLDER.glob("*.1"):
        if path.name not in written:
            path.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
