"""Following a conversation that another window continues: each text is printed once, as it grows."""

import io
import threading
import time
from contextlib import closing
from pathlib import Path

from hermes_cli.application.follow_conversation import Follower, conversation_text, follow
from hermes_cli.application.runtime import Runtime
from hermes_cli.messages import Message, Role
from hermes_cli.screen.terminal import Terminal
from hermes_cli.store.store import Store
from hermes_cli.tree import GenerationRecord, MessageState, Node
from tests.database import OpenStore


def node(
    number: int, text: str, state: MessageState = MessageState.COMPLETE, role: Role = Role.ASSISTANT
) -> Node:
    """Return a stored message."""
    return Node(number, number - 1 or None, role, text, state, 0.0)


QUESTION = node(1, "q", role=Role.USER)


def test_a_growing_answer_is_printed_once() -> None:
    """Each update prints only the new text."""
    follower = Follower()
    printed = [
        follower.update([QUESTION]),
        follower.update([QUESTION, node(2, "One", MessageState.PARTIAL)]),
        follower.update([QUESTION, node(2, "One", MessageState.PARTIAL)]),
        follower.update([QUESTION, node(2, "One two", MessageState.PARTIAL)]),
        follower.update([QUESTION, node(2, "One two three")]),
        follower.update([QUESTION, node(2, "One two three")]),
    ]
    assert printed == ["[user]\nq\n\n", "[assistant (partial)]\nOne", "", " two", " three\n\n", ""]


def test_another_branch_is_printed_from_its_first_new_message() -> None:
    """The messages that both branches have are not printed again."""
    follower = Follower()
    follower.update([QUESTION, node(2, "first")])
    assert follower.update([QUESTION, node(3, "second")]) == "[assistant]\nsecond\n\n"
    assert follower.update([QUESTION, node(4, "thi", MessageState.PARTIAL)]) == "[assistant (partial)]\nthi"
    assert follower.update([QUESTION, node(5, "x")]) == "\n\n[assistant]\nx\n\n"
    assert follower.update([]) == ""


def test_the_text_of_a_conversation_ends_with_an_empty_line() -> None:
    """A partial answer makes no difference."""
    assert conversation_text([QUESTION, node(2, "half", MessageState.PARTIAL)]).endswith("half\n\n")
    assert conversation_text([]) == ""


def test_following_ends_when_the_other_window_exits(tmp_path: Path, open_store: OpenStore) -> None:
    """The last text is printed before that."""
    file = tmp_path / "conversations.db"
    writer, out, err = open_store(file), io.BytesIO(), io.StringIO()
    number = writer.begin([], "")
    assert writer.locks.acquire(number)
    question = writer.add(number, None, Message(Role.USER, "q"))
    answer = writer.add(number, question, Message(Role.ASSISTANT, "be"), MessageState.PARTIAL)
    runtime = Runtime(Terminal(io.BytesIO(), out, err, False, False, False), {})  # noqa: FBT003 - see tests/run_hermes.py
    thread = threading.Thread(target=follow_in_thread, args=(runtime, file, number))
    thread.start()
    time.sleep(0.5)
    writer.end(answer, "begun and ended", MessageState.COMPLETE, GenerationRecord())
    writer.locks.release()
    thread.join(20)
    assert not thread.is_alive()
    assert out.getvalue() == b"[user]\nq\n\n[assistant (partial)]\nbegun and ended\n\n"
    assert f"hermes chat -r {number}" in err.getvalue()


def follow_in_thread(runtime: Runtime, file: Path, number: int) -> None:
    """Follow a conversation with a store for this thread."""
    with closing(Store(file)) as store:
        follow(runtime, store, number)
