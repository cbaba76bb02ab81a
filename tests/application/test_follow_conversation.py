"""Following a conversation that another window continues: each text is printed once, as it grows."""

import io
import threading
import time
from pathlib import Path

from hermes_cli.application.follow_conversation import Follower, conversation_text, follow
from hermes_cli.application.runtime import Runtime
from hermes_cli.messages import Message, Role
from hermes_cli.screen.terminal import Terminal
from hermes_cli.store.store import Store
from hermes_cli.tree import GenerationRecord, MessageState, Node
from tests.database import OpenStore


def said(
    number: int, text: str, state: MessageState = MessageState.COMPLETE, role: Role = Role.ASSISTANT
) -> Node:
    """Return a stored message."""
    return Node(number, number - 1 or None, role, text, state, 0.0)


QUESTION = said(1, "q", role=Role.USER)


def test_a_growing_answer_is_printed_once() -> None:
    """Of a growing answer only the new text is printed."""
    follower = Follower()
    seen = [
        follower.update([QUESTION]),
        follower.update([QUESTION, said(2, "One", MessageState.PARTIAL)]),
        follower.update([QUESTION, said(2, "One", MessageState.PARTIAL)]),
        follower.update([QUESTION, said(2, "One two", MessageState.PARTIAL)]),
        follower.update([QUESTION, said(2, "One two three")]),
        follower.update([QUESTION, said(2, "One two three")]),
    ]
    assert seen == ["[user]\nq\n\n", "[assistant (partial)]\nOne", "", " two", " three\n\n", ""]


def test_another_branch_is_printed_from_where_it_leaves() -> None:
    """Another branch is printed from its first message that differs."""
    follower = Follower()
    follower.update([QUESTION, said(2, "first")])
    assert follower.update([QUESTION, said(3, "second")]) == "[assistant]\nsecond\n\n"
    assert follower.update([QUESTION, said(4, "thi", MessageState.PARTIAL)]) == "[assistant (partial)]\nthi"
    assert follower.update([QUESTION, said(5, "x")]) == "\n\n[assistant]\nx\n\n"
    assert follower.update([]) == ""


def test_the_whole_ends_with_an_empty_line() -> None:
    """The text of a whole conversation ends with an empty line, even if the answer is partial."""
    assert conversation_text([QUESTION, said(2, "half", MessageState.PARTIAL)]).endswith("half\n\n")
    assert conversation_text([]) == ""


def test_it_ends_when_the_other_window_leaves(tmp_path: Path, open_store: OpenStore) -> None:
    """Following ends when the other window leaves, after the last text was printed."""
    file = tmp_path / "conversations.db"
    writer, out, err = open_store(file), io.BytesIO(), io.StringIO()
    number = writer.begin([], "")
    assert writer.locks.take(number)
    asked = writer.add(number, None, Message(Role.USER, "q"))
    answer = writer.add(number, asked, Message(Role.ASSISTANT, "be"), MessageState.PARTIAL)
    runtime = Runtime(Terminal(io.BytesIO(), out, err, False, False, False), {})  # noqa: FBT003 - see tests/run_hermes.py
    thread = threading.Thread(target=read, args=(runtime, file, number))
    thread.start()
    time.sleep(0.5)
    writer.end(answer, "begun and ended", MessageState.COMPLETE, GenerationRecord())
    writer.locks.release()
    thread.join(20)
    assert not thread.is_alive()
    assert out.getvalue() == b"[user]\nq\n\n[assistant (partial)]\nbegun and ended\n\n"
    assert f"hermes chat -r {number}" in err.getvalue()


def read(runtime: Runtime, file: Path, number: int) -> None:
    """Follow a conversation with a store for this thread."""
    store = Store(file)
    follow(runtime, store, number)
    store.close()
