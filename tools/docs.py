"""Writes the generated tables of the documentation: `python -m tools.docs`, as `make docs` does.

A table stands between a comment that names it and the comment that ends it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hermes_cli.options import FIELDS, value_text
from hermes_cli.repl.command_table import COMMANDS

DOCS: Final = Path(__file__).parents[1] / "docs"


def commands_table() -> str:
    """Return the table of slash commands."""
    rows = ["| command | effect |", "|---|---|"]
    for command in COMMANDS:
        names = ", ".join(
            f"`{name}`" for name in (command.usage, *(f"/{alias}" for alias in command.aliases))
        )
        escaped = names.replace("|", "\\|")  # GitHub ends a cell at a bare |
        rows.append(f"| {escaped} | {command.help} |")
    return "\n".join(rows)


def options_table() -> str:
    """Return the table of generation options."""
    rows = ["| option | values | default | effect |", "|---|---|---|---|"]
    rows += [
        f"| `{name}` | {option.range_text} | {value_text(option.default)} | {option.help} |"
        for name, option in FIELDS.items()
    ]
    return "\n".join(rows)


def generated() -> Mapping[str, str]:
    """Return each page that contains a generated table, by its file name, with the current table."""
    tables = {"prompt.md": ("commands", commands_table()), "settings.md": ("options", options_table())}
    return {
        name: replaced((DOCS / name).read_text(encoding="utf-8"), title, table)
        for name, (title, table) in tables.items()
    }


def replaced(page: str, title: str, table: str) -> str:
    """Return a page with a new table between its comments. Raises ValueError if it has no such comments."""
    pattern = re.compile(rf"(<!-- {title}: [^\n]*-->\n).*?(<!-- end of {title} -->)", re.DOTALL)
    # A comment directly after a table would end it on GitHub.
    page, count = pattern.subn(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", page)
    if count != 1:
        raise ValueError(f"{count} places for the table of {title}")
    return page


def main() -> None:
    """Write the pages that are out of date, and print their names."""
    for name, text in generated().items():
        path = DOCS / name
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"docs/{name}")


if __name__ == "__main__":
    main()
