"""Chats of SillyTavern: export and import, and a persona for an imported chat."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.personas.formats.cards import V2, to_json, v2
from tests.run_hermes import environment, hermes, script

Env = Mapping[str, str]
ANSWERS = ({"text": "A1"}, {"text": "A2"}, {"text": "A3"})
CHAT = [
    {
        "user_name": "Winry",
        "character_name": "Ada",
        "chat_metadata": {"note_prompt": "She is tired.", "note_depth": 1},
    },
    {"name": "Ada", "is_user": False, "mes": "Good evening."},
    {"name": "Winry", "is_user": True, "mes": "Is the tea ready?"},
    {"name": "Ada", "is_user": False, "mes": "It is."},
]


def prompt(env: Env, model: str, *arguments: str) -> str:
    """Return the prompt of a chat as `/show prompt` prints it, with the numbers of tokens."""
    result = hermes("chat", "-m", model, *arguments, env=env, stdin=b"/show prompt\n")
    assert result.code == 0, result.stderr
    return result.stderr[result.stderr.index("<|im_start|>") :]


def test_an_exported_chat_gives_the_same_prompt_after_its_import(home: Env, tmp_path: Path) -> None:
    """The export has the names, the note and the swipes, so that another computer continues the chat."""
    model, card = script(tmp_path, *ANSWERS), tmp_path / "ada.json"
    card.write_bytes(to_json(V2))
    other = environment(tmp_path / "other")
    for env in (home, other):
        assert hermes("personas", "import", str(card), env=env).code == 0
    lines = b"/note Be brief. 2\nHi {{roll:d20}}\n/regen\nAnd tea?\n"
    assert hermes("chat", "-m", model, "-p", "ada", "--user", "Winry", env=home, stdin=lines).code == 0
    path = tmp_path / "chat.jsonl"
    assert hermes("sessions", "export", "1", "--format", "sillytavern", "-o", str(path), env=home).code == 0
    header = json.loads(path.read_text().splitlines()[0])
    assert (header["user_name"], header["character_name"]) == ("Winry", "Ada")
    assert header["chat_metadata"]["note_prompt"] == "Be brief."
    assert hermes("sessions", "import", str(path), env=other).code == 0
    shown = prompt(home, model, "-c")
    assert "Winry" in shown
    assert "Be brief." in shown
    assert prompt(other, model, "-c") == shown


def test_a_persona_is_given_to_an_imported_chat(home: Env, tmp_path: Path) -> None:
    """`-p` on a resumed chat changes its system prompt and examples for good, and says so in one line."""
    model, card, path = script(tmp_path, *ANSWERS), tmp_path / "ada.json", tmp_path / "chat.jsonl"
    card.write_bytes(to_json(V2))
    path.write_text("\n".join(map(json.dumps, CHAT)))
    assert hermes("sessions", "import", str(path), env=home).code == 0
    assert hermes("personas", "import", str(card), env=home).code == 0
    assert "mathematician" not in prompt(home, model, "-r", "1")
    result = hermes("chat", "-m", model, "-r", "1", "-p", "ada", env=home, stdin=b"")
    (notice,) = [line for line in result.stderr.splitlines() if "in this conversation" in line]
    assert notice == (
        "Ada now plays in this conversation; the system prompt and the examples changed; its turns did not"
    )
    shown = prompt(home, model, "-r", "1")  # the chat has the persona from now on
    for text in ("Ada is a mathematician.", "Is the tea ready?", "She is tired."):
        assert text in shown
    again = hermes("chat", "-m", model, "-r", "1", "-p", "ada", env=home, stdin=b"")
    assert "in this conversation" not in again.stderr


def test_another_persona_replaces_the_first_and_keeps_the_users_name(home: Env, tmp_path: Path) -> None:
    """The name in the chat is used in the new system prompt, unless --user gives another one."""
    model = script(tmp_path, *ANSWERS)
    for name, text in (("ada", "{{char}} knows {{user}}."), ("bob", "{{char}} fears {{user}}.")):
        (tmp_path / f"{name}.json").write_bytes(to_json(v2(name=name, description=text)))
        assert hermes("personas", "import", str(tmp_path / f"{name}.json"), env=home).code == 0
    hermes("chat", "-m", model, "-p", "ada", "--user", "Winry", env=home, stdin=b"Hi\n")
    result = hermes("chat", "-m", model, "-c", "-p", "bob", env=home, stdin=b"/show prompt\n")
    assert "bob replaces ada in this conversation; the system prompt changed" in result.stderr
    assert "bob fears Winry." in result.stderr
    assert "knows" not in result.stderr
