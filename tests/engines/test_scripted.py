"""Tests of the scripted engine."""

from pathlib import Path

import pytest

from hermes_cli.engines.base import Cancel
from hermes_cli.engines.scripted import ScriptedEngine, ScriptedTurn, load_script
from hermes_cli.errors import ConfigError, HermesError, ResourcesExhausted
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions

HELLO = [Message(Role.USER, "Hello")]


def test_an_error_is_raised_after_the_text_of_its_turn() -> None:
    """A turn's error is raised after all of its text."""
    engine = ScriptedEngine([ScriptedTurn("So far", error="out-of-memory")])
    texts: list[str] = []
    with pytest.raises(ResourcesExhausted):
        texts.extend(chunk.text for chunk in engine.stream(HELLO, GenerationOptions(), Cancel()))
    assert "".join(texts) == "So far"


def test_a_question_after_the_last_turn_is_refused() -> None:
    """A question after the last turn of the script is refused with an error."""
    with pytest.raises(HermesError, match="no more turns"):
        ScriptedEngine([]).stream(HELLO, GenerationOptions(), Cancel())


def test_a_script_is_read_from_a_file(tmp_path: Path) -> None:
    """A script file sets the context size and the answers."""
    path = tmp_path / "script.toml"
    path.write_text('context_size = 99\n[[turns]]\ntext = "Hi"\n')
    engine = load_script(path)
    chunks = list(engine.stream(HELLO, GenerationOptions(), Cancel()))
    assert (engine.context_size, "".join(c.text for c in chunks)) == (99, "Hi")


@pytest.mark.parametrize(
    "text", ["[[turns]]\nerror = 'x'", "turns = 1", "[[turns]]\nwords = 'x'", "not toml"]
)
def test_an_invalid_script_is_refused(tmp_path: Path, text: str) -> None:
    """A file with unknown keys, a wrong type or an unknown error name is refused with a ConfigError."""
    path = tmp_path / "script.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load_script(path)
