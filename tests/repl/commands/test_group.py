"""Group chats: `hermes chat -p A -p B`, `/talk` and `/group`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.config import Paths
from tests.run_hermes import Result, hermes, script

Env = Mapping[str, str]
ANSWERS = [{"text": f" A{n}"} for n in range(6)]
"""With the space that a model generates after a name and a colon."""


@pytest.fixture
def cast(home: Env) -> Env:
    """A home with three characters."""
    paths = Paths.from_environment(home)
    paths.personas.mkdir(parents=True)
    for name in ("Alice", "Bob", "Carol"):
        card = (
            f'name = "{name}"\ncharacter = "{name} is here with {{{{group}}}}."\ngreeting = "I am {name}."\n'
        )
        (paths.personas / f"{name.lower()}.toml").write_text(card)
    lore = '[[lore]]\nkeys = ["oven"]\ncontent = "The oven is Bertha."\n'
    with (paths.personas / "bob.toml").open("a") as file:
        file.write(lore)
    return home


def chat(
    env: Env, folder: Path, *lines: str, flags: tuple[str, ...] = ("-p", "alice", "-p", "bob")
) -> Result:
    """Run a chat with the lines on standard input."""
    stdin = "".join(f"{line}\n" for line in lines).encode()
    return hermes("chat", *flags, "-m", script(folder, *ANSWERS), env=env, stdin=stdin)


def test_a_group_answers_in_turn_with_names(cast: Env, tmp_path: Path) -> None:
    """In a pipe, the names are on the lines of the answers."""
    result = chat(cast, tmp_path, "hi", "go on", "Bob and Alice?", "/talk Bob", "/show prompt")
    assert result.stdout.decode().splitlines() == [
        "Alice: I am Alice.", "Bob: I am Bob.", "Alice: A0", "Bob: A1", "Bob: A2", "Alice: A3", "Bob: A4",
    ]  # fmt: skip
    assert "<|im_start|>user\nUser: go on<|im_end|>\n<|im_start|>assistant\nBob: A1" in result.stderr
    assert "Alice is here with Alice, Bob." in result.stderr
    assert result.stderr.rstrip().splitlines()[-2] == "Alice:"


def test_group_lists_adds_and_removes(cast: Env, tmp_path: Path) -> None:
    """Each character has its own lore."""
    lines = ("/group", "/lore", "/talk bob", "/group add carol", "/group remove Alice", "/group", "Carol?")
    result = chat(cast, tmp_path, *lines)
    assert re.search(r"^  \* Alice +alice, 0 lore entries$", result.stderr, re.MULTILINE)
    assert re.search(r"^    Bob +bob, 1 lore entry$", result.stderr, re.MULTILINE)
    assert re.search(r"^Bob:\n0 of 1 entry in 1 book: 0 tokens\.$", result.stderr, re.MULTILINE)
    assert "Carol takes part now." in result.stderr
    assert "Alice has left; what it said stays." in result.stderr
    assert re.search(r"^  \* Bob +bob, 1 lore entry$", result.stderr, re.MULTILINE)  # Carol has just greeted
    assert result.stdout.decode().splitlines()[-1] == "Carol: A1"


def test_a_group_is_continued(cast: Env, tmp_path: Path) -> None:
    """With its characters, without naming them; `/resume` does the same."""
    chat(cast, tmp_path, "hi")
    again = chat(cast, tmp_path, "/group", "and you?", flags=("-c",))
    assert "(continuing after 4 messages)" in again.stderr
    assert re.search(r"^  \* Bob +bob, 1 lore entry$", again.stderr, re.MULTILINE)
    assert again.stdout == b"Bob: A0\n"
    other = chat(cast, tmp_path, "/resume 1", "Alice?", "/tree", flags=("-p", "carol"))
    assert other.stdout == b"I am Carol.\nAlice: A0\n"
    assert "Bob: A0" in other.stderr


def test_a_conversation_becomes_a_group(cast: Env, tmp_path: Path) -> None:
    """`-c -p A -p B` gives a conversation two characters; earlier answers are those of the first."""
    chat(cast, tmp_path, "hi", flags=("-p", "alice"))
    again = chat(cast, tmp_path, "Bob?", "/show prompt", flags=("-c", "-p", "alice", "-p", "bob"))
    assert "Alice and Bob replace alice in this conversation" in again.stderr
    assert "<|im_start|>assistant\nAlice:  A0<|im_end|>" in again.stderr
    assert again.stdout == b"Bob: A0\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/talk Zoe", "there is no character 'Zoe' here: Alice, Bob"),
        ("/group add zoe", "there is no persona 'zoe'"),
        ("/group add alice", "Alice is already here"),
        ("/group remove Zoe", "there is no character 'Zoe' here"),
        ("/group hug", "/group does not take 'hug'"),
        ("/group add", "/group does not take 'add'"),
    ],
)
def test_wrong_names_are_explained(line: str, message: str, cast: Env, tmp_path: Path) -> None:
    """The error names the characters or the usage."""
    result = chat(cast, tmp_path, line)
    assert message in result.stderr
    assert result.code == (78 if "persona" in message else 2)


def test_the_only_character_cannot_be_removed(cast: Env, tmp_path: Path) -> None:
    """A conversation has one."""
    result = chat(cast, tmp_path, "/group remove alice", flags=("-p", "alice"))
    assert "this is the only character" in result.stderr


def test_two_personas_with_one_name_are_refused(cast: Env, tmp_path: Path) -> None:
    """Their turns could not be told apart."""
    result = chat(cast, tmp_path, flags=("-p", "alice", "-p", "alice"))
    assert "two of the personas have the name Alice" in result.stderr
    assert result.code == 2


def test_ask_takes_one_persona(cast: Env, tmp_path: Path) -> None:
    """It gives one answer."""
    result = hermes("ask", "-p", "alice", "-p", "bob", "-m", script(tmp_path, *ANSWERS), "hi", env=cast)
    assert "only one persona can be used here" in result.stderr
    assert result.code == 2


def test_a_group_is_exported_and_imported(cast: Env, tmp_path: Path) -> None:
    """SillyTavern's format and JSON keep speakers and characters."""
    chat(cast, tmp_path, "hi", "Bob?")
    for name in ("sillytavern", "json"):
        file = tmp_path / f"out.{name}"
        hermes("sessions", "export", "1", "--format", name, "-o", str(file), env=cast)
        home = {**cast, "OPENHERMES_HOME": str(tmp_path / name)}
        personas = Paths.from_environment(home).personas
        personas.parent.mkdir(parents=True)
        personas.symlink_to(Paths.from_environment(cast).personas)
        hermes("sessions", "import", str(file), env=home)
        again = chat(home, tmp_path, "/tree", "/show prompt", "Alice?", flags=("-c",))
        assert again.stdout == b"Alice: A0\n"
        assert re.search(r"Alice: A0\n.*User: Bob\?\n.*Bob: A1", again.stderr)
        assert "<|im_start|>system\nYou are Alice." in again.stderr


