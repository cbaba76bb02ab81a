"""Resumed conversations: the file of the persona, and the variables of its macros."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from hermes_cli.config import Paths
from tests.run_hermes import hermes, script

Env = Mapping[str, str]


def test_a_persona_from_a_file_is_read_again_by_a_resumed_conversation(home: Env, tmp_path: Path) -> None:
    """From the path that the user gave, in another folder, too; the notice names it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    file = folder / "hot.toml"
    file.write_text('name = "Hot"\nsystem = "s"\n[options]\ntemperature = 1.9\n')
    model = script(tmp_path, {"text": "A."})
    relative = os.path.relpath(file)
    hermes("chat", "-p", relative, "-m", model, env=home, stdin=b"one\n/fork\ntwo\n")
    for flags, lines in ((("-c",), b""), (("-r", "1"), b""), ((), b"/resume 1\n"), ((), b"/resume 2\n")):
        result = hermes("chat", *flags, "-m", model, env=home, stdin=lines + b"/show\n")
        assert "the persona 'hot' is read from " in result.stderr
        assert "/mine/hot.toml" in result.stderr.replace("\n", "")
        assert re.search(r"temperature +1\.9", result.stderr)


def test_a_persona_file_that_is_gone_or_broken_is_reported(home: Env, tmp_path: Path) -> None:
    """No other persona with its name is used, and the path stays with the conversation."""
    file = tmp_path / "hot.toml"
    text = 'name = "Hot"\nsystem = "s"\n[options]\ntemperature = 1.9\n'
    file.write_text(text)
    model = script(tmp_path, {"text": "A."})
    hermes("chat", "-p", str(file), "-m", model, env=home, stdin=b"one\n")
    personas = Paths.from_environment(home).personas
    personas.mkdir(parents=True)
    (personas / "hot.toml").write_text(text.replace("1.9", "1.66"))
    for change, problem in (
        (file.unlink, "is gone: "),
        (lambda: file.write_text("system = 1"), "is not used: "),
    ):
        change()
        for flags, lines in ((("-c",), b"/show\n"), ((), b"/resume 1\n/show\n")):
            result = hermes("chat", *flags, "-m", model, env=home, stdin=lines)
            assert problem in result.stderr
            assert "1.66" not in result.stderr
    file.write_text(text)
    assert re.search(
        r"temperature +1\.9", hermes("chat", "-c", "-m", model, env=home, stdin=b"/show\n").stderr
    )


def test_a_resumed_conversation_is_given_the_new_place_of_its_persona(home: Env, tmp_path: Path) -> None:
    """And another persona that the list has."""
    file, moved = tmp_path / "hot.toml", tmp_path / "moved"
    file.write_text('name = "Hot"\nsystem = "s"\n')
    model = script(tmp_path, {"text": "A."})
    hermes("chat", "-p", str(file), "-m", model, env=home, stdin=b"one\n")
    moved.mkdir()
    file.rename(moved / "hot.toml")
    hermes("chat", "-c", "-p", str(moved / "hot.toml"), "-m", model, env=home)
    again = hermes("chat", "-c", "-m", model, env=home)
    assert f"the persona 'hot' is read from {moved / 'hot.toml'}" in again.stderr
    hermes("chat", "-c", "-p", "edward-elric", "-m", model, env=home)
    again = hermes("chat", "-c", "-m", model, env=home, stdin=b"/show\n")
    assert ("is read from" in again.stderr, "Edward Elric" in again.stderr) == (False, True)


def test_variables_of_a_conversation_are_saved(home: Env, tmp_path: Path) -> None:
    """With each turn; a resumed conversation and its copy have them, another one does not."""
    file = tmp_path / "sera.toml"
    file.write_text('name = "Sera"\ncharacter = "A guard."\n')
    flags = ("-p", str(file), "-m", script(tmp_path, *({"text": f"A{n}"} for n in range(4))))
    set_it = b"{{setvar::hp::7}}I rest.\n/fork\n{{setvar::hp::8}}I rest.\n"
    hermes("chat", *flags, env=home, stdin=set_it)
    shown = {
        name: hermes("chat", *name, *flags, env=home, stdin=b"I have {{getvar::hp}} left.\n").stderr
        for name in ((), ("-r", "1"), ("-r", "2"))
    }
    assert {name: re.findall(r"I have \d* ?left", text) for name, text in shown.items()} == {
        (): ["I have  left"],
        ("-r", "1"): ["I have 7 left"],
        ("-r", "2"): ["I have 8 left"],
    }
