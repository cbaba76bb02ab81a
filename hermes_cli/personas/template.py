"""The file that a new persona begins with: commented, and playable as it stands.

It knows where the file lies in the package and where the name goes in it, and nothing of the keys.
"""

from pathlib import Path
from typing import Final

from hermes_cli.personas.toml_text import text

_NAME: Final = '"NAME"'


def begun(name: str) -> str:
    """Return the text of a new persona's file, for a character of that name."""
    template = Path(__file__).with_name("template.toml").read_text(encoding="utf-8")
    return template.replace(_NAME, text(name), 1)
