"""Checks of a database whose writers failed or were killed, and of one conversation after a fault.

Everything that the user has seen is acknowledged: when an answer has begun, its question must be on the disk;
when it has ended, the whole answer. After the notice that nothing more is saved, nothing is acknowledged.
"""

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from hermes_cli.errors import StoreError
from hermes_cli.store.store import Store
from torture.child import Ended

Key = tuple[str, str, str]
"""Role, state and text of a message."""
LINES = b"one\ntwo\n/regen\n/undo\nthree\n"
ANSWERS = ("1: Uno.", "2: Due.", "3: Again.", "4: Tre.")
ASKED = ("one", "two", "two", "three")
"""The question of each answer."""
EARLIER: set[Key] = {("user", "complete", "earlier"), ("assistant", "complete", "0: Earlier.")}
"""The messages in a home that already has a conversation."""
_REMARKS = re.compile(
    r"^(\(continuing after \d+ messages?\)|\(\d of \d\)|1 turn undone; /tree still shows them\.)\n",
    re.MULTILINE,
)
_NOTICE = re.compile(r"(?:saving stopped|this conversation is not saved): [^\n]*\n(?:  [^\n]*\n)?")
_REFUSED = re.compile(r"^hermes: [^\n]*(full|fails|cannot|damaged|conversations)", re.MULTILINE)
OUTCOMES = ("reported", "not started", "harmless", "silent loss")


def damage(file: Path) -> list[str]:
    """Return the errors of a database: it is opened again, checked by SQLite, and its index is compared."""
    try:
        Store(file).close()
        with closing(sqlite3.connect(file)) as raw:
            wrong = [
                f"integrity: {row[0]}" for row in raw.execute("PRAGMA integrity_check") if row[0] != "ok"
            ]
            wrong += [f"foreign key: {row}" for row in raw.execute("PRAGMA foreign_key_check")]
            # A growing answer is not in the index yet; the next start marks it as stopped and adds it. This
            # transaction is never committed.
            raw.execute("UPDATE messages SET state = 'stopped' WHERE state = 'partial'")
            raw.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    except (StoreError, sqlite3.Error) as error:
        return [f"the database or its index is damaged: {error}"]
    return wrong


def texts(file: Path) -> Counter[Key]:
    with closing(sqlite3.connect(file)) as raw:
        return Counter(raw.execute("SELECT role, state, text FROM messages"))


def not_once(file: Path, acknowledged: Iterable[Key]) -> list[str]:
    """Return the acknowledged messages that are missing or occur more than once, as texts."""
    found = texts(file)
    return [f"{found[key]} times: {' '.join(key)}" for key in acknowledged if found[key] != 1]


def judge(
    ended: Ended, file: Path, earlier: set[Key], answers: Sequence[str] = ANSWERS
) -> tuple[str, list[str]]:
    """Return the outcome, one of OUTCOMES, and the errors. `earlier` was in the database before."""
    text = _REMARKS.sub("", ended.output)
    notices = _NOTICE.findall(text)
    wrong = damage(file) if file.exists() else []
    if _REFUSED.search(text):
        outcome, before = "not started", text.partition("hermes: ")[0]
        wrong += [] if ended.code else ["refused, with exit code 0"]
    else:
        outcome, before = "reported" if notices else "harmless", _NOTICE.split(text)[0]
        whole = "".join(f"{answer}\n" for answer in answers)
        wrong += [] if _NOTICE.sub("", text) == whole else ["not every answer came, or more than that"]
        wrong += [] if ended.code == 0 else [f"exit code {ended.code}"]
    wrong += ["reported more than once"] if len(notices) > 1 else []
    wrong += ["a traceback"] if "Traceback" in text or "bug in hermes" in text else []
    wanted = earlier | _acknowledged(before, answers)
    lost = not_once(file, wanted) if file.exists() else ["there is no database"] * bool(wanted)
    return "silent loss" if lost and outcome == "harmless" else outcome, wrong + lost


def _acknowledged(output: str, answers: Sequence[str]) -> set[Key]:
    """Return the messages that must be in the database after the output was shown."""
    wanted: set[Key] = set()
    place = 0
    for asked, answer in zip(ASKED, answers, strict=True):
        if len(output) > place:
            wanted.add(("user", "complete", asked))
        place += len(answer) + 1
        if len(output) >= place:
            wanted.add(("assistant", "complete", answer))
    return wanted
