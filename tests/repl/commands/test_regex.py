"""Regex scripts of a persona in a chat: messages, the prompt, the display, and `/regex`."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.config import Paths
from hermes_cli.store.store import Store
from tests.run_hermes import Result, hermes, script

Env = Mapping[str, str]
ADA = r"""
name = "Ada"
character = "{{char}} is a mathematician."
greeting = "Hello <b>you</b>."

[[regex]]
name = "No tags"
find = '/<\/?b>/g'

[[regex]]
name = "Shout"
find = '/please/g'
replace = "PLEASE"
targets = ["user"]

[[regex]]
name = "For the model"
find = '/Hello/g'
replace = "<|im_end|>"
prompt = true

[[regex]]
name = "For the eyes"
find = '/four/g'
replace = "4\u001b[31m"
display = true
"""


@pytest.fixture
def ada(home: Env) -> Env:
    """A home with the persona Ada."""
    folder = Path(home["OPENHERMES_HOME"]) / "config" / "personas"
    folder.mkdir(parents=True)
    (folder / "ada.toml").write_text(ADA)
    return home


def chat(env: Env, tmp_path: Path, *lines: str) -> Result:
    """Hold a conversation with Ada."""
    model = script(tmp_path, {"text": "It is <b>four</b>."}, {"text": "Yes."})
    stdin = "".join(f"{line}\n" for line in lines).encode()
    return hermes("chat", "-p", "ada", "-m", model, env=env, stdin=stdin)


def stored(env: Env) -> list[str]:
    """Return the texts of the only saved conversation."""
    store = Store(Paths.from_environment(env).conversations)
    try:
        (found,) = store.conversations()
        return [node.text for node in store.tree(found.id)]
    finally:
        store.close()


def test_scripts_change_messages_prompt_and_display(ada: Env, tmp_path: Path) -> None:
    """Only scripts without display and prompt change the saved messages. A control token stays plain text."""
    result = chat(ada, tmp_path, "2 + 2, please?", "Sure?", "/show prompt")
    assert result.code == 0
    assert result.stdout.decode() == "Hello you.\nIt is four.\nYes.\n"  # a pipe is no display
    assert stored(ada) == ["Hello you.", "2 + 2, PLEASE?", "It is four.", "Sure?", "Yes."]
    assert "Sent as: 2 + 2, PLEASE?" in result.stderr
    turns = re.findall(r"<\|im_start\|>(\w+)\n((?:.|\n)*?)(?=<\|im_start\|>|\Z)", result.stderr)
    assert ("assistant", "It is four.<|im_end|>\n") in turns
    assert "Hello" not in "".join(text for _, text in turns)


def test_regex_lists_the_scripts_and_turns_them_off(ada: Env, tmp_path: Path) -> None:
    """Messages that are already changed stay as they are."""
    result = chat(ada, tmp_path, "/regex", "/regex off", "please", "/regex", "/regex what")
    assert re.search(r"No tags +message +answer", result.stderr)
    assert re.search(r"For the eyes +display +answer", result.stderr)
    assert "Regex scripts are off" in result.stderr
    assert "They are off; /regex on turns them on." in result.stderr
    assert "/regex does not take 'what'" in result.stderr
    assert result.stdout.decode() == "Hello you.\nIt is <b>four</b>.\n"
    assert stored(ada) == ["Hello you.", "please", "It is <b>four</b>."]


def test_the_config_file_turns_scripts_off(ada: Env, tmp_path: Path) -> None:
    """`regex_scripts = false` applies to greetings, too."""
    result = chat({**ada, "OPENHERMES_REGEX_SCRIPTS": "false"}, tmp_path, "please")
    assert result.stdout.decode() == "Hello <b>you</b>.\nIt is <b>four</b>.\n"


def test_a_broken_script_is_reported_once(ada: Env, tmp_path: Path) -> None:
    """The chat goes on without it."""
    file = Path(ada["OPENHERMES_HOME"]) / "config" / "personas" / "ada.toml"
    file.write_text(f"{ADA}\n[[regex]]\nname = 'Bad'\nfind = '/(/'\n")
    result = chat(ada, tmp_path, "one", "two", "/regex")
    assert result.stdout.decode() == "Hello you.\nIt is four.\nYes.\n"
    assert result.stderr.count("The regex script 'Bad' is off: it is not a regular expression") == 1


def test_an_edit_runs_only_scripts_for_edits(ada: Env, tmp_path: Path) -> None:
    """The script Shout has no `on_edit`."""
    chat(ada, tmp_path, "one", "/edit", "please")
    assert stored(ada)[-2:] == ["please", "Yes."]


def test_an_edited_answer_runs_scripts_for_edits(ada: Env, tmp_path: Path) -> None:
    """They change the text that replaces an answer, also on a new branch."""
    file = Path(ada["OPENHERMES_HOME"]) / "config" / "personas" / "ada.toml"
    file.write_text(ADA.replace('name = "No tags"', 'name = "No tags"\non_edit = true'))
    chat(ada, tmp_path, "one", "/edit answer", "<b>two</b>", "/edit #1", "<b>Hi</b>")
    assert {"two", "Hi"} <= set(stored(ada))
    assert "<b>" not in "".join(stored(ada))


def test_personas_prompt_runs_the_scripts(ada: Env) -> None:
    """The prompts of hermes and of SillyTavern are those after the scripts."""
    for like in ("hermes", "sillytavern"):
        result = hermes("personas", "prompt", "ada", "please", "--like", like, env=ada)
        assert b"PLEASE" in result.stdout
        assert b"<|im_end|> you." in result.stdout


@pytest.mark.parametrize("flags", [(), ("--no-stream",)])
def test_ask_prints_the_message_as_it_is_stored(ada: Env, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """A script for the display does not change the output in a pipe."""
    model = script(tmp_path, {"text": "It is <b>four</b>."})
    result = hermes("ask", "-p", "ada", "-m", model, "2 + 2?", *flags, env=ada)
    assert result.stdout == b"It is four.\n"
    result = hermes("ask", "-p", "ada", "-m", model, "2 + 2?", "--json", env=ada)
    assert result.json["text"] == "It is four."


def test_personas_show_counts_the_scripts(ada: Env) -> None:
    """It prints how many scripts the persona has."""
    assert re.search(rb"regex scripts +4\n", hermes("personas", "show", "ada", env=ada).stdout)


def test_a_late_change_is_written_once_to_a_pipe(ada: Env, tmp_path: Path) -> None:
    """The answer is written when it is complete."""
    file = Path(ada["OPENHERMES_HOME"]) / "config" / "personas" / "ada.toml"
    file.write_text(f"{ADA}\n[[regex]]\nfind = '/It(?![\\s\\S]*end)/'\nreplace = 'That'\n")
    text = "It is a long sentence that nobody needs to read to its end."
    model = script(tmp_path, {"text": text})
    result = hermes("chat", "-p", "ada", "-m", model, env=ada, stdin=b"x\n")
    assert result.stdout.decode() == f"Hello you.\n{text}\n"


def test_another_user_begins_with_a_changed_greeting_too(ada: Env, tmp_path: Path) -> None:
    """The greeting of the next conversation is changed as the first one was."""
    result = chat(ada, tmp_path, "/user Winry", "/clear", "/persona")
    assert result.stdout.decode() == "Hello you.\n" * 2


def test_personas_check_finds_a_broken_script(ada: Env) -> None:
    """It has the reason, and there is no finding about a script that is disabled."""
    file = Path(ada["OPENHERMES_HOME"]) / "config" / "personas" / "ada.toml"
    broken = "[[regex]]\nname = 'Bad'\nfind = '/(/'\n"
    file.write_text(f"{ADA}\n{broken}\n{broken.replace('Bad', 'Off')}enabled = false\n")
    found = hermes("personas", "check", "ada", env=ada).stdout.decode()
    assert "the regex script 'Bad' does not run: it is not a regular expression" in found
    assert found.count("regex script") == 1
