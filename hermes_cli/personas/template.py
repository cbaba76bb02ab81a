"""The commented template of a new persona's file, which is a working persona without changes."""

from pathlib import Path
from typing import Final

from hermes_cli.personas.toml_text import text

_NAME: Final = '"NAME"'


def begun(name: str) -> str:
    """Return the text of a new persona's file for a character called `name`."""
    template = Path(__file__).with_name("template.toml").read_text(encoding="utf-8")
    return template.replace(_NAME, text(name), 1)