def test_a_group_chat_of_sillytavern_is_imported(cast: Env, tmp_path: Path) -> None:
    """Its lines have names, and there is no header. Personas with these names play."""
    lines = [
        {"name": "Alice", "is_user": False, "mes": "Welcome.", "original_avatar": "Alice.png"},
        {"name": "Bob", "is_user": False, "mes": "Hmpf.", "original_avatar": "Bob.png"},
        {"name": "Winry", "is_user": True, "mes": "Bob?"},
        {"name": "Bob", "is_user": False, "mes": "Yes.", "swipes": ["No.", "Yes."], "swipe_id": 1},
    ]
    file = tmp_path / "group.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    imported = hermes("sessions", "import", str(file), env=cast)
    assert imported.code == 0, imported.stderr
    result = chat(cast, tmp_path, "/group", "/swipe left", "Bob, the oven?", "/show prompt", flags=("-c",))
    assert re.search(r"^  \* Alice +alice", result.stderr, re.MULTILINE)
    assert "<|im_start|>assistant\nBob: No.<|im_end|>" in result.stderr
    assert "<|im_start|>user\nWinry: Bob, the oven?<|im_end|>" in result.stderr
    assert result.stdout.splitlines()[-1] == b"Bob: A0"


def test_an_answer_that_scripts_hold_back_has_the_right_name(cast: Env, tmp_path: Path) -> None:
    """The name is that of the speaker, also if the text is printed after the answer has ended."""
    with (Paths.from_environment(cast).personas / "alice.toml").open("a") as file:
        file.write("[[regex]]\nfind = '/A(\\d)/'\nreplace = 'B$1'\n")
    result = chat(cast, tmp_path, "Alice, hi", "Bob and Alice?")
    assert result.stdout.decode().splitlines()[2:] == ["Alice: B0", "Bob: A1", "Alice: B2"]


