"""Helpers that write and open persona files, and return the errors for them."""

from pathlib import Path

import pytest

from hermes_cli.errors import PersonaError
from hermes_cli.messages import Conversation
from hermes_cli.personas.loader import load_file
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.opening import open_with
from hermes_cli.personas.persona import DEFAULT_USER, Persona


def write_file(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a persona file and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def error_text(path: Path) -> str:
    """Return the message and the hint for a file that cannot be used, after checking exit code 78."""
    with pytest.raises(PersonaError) as caught:
        load_file(path)
    assert caught.value.exit_code == 78
    assert str(path) in caught.value.message
    return f"{caught.value.message} | {caught.value.hint}"


def start_conversation(persona: Persona, user: str = DEFAULT_USER) -> Conversation:
    """Return the first messages of a chat with the persona."""
    return open_with(persona, Macros(persona.called, user)).conversation()
