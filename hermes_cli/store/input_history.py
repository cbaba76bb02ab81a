"""The input history, a file in the format of prompt_toolkit.

Several processes may write to the file; each one locks it first. Functions with a path raise OSError.
"""

import fcntl
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hermes_cli.messages import Role
from hermes_cli.private_files import create_folders
from hermes_cli.store.records import StoredConversation
from hermes_cli.tree import Node


def make(path: Path) -> None:
    """Create the file, readable only by its owner, if it does not exist."""
    create_folders(path.parent)
    with _locked(path):
        pass


def add(path: Path, text: str) -> None:
    """Append an entry to the file."""
    with _locked(path) as descriptor:
        os.write(descriptor, _entry(text))


def forget(path: Path, texts: Collection[str]) -> None:
    """Remove every entry whose text is in `texts`."""
    if not path.exists():
        return
    with _locked(path) as descriptor:
        kept = [block for block, text in _blocks(path.read_bytes()) if text not in texts]
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"".join(kept))
        os.fsync(descriptor)


def lines_of(conversation: StoredConversation, messages: Iterable[Node]) -> set[str]:
    """Return the input lines that may have produced the contents of a conversation.

    They are the text of every message, since the user may have edited answers; the text with an extra slash,
    if it begins with one; and the commands that set the title, system prompt, note and summaries.
    """
    texts = {message.text for message in messages}
    lines = {*texts, *(f"/{text}" for text in texts if text.startswith("/"))}
    systems = {turn.text for turn in conversation.opening if turn.role is Role.SYSTEM}
    settings = conversation.setting
    note = f"/note {settings.note}" if settings.note else ""
    notes = {note, f"{note} {settings.note_depth}"} if note else set[str]()
    summaries = {f"/summary {text.partition(chr(10))[2]}" for _, text in settings.summaries}
    commands = {f"/title {conversation.title}", *(f"/system {text}" for text in systems)}
    return lines | commands | notes | summaries


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _entry(text: str) -> bytes:
    lines = "".join(f"+{line}\n" for line in text.split("\n"))
    return f"\n#\n{lines}".encode("utf-8", "surrogatepass")


def _blocks(data: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield the bytes and the text of each entry. Its last lines begin with `+` and contain the text."""
    block, lines = b"", list[bytes]()
    for line in data.splitlines(keepends=True):
        if lines and not line.startswith(b"+"):
            yield block, _text(lines)
            block, lines = b"", []
        block += line
        if line.startswith(b"+"):
            lines.append(line)
    if block:
        yield block, _text(lines)


def _text(lines: list[bytes]) -> str:
    return b"".join(line[1:] for line in lines).decode("utf-8", "replace").removesuffix("\n")