def test_the_greeting_of_a_new_character_is_printed(cast: Env, tmp_path: Path) -> None:
    """It is a part of the conversation if the user has not said anything yet."""
    result = chat(cast, tmp_path, "/group add carol", "hi", "/group remove carol", "/group add carol")
    assert result.stdout.decode().splitlines() == [
        "Alice: I am Alice.", "Bob: I am Bob.", "Carol: I am Carol.", "Alice: A0",
    ]  # fmt: skip


def test_lore_of_each_character_is_shown_and_switched_off(cast: Env, tmp_path: Path) -> None:
    """Whoever speaks next."""
    result = chat(cast, tmp_path, "Bob, the oven?", "/lore", "/lore off oven", "Bob, the oven?", "/lore")
    assert re.search(r"^Bob:\n +oven +by oven +since your turn 1", result.stderr, re.MULTILINE)
    assert "The entry oven is off in this conversation" in result.stderr
    assert re.search(r"^ +oven +switched off", result.stderr, re.MULTILINE)


def test_a_variable_of_one_character_is_set(cast: Env, tmp_path: Path) -> None:
    """It is an error only if no character has it."""
    (Paths.from_environment(cast).personas / "dora.toml").write_text('system = "Be {{mood}}."\n')
    flags = ("-p", "dora", "-p", "bob", "--var")
    result = chat(cast, tmp_path, "/show prompt", flags=(*flags, "mood=happy"))
    assert "Be happy." in result.stderr
    wrong = chat(cast, tmp_path, flags=(*flags, "mood=happy", "--var", "size=1"))
    assert (wrong.code, "has no {{size}}" in wrong.stderr) == (2, True)


def test_an_export_after_a_character_has_left_is_read_back(cast: Env, tmp_path: Path) -> None:
    """The characters are those of the export, and the speakers are kept."""
    file = tmp_path / "left.jsonl"
    chat(cast, tmp_path, "hi", "/group remove alice", f"/export sillytavern {file}")
    home = {**cast, "OPENHERMES_HOME": str(tmp_path / "other")}
    personas = Paths.from_environment(home).personas
    personas.parent.mkdir(parents=True)
    personas.symlink_to(Paths.from_environment(cast).personas)
    hermes("sessions", "import", str(file), env=home)
    again = chat(home, tmp_path, "/group", "/tree", flags=("-c",))
    assert re.search(
        r"^  \* Bob +bob, 1 lore entry\n\*    1 Alice: I am Alice\.$", again.stderr, re.MULTILINE
    )


def test_the_beginning_of_a_name_is_enough_for_a_command(cast: Env, tmp_path: Path) -> None:
    """If several begin with it, they are listed."""
    (Paths.from_environment(cast).personas / "al.toml").write_text('name = "Al"\ncharacter = "Al."\n')
    result = chat(
        cast, tmp_path, "/talk b", "/talk a", "/talk al", flags=("-p", "alice", "-p", "bob", "-p", "al")
    )
    assert result.stdout.decode().splitlines()[2:] == ["Bob: A0", "Al: A1"]
    assert "'a' can be several characters: Alice, Al\n" in result.stderr


def test_sessions_show_has_the_names_of_the_speakers(cast: Env, tmp_path: Path) -> None:
    """Instead of the roles."""
    chat(cast, tmp_path, "Bob and Alice?")
    shown = hermes("sessions", "show", "1", env=cast)
    assert b"[Bob]\nA0\n\n[Alice]\nA1\n" in shown.stdout


def test_the_commands_that_print_prompts_have_the_names(cast: Env, tmp_path: Path) -> None:
    """As the prompt that `ask` sends."""
    always, model = {**cast, "OPENHERMES_NAMES": "always"}, script(tmp_path, *ANSWERS)
    printed = hermes("personas", "prompt", "bob", env=always).stdout.decode()
    assert "<|im_start|>assistant\nBob: I am Bob.<|im_end|>" in printed
    assert printed.endswith("<|im_start|>assistant\nBob:\n")
    tokens = hermes("tokens", "-p", "bob", "-m", model, "hi", env=always)
    assert tokens.stdout.decode().rstrip().endswith('":"')
    asked = hermes("ask", "-p", "bob", "-m", model, "hi", "--stats", env=always)
    assert asked.stdout == b"A0\n"
    count = re.match(r"([\d,]+) tokens", tokens.stderr)
    assert count is not None
    assert f"prefill {count[1]} tokens" in asked.stderr
