"""The user's personas: [users] in the config file, `--user`, a character's default, and `/user`."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.config import Paths
from tests.run_hermes import Result, hermes, script

Env = Mapping[str, str]
USERS = """
[user]
name = "Ann"
description = "{{user}} is a knight."
[users.winry]
name = "Winry"
description = "{{user}} is a mechanic."
[users.Bo]
"""
CARD = 'system = "Play."\ncharacter = "Ed."\ngreeting = "Hello, {{user}}."\n'


@pytest.fixture
def users(home: Env) -> Env:
    """A home with user personas, and with two characters, of which one has a default."""
    paths = Paths.from_environment(home)
    paths.personas.mkdir(parents=True)
    paths.config_file.write_text(USERS)
    (paths.personas / "ed.toml").write_text(CARD)
    (paths.personas / "al.toml").write_text(f'user = "WINRY"\n{CARD}')
    return home


def chat(env: Env, tmp_path: Path, *lines: str, persona: str = "ed", flags: tuple[str, ...] = ()) -> Result:
    """Run a chat with the lines on standard input."""
    model = script(tmp_path, *({"text": f"A{n}"} for n in range(4)))
    stdin = "".join(f"{line}\n" for line in lines).encode()
    return hermes("chat", "-p", persona, "-m", model, *flags, env=env, stdin=stdin)


def described(result: Result) -> list[str]:
    """Return the descriptions of the user in the prompts that were printed."""
    return re.findall(r"^About (.*?)(?:<\|im_end\|>)?$", result.stderr, re.MULTILINE)


@pytest.mark.parametrize(
    ("persona", "flags", "expected"),
    [
        ("ed", (), ("Ann", ["Ann: Ann is a knight."])),
        ("ed", ("--user", "winry"), ("Winry", ["Winry: Winry is a mechanic."])),
        ("al", (), ("Winry", ["Winry: Winry is a mechanic."])),
        ("al", ("--user", "Zed"), ("Zed", ["Zed: Zed is a knight."])),
        ("al", ("--user", "bo"), ("Bo", [])),
    ],
)
def test_who_the_user_is(
    persona: str, flags: tuple[str, ...], expected: tuple[str, list[str]], users: Env, tmp_path: Path
) -> None:
    """The flag comes before the character's default, and that before the config file."""
    result = chat(users, tmp_path, "/show prompt", persona=persona, flags=flags)
    greeted, description = expected
    assert result.stdout.decode() == f"Hello, {greeted}.\n"
    assert described(result) == description


NAMESAKES = """
[users.winry]
name = "Winry Rockbell"
description = "A mechanic."
[users.tall]
name = "Ed"
description = "A tall one."
[users.small]
name = "Ed"
"""


def test_a_user_persona_is_found_by_its_name(users: Env, tmp_path: Path) -> None:
    """Case is ignored; a resumed conversation finds the description by the name."""
    Paths.from_environment(users).config_file.write_text(NAMESAKES)
    result = chat(users, tmp_path, "hi", "/show prompt", flags=("--user", "winry rockbell"))
    assert described(result) == ["Winry Rockbell: A mechanic."]
    assert described(chat(users, tmp_path, "/show prompt", flags=("-c",))) == ["Winry Rockbell: A mechanic."]
    switched = chat(users, tmp_path, "/user WINRY  ROCKBELL", "/show prompt")
    assert described(switched) == ["Winry Rockbell: A mechanic."]


def test_a_name_of_several_user_personas_is_refused(users: Env, tmp_path: Path) -> None:
    """The hint lists their keys. A key comes before a name."""
    Paths.from_environment(users).config_file.write_text(NAMESAKES)
    flag, command = chat(users, tmp_path, flags=("--user", "ed")), chat(users, tmp_path, "/user Ed")
    assert (flag.code, command.code) == (2, 2)
    for result in (flag, command):
        assert "2 users have the name 'E" in result.stderr.replace("'ed'", "'Ed'")
        assert "use a key: tall or small" in result.stderr
    assert described(chat(users, tmp_path, "/user tall", "/show prompt")) == ["Ed: A tall one."]


