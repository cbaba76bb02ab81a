"""The README's list of commands is the program's own."""

from pathlib import Path

from hermes_cli.repl import table

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "hermes_cli/repl/table.py", "<!-- end of commands -->"


def rows() -> str:
    """Return the table's rows as the README must have them."""
    lines = []
    for command in table.COMMANDS:
        names = ", ".join(f"`{one}`" for one in (command.usage, *(f"/{alias}" for alias in command.aliases)))
        escaped = names.replace("|", "\\|")  # GitHub takes a bare one for the end of a cell
        lines.append(f"| {escaped} | {command.help} |\n")
    return "".join(lines)


def test_the_readme_lists_the_commands_that_there_are() -> None:
    """A reader would try a command that is not there, or never learn of one."""
    text = README.read_text(encoding="utf-8")
    section = text[text.index("\n", text.index(BEGIN)) + 1 : text.index(END)]
    assert section == rows()
