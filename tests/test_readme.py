"""Tests of the README's generated tables: the commands and the options."""

import re
import tomllib
from pathlib import Path

from hermes_cli.config import CHOICES, PLAIN_SETTINGS, Settings
from hermes_cli.options import FIELDS, value_text
from hermes_cli.repl import command_table

README = Path(__file__).parents[1] / "README.md"


def section(source: str, end: str) -> str:
    """Return the text between the comment that names a module and the comment `end`."""
    text = README.read_text(encoding="utf-8")
    return text[text.index("\n", text.index(source)) + 1 : text.index(f"<!-- {end} -->")]


def test_the_readme_lists_every_command() -> None:
    """The table has the help of each command and no other rows."""
    lines = ["\n| Command | Effect |\n|---|---|\n"]  # a comment after it would end the table on GitHub
    for command in command_table.COMMANDS:
        names = ", ".join(
            f"`{name}`" for name in (command.usage, *(f"/{alias}" for alias in command.aliases))
        )
        escaped = names.replace("|", "\\|")  # GitHub ends a cell at a bare |
        lines.append(f"| {escaped} | {command.help} |\n")
    assert section("hermes_cli/repl/command_table.py", "end of commands") == "".join(lines)


def test_the_readme_lists_every_option() -> None:
    """The table has the range, default and help of each option and no other rows."""
    lines = ["\n| Option | Values | Default | Effect |\n|---|---|---|---|\n"]
    for name, known in FIELDS.items():
        lines.append(f"| `{name}` | {known.range_text} | {value_text(known.default)} | {known.help} |\n")
    assert section("hermes_cli/options.py", "end of options") == "".join(lines)


def test_the_readme_lists_every_setting() -> None:
    """The config file of the README has every setting, the default of each choice, and its variable."""
    text = README.read_text(encoding="utf-8")
    block = re.search(r"```toml\n(model = .*?)```", text, re.DOTALL)
    assert block is not None
    shown = tomllib.loads(block[1])
    assert {*shown} == {*PLAIN_SETTINGS, "options"}
    defaults = Settings()
    for name in PLAIN_SETTINGS:
        assert f"`OPENHERMES_{name.upper()}`" in text
        if name in CHOICES and (default := getattr(defaults, name)) is not None:
            assert shown[name] == default
