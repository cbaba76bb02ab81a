"""Test of the README's list of commands."""

from pathlib import Path

from hermes_cli.repl import command_table

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "hermes_cli/repl/command_table.py", "<!-- end of commands -->"


def rows() -> str:
    """Return the table's header and rows as the README must have them."""
    lines = ["\n| Command | Effect |\n|---|---|\n"]  # a comment after it would end the table on GitHub
    for command in command_table.COMMANDS:
        names = ", ".join(f"`{one}`" for one in (command.usage, *(f"/{alias}" for alias in command.aliases)))
        escaped = names.replace("|", "\\|")  # GitHub ends a cell at a bare |
        lines.append(f"| {escaped} | {command.help} |\n")
    return "".join(lines)


def test_the_readme_lists_the_commands_that_there_are() -> None:
    """The README lists exactly the commands of the program, with their help."""
    text = README.read_text(encoding="utf-8")
    section = text[text.index("\n", text.index(BEGIN)) + 1 : text.index(END)]
    assert section == rows()
