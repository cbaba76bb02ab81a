"""Moving about in a conversation's tree, line by line, over the scripted engine."""

from collections.abc import Mapping
from pathlib import Path

from hermes_cli.config import Paths
from hermes_cli.store.store import Store
from tests.cli import Result, hermes, script

Env = Mapping[str, str]
TURNS = ({"text": "A1"}, {"text": "A2"}, {"text": "A3"}, {"text": "A4"})


def chat(env: Env, tmp_path: Path, *lines: str, flags: tuple[str, ...] = ()) -> Result:
    """Hold a conversation and return what was printed."""
    stdin = "".join(f"{line}\n" for line in lines).encode()
    return hermes("chat", "-m", script(tmp_path, *TURNS), *flags, env=env, stdin=stdin)


def visible(env: Env, place: int = 0) -> list[str]:
    """Return the visible texts of a conversation, by how lately it was used."""
    store = Store(Paths.from_environment(env).conversations)
    path = [message.text for message in store.path(store.conversations()[place].leaf)]
    store.close()
    return path


def test_another_answer_stands_beside_the_first(home: Env, tmp_path: Path) -> None:
    """Broken: a retry would lose the answer before it."""
    result = chat(home, tmp_path, "q", "/regen", "/tree", "/swipe left", "/tree")
    assert result.stdout == b"A1\nA2\n"
    assert result.stderr.count("(1 of 2)") == 1
    assert "*    1 you: q\n     2   it: A1\n>    3   it: A2" in result.stderr
    assert "*    1 you: q\n>    2   it: A1\n     3   it: A2" in result.stderr
    assert visible(home) == ["q", "A1"]


def test_right_of_the_last_answer_is_a_new_one(home: Env, tmp_path: Path) -> None:
    """Broken: roleplayers could not swipe for more."""
    result = chat(home, tmp_path, "q", "/swipe", "/swipe 1", "/swipe right", "/swipe")
    assert result.stdout == b"A1\nA2\nA3\n"
    assert visible(home) == ["q", "A3"]


def test_undo_deletes_nothing(home: Env, tmp_path: Path) -> None:
    """Broken: what was undone would be gone, or go on being sent to the model."""
    result = chat(
        home, tmp_path, "one", "two", "/undo 2", "three", "/show prompt", "/tree", "/goto 4", "four"
    )
    assert result.stdout == b"A1\nA2\nA3\nA4\n"
    assert "one" not in result.stderr.partition("/tree")[0].partition("three")[2].partition("6 tokens")[0]
    assert visible(home) == ["one", "A1", "two", "A2", "four", "A4"]
    assert "     1 you: one" in result.stderr
    assert "it: A2" in result.stderr


def test_a_fork_leaves_the_other_as_it_was(home: Env, tmp_path: Path) -> None:
    """Broken: two lines of a story would write into each other."""
    chat(home, tmp_path, "one", "/fork second try", "two", "/resume one", "three")
    assert visible(home) == ["one", "A1", "three", "A3"]
    assert visible(home, 1) == ["one", "A1", "two", "A2"]


def test_title_search_sessions_and_forget(home: Env, tmp_path: Path) -> None:
    """Broken: a conversation could not be found again, or not be got rid of."""
    lines = (
        "first marmalade",
        "/title",
        "/title my own",
        "/sessions",
        "/search marmalade",
        "/forget",
        "/sessions",
    )
    result = chat(home, tmp_path, *lines)
    assert "first marmalade\n" in result.stderr
    assert "called 'my own'" in result.stderr
    assert "2 messages  my own" in result.stderr
    assert result.stderr.endswith("There is no conversation yet.\n")
    assert b"marmalade" not in Paths.from_environment(home).conversations.read_bytes()


def test_another_persona_is_kept_under_its_own_name(home: Env, tmp_path: Path) -> None:
    """Broken: a conversation would come back with the wrong character."""
    chat(home, tmp_path, "one", "/persona gourmet-cook", "two", "/resume one", "three")
    store = Store(Paths.from_environment(home).conversations)
    assert [(c.title, c.persona) for c in store.conversations()] == [
        ("one", "hermes-2"),
        ("two", "gourmet-cook"),
    ]


def test_the_tree_is_there_without_a_log(home: Env, tmp_path: Path) -> None:
    """Broken: who keeps nothing could not undo; or would leave a file."""
    result = chat(home, tmp_path, "q", "/regen", "/swipe 1", "/undo", "again", flags=("--no-log",))
    assert (result.code, result.stdout) == (0, b"A1\nA2\nA3\n")
    assert not Paths.from_environment(home).conversations.exists()


def test_what_cannot_be_is_said(home: Env, tmp_path: Path) -> None:
    """Broken: a slip of the finger would end the chat with a traceback."""
    wrong = (
        "/undo",
        "/regen",
        "/swipe",
        "/tree",
        "/fork",
        "/goto 7",
        "/goto x",
        "/title",
        "/forget",
        "/search",
    )
    result = chat(
        home, tmp_path, *wrong, "q", "/undo 5", "/undo -1", "/swipe 9", "/swipe left", "/goto 99", "/resume x"
    )
    assert result.stdout == b"A1\n"
    assert result.code == 2
    assert "Traceback" not in result.stderr
    assert "mistake in hermes" not in result.stderr
    for words in ("nothing to undo", "no answer", "first answer", "no message 99", "no conversation 'x'"):
        assert words in result.stderr
