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
        self._ended: list[int] = []
        self._open: Node | None = None

    def update(self, path: Sequence[Node]) -> str:
        """Return the text that is new since the last call. `path` is the currently visible messages."""
        printed, text = self._back_to(path), ""
        for message in path[printed:]:
            text += self._print(message)
        return text

    def _back_to(self, path: Sequence[Node]) -> int:
        """Drop the printed messages that `path` no longer contains, and return how many of it are printed."""
        ids = [message.id for message in path]
        same = next((n for n, ended in enumerate(self._ended) if ids[n : n + 1] != [ended]), len(self._ended))
        del self._ended[same:]
        return same

    def _print(self, message: Node) -> str:
        remark = "" if message.state is MessageState.COMPLETE else f" ({message.state})"
        text, before = "", self._open
        if before is not None and before.id == message.id and message.text.startswith(before.text):
            text += message.text[len(before.text) :]
        else:
            text += ("\n\n" if before is not None else "") + f"[{message.role}{remark}]\n{message.text}"
        self._open = message
        if message.state is not MessageState.PARTIAL:
            self._ended.append(message.id)
            self._open, text = None, f"{text}\n\n"
        return text


def conversation_text(path: Sequence[Node]) -> str:
    """Return the text of a whole conversation."""
    text = Follower().update(path)
    return text if text.endswith("\n\n") or not text else f"{text}\n\n"


def follow(runtime: Runtime, store: Store, conversation: int) -> None:
    """Print a conversation as it grows, until the process that has it open ends, or Ctrl-C."""
    follower = Follower()
    while True:
        is_over = store.locks.is_free(conversation)  # before the last read, so that nothing is missed
        found = store.conversation(conversation)
        if found is not None:
            runtime.terminal.write(follower.update(store.path(found.leaf)))
        if is_over or found is None:
            break
        time.sleep(INTERVAL_S)
    removed = f"conversation {conversation} was deleted"
    closed = f"the other window has closed it; 'hermes chat -r {conversation}' continues it"
    runtime.terminal.notice(removed if found is None else closed)