def test_another_name_is_reported_with_the_known_keys(users: Env, tmp_path: Path) -> None:
    """It is used as a name."""
    result = chat(users, tmp_path, "/user winri")
    assert "'winri' is not one of the config file's users: winry, Bo." in result.stderr
    assert "You are now winri;" in result.stderr


def test_the_environment_overrides_the_default_of_a_character(users: Env, tmp_path: Path) -> None:
    """It is set for one run, as a flag is."""
    result = chat({**users, "OPENHERMES_USER": "bo"}, tmp_path, persona="al")
    assert result.stdout == b"Hello, Bo.\n"


def test_user_switches_later_prompts_only(users: Env, tmp_path: Path) -> None:
    """The greeting keeps the earlier name; the next chat and a resumed one have the new one."""
    result = chat(users, tmp_path, "hi", "/user winry", "I am {{user}}.", "/show prompt", "/clear")
    assert result.stdout == b"Hello, Ann.\nA0\nA1\nHello, Winry.\n"
    assert described(result) == ["Winry: Winry is a mechanic."]
    assert "<|im_start|>assistant\nHello, Ann.<|im_end|>" in result.stderr
    assert "<|im_start|>user\nI am Winry.<|im_end|>" in result.stderr
    again = chat(users, tmp_path, "{{user}}: {{persona}}", "/show prompt", flags=("-c",))
    assert described(again) == ["Winry: Winry is a mechanic."]
    assert "<|im_start|>user\nWinry: Winry is a mechanic.<|im_end|>" in again.stderr


def test_user_does_not_replace_a_system_prompt_that_was_typed(users: Env, tmp_path: Path) -> None:
    """Only the name changes."""
    result = chat(users, tmp_path, "/system Mine.", "/user winry", "/system")
    assert "The system prompt was changed by hand, and stays as it is." in result.stderr
    assert result.stderr.endswith("Mine.\n")


def test_user_lists_the_user_personas(users: Env, tmp_path: Path) -> None:
    """The current one is marked."""
    result = chat(users, tmp_path, "/user", flags=("--user", "winry"))
    assert "You are Winry.\n" in result.stderr
    assert re.search(r"^ *\* winry +Winry +\{\{user\}\} is a mechanic\.$", result.stderr, re.MULTILINE)
    assert re.search(r"^ +Bo +Bo$", result.stderr, re.MULTILINE)


def test_config_show_lists_the_user_personas(users: Env) -> None:
    """Each has a row with its name and description."""
    shown = hermes("config", "show", env=users).stdout.decode()
    assert re.search(r"^users\.winry +Winry: \{\{user\}\} is a mechanic\. +config file$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("users = 1", "users is a table"),
        ("[users]\nwinry = 1", "[users.winry] is not a table"),
        ('[users.winry]\nnmae = "x"', "[users.winry] has no key 'nmae'; did you mean 'name'?"),
        ("[users.winry]\nname = 1", "[users.winry] name takes a string that is not blank"),
        ('[users.winry]\ndescription = " "', "[users.winry] description takes a string that is not blank"),
        ('[users.winry]\nname = "a\\nb"', "[users.winry] the name is not one line of text"),
        ('[users." "]', "the name is not one line of text"),
    ],
)
def test_an_invalid_user_persona_is_refused(text: str, problem: str, home: Env) -> None:
    """The message names the table."""
    path = Paths.from_environment(home).config_file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    result = hermes("config", "show", env=home)
    assert (result.code, problem in result.stderr) == (78, True), result.stderr


def test_a_resumed_chat_is_continued_as_another_user(users: Env, tmp_path: Path) -> None:
    """The flag changes the system prompt of the persona, and not one that was typed."""
    chat(users, tmp_path, "hi")
    again = chat(users, tmp_path, "/show prompt", "/system Mine.", flags=("-c", "--user", "winry"))
    assert described(again) == ["Winry: Winry is a mechanic."]
    typed = chat(users, tmp_path, "/show prompt", flags=("-c", "--user", "bo"))
    assert "<|im_start|>system\nMine.<|im_end|>" in typed.stderr


def test_another_persona_meets_the_user_who_was_chosen(users: Env, tmp_path: Path) -> None:
    """`/user` lasts for the run, and comes before a character's default."""
    result = chat(users, tmp_path, "/user bo", "/persona al")
    assert result.stdout == b"Hello, Ann.\nHello, Bo.\n"
