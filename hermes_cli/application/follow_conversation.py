"""Prints a conversation while another process continues it, for `hermes sessions show --follow`."""

import time
from collections.abc import Sequence

from hermes_cli.application.runtime import Runtime
from hermes_cli.store.store import Store
from hermes_cli.tree import MessageState, Node

INTERVAL_S = 0.3


class Follower:
    """Computes the text to print from successive states of a conversation."""

    def __init__(self) -> None:
        self._finished: list[int] = []
        self._partial: Node | None = None

    def update(self, path: Sequence[Node]) -> str:
        """Return the text added since the last call. `path` holds the messages that are visible now."""
        printed, text = self._drop_hidden(path), ""
        for message in path[printed:]:
            text += self._print(message)
        return text

    def _drop_hidden(self, path: Sequence[Node]) -> int:
        """Drop printed messages that are no longer in `path`; return how many of `path` are printed."""
        ids, ended = [message.id for message in path], self._finished
        remaining = next((n for n, item in enumerate(ended) if ids[n : n + 1] != [item]), len(ended))
        del ended[remaining:]
        return remaining

    def _print(self, message: Node) -> str:
        remark = "" if message.state is MessageState.COMPLETE else f" ({message.state})"
        text, previous = "", self._partial
        if previous is not None and previous.id == message.id and message.text.startswith(previous.text):
            text += message.text[len(previous.text) :]
        else:
            gap = "\n\n" if previous is not None else ""
            text += f"{gap}[{message.speaker or message.role}{remark}]\n{message.text}"
        self._partial = message
        if message.state is not MessageState.PARTIAL:
            self._finished.append(message.id)
            self._partial, text = None, f"{text}\n\n"
        return text


def conversation_text(path: Sequence[Node]) -> str:
    """Return the text of a whole conversation."""
    text = Follower().update(path)
    return text if text.endswith("\n\n") or not text else f"{text}\n\n"


def follow(runtime: Runtime, store: Store, conversation: int) -> None:
    """Print a conversation as it grows, until the other process closes it or the user presses Ctrl-C."""
    follower = Follower()
    while True:
        is_over = store.locks.is_free(conversation)  # checked before the read, so that no text is missed
        found = store.conversation(conversation)
        if found is not None:
            runtime.terminal.write(follower.update(store.path(found.leaf)))
        if is_over or found is None:
            break
        time.sleep(INTERVAL_S)
    removed = f"conversation {conversation} was deleted"
    closed = f"the other window has closed this conversation; 'hermes chat -r {conversation}' continues it"
    runtime.terminal.notice(removed if found is None else closed)
