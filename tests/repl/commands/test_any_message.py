"""`/edit #ID`, `/delete` and `/hide`: changes of any message, in a pipe. The S is the system prompt."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.config import Paths
from hermes_cli.store import schema
from tests.database import OpenStore, raw_database
from tests.repl.commands.test_commands import A3, chat, tree
from tests.run_hermes import Result, hermes, script

Env = Mapping[str, str]
TURNS = ("q1", "q2")
"""Two exchanges: messages 1 to 4."""


def prompts(result: Result) -> list[list[str]]:
    """Return the texts of each printed prompt, without the system prompt and the empty turn."""
    blocks = re.findall(
        r"<\|im_start\|>system\n.*?<\|im_start\|>user\n<\|im_end\|>", result.stderr, re.DOTALL
    )
    return [re.findall(r"<\|im_start\|>\w+\n(.*?)<\|im_end\|>", block, re.DOTALL)[1:-1] for block in blocks]


def again(env: Env, tmp_path: Path, *lines: str) -> Result:
    """Continue the conversation in another run."""
    stdin = "".join(f"{line}\n" for line in lines).encode()
    return hermes("chat", "-c", "-m", script(tmp_path, A3), env=env, stdin=stdin)


@pytest.mark.parametrize(
    ("number", "texts"),
    [(1, ["new", "A1", "q2", "A2"]), (2, ["q1", "new", "q2", "A2"]), (4, ["q1", "A1", "q2", "new"])],
)
def test_any_message_is_edited_and_the_later_ones_are_kept(
    number: int, texts: list[str], home: Env, tmp_path: Path
) -> None:
    """No answer is generated. The earlier branch stays in the tree, and both are saved."""
    result = chat(home, tmp_path, *TURNS, f"/edit #{number}", "new", "/show prompt")
    assert (result.code, result.stdout) == (0, b"A1\nA2\n")
    assert prompts(result) == [texts]
    assert f"Changed message {number} on a new branch; /goto 4 goes back" in result.stderr
    every, visible = tree(home)
    assert (every[:4], visible) == (["q1", "A1", "q2", "A2"], texts)
    assert prompts(again(home, tmp_path, "/show prompt", "/goto 4", "/show prompt")) == [
        texts,
        ["q1", "A1", "q2", "A2"],
    ]


def test_a_message_in_the_middle_is_deleted(home: Env, tmp_path: Path) -> None:
    """The later messages are kept. Deleting the last one ends the branch before it."""
    result = chat(
        home, tmp_path, *TURNS, "/delete 3", "/show prompt", "/goto 4", "/delete #4", "/show prompt"
    )
    assert prompts(result) == [["q1", "A1", "A2"], ["q1", "A1", "q2"]]
    assert tree(home)[1] == ["q1", "A1", "q2"]


def test_an_answer_without_its_turn_has_no_other_answers(home: Env, tmp_path: Path) -> None:
    """The turns of the user at the same place are not its swipes. Another answer follows the one before."""
    result = chat(home, tmp_path, *TURNS, "/delete 3", "/swipe left", "/regen")
    assert "this is the first answer" in result.stderr
    assert result.stdout == b"A1\nA2\nA3\n"
    assert tree(home)[1] == ["q1", "A1", "A3"]


def test_a_turn_without_its_answer_is_answered_again(home: Env, tmp_path: Path) -> None:
    """`/goto` does not take the next turn of the user for the answer."""
    result = chat(home, tmp_path, *TURNS, "/delete 2", "/goto 1", "/show prompt", "/delete 2", "/regen")
    assert prompts(result) == [["q1", "A1"]]
    assert tree(home)[1] == ["q1", "A3"]


def test_the_first_message_cannot_be_deleted_alone(home: Env, tmp_path: Path) -> None:
    """The conversation would begin with an answer. Nothing is changed."""
    result = chat(home, tmp_path, *TURNS, "/delete 1")
    assert (result.code, "the first message cannot be deleted" in result.stderr) == (2, True)
    assert tree(home) == (["q1", "A1", "q2", "A2"],) * 2


def test_a_hidden_message_is_left_out_of_the_prompt(home: Env, tmp_path: Path) -> None:
    """It is marked in the tree, stays hidden after a restart, and a second /hide includes it again."""
    result = chat(home, tmp_path, *TURNS, "/hide 2", "/show prompt", "/tree")
    assert prompts(result) == [["q1", "q2", "A2"]]
    assert re.search(r"^\* +2 +it \(hidden\): A1$", result.stderr, re.MULTILINE)
    resumed = again(home, tmp_path, "q3", "/show prompt", "/hide #2", "/show prompt")
    assert prompts(resumed) == [["q1", "q2", "A2", "q3", "A3"], ["q1", "A1", "q2", "A2", "q3", "A3"]]
    assert prompts(again(home, tmp_path, "/show prompt"))[0][1] == "A1"


def test_a_hidden_message_stays_hidden_on_other_branches_and_in_copies(home: Env, tmp_path: Path) -> None:
    """An edit copies the later messages as they are, and so does a fork."""
    lines = ("/hide 3", "/edit #1", "new", "/show prompt", "/fork two", "/show prompt")
    result = chat(home, tmp_path, *TURNS, *lines)
    assert prompts(result) == [["new", "A1", "A2"]] * 2
    assert prompts(again(home, tmp_path, "/show prompt")) == [["new", "A1", "A2"]]


def test_an_answer_to_a_hidden_turn_is_not_generated(home: Env, tmp_path: Path) -> None:
    """The prompt would end with an answer."""
    result = chat(home, tmp_path, *TURNS, "/hide 3", "/regen")
    assert (result.code, result.stdout) == (2, b"A1\nA2\n")
    assert "/hide 3 shows it to the model" in result.stderr
    assert tree(home)[1] == ["q1", "A1", "q2", "A2"]


@pytest.mark.parametrize(
    "command", ["/edit #", "/edit #x", "/edit #9", "/delete", "/delete 9", "/hide", "/hide 0"]
)
def test_a_message_that_does_not_exist_is_refused(command: str, home: Env, tmp_path: Path) -> None:
    """The hint names /tree."""
    result = chat(home, tmp_path, *TURNS, command)
    assert (result.code, "/tree" in result.stderr) == (2, True)
    assert tree(home) == (["q1", "A1", "q2", "A2"],) * 2


def test_a_message_on_another_branch_is_not_edited(home: Env, tmp_path: Path) -> None:
    """The user goes there first."""
    result = chat(home, tmp_path, "q1", "/regen", "/edit #2")
    assert "message 2 is on another branch" in result.stderr
    assert "/goto 2 goes to it" in result.stderr


def test_messages_of_an_earlier_version_are_not_hidden(home: Env, open_store: OpenStore) -> None:
    """The column is added to a database of version 4."""
    path = Paths.from_environment(home).conversations
    path.parent.mkdir(parents=True)
    with raw_database(path) as connection:
        schema.migrate(connection, schema.MIGRATIONS[:4])
        connection.execute("INSERT INTO conversations (title, created, updated) VALUES ('old', 1, 1)")
        connection.execute(
            "INSERT INTO messages (conversation, role, text, state, created) "
            "VALUES (1, 'user', 'hello', 'complete', 1)"
        )
    assert [(node.text, node.is_hidden) for node in open_store(path).tree(1)] == [("hello", False)]
