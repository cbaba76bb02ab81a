"""store-queries: listing and searching 100,000 messages in 2,000 conversations.

Peers: plain SQL queries without an index of words (`LIKE`) or of time. Gate: the search finds exactly the
messages that the scan finds, and the list is the same.
"""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from benchmarks.measure import Bench, difference, interleave
from benchmarks.report import Line
from hermes_cli.messages import Role
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.store import Store
from hermes_cli.tree import MessageState, Node

CONVERSATIONS, MESSAGES = 2000, 50
LISTED = 30
"""The number of conversations that `hermes sessions list` shows."""
SEARCHES = {"two rare words": ("quartz", "zebra"), "two common words": ("violin", "marble")}
PLANTED = {"quartz": 25, "zebra": 20, "violin": 3, "marble": 2}
"""One message in N contains the word, and no longer word contains it, so LIKE finds the same messages."""
SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "su", "ta", "re")
LIST = (
    "SELECT c.id, c.title, count(*) FROM conversations c JOIN messages m ON m.conversation = c.id "
    "GROUP BY c.id ORDER BY c.updated DESC LIMIT ?"
)
SCAN = "SELECT id FROM messages WHERE text LIKE '%' || ? || '%' AND text LIKE '%' || ? || '%'"


def measure(bench: Bench) -> list[Line]:
    file = bench.scratch / "conversations.db"
    with closing(Store(file)) as store, closing(sqlite3.connect(file)) as raw:
        store.adopt(conversations())
        scan = partial(_rows, raw, LIST, LISTED)
        listed = [(one.id, one.title, one.message_count) for one in store.conversations(LISTED)]
        what = f"the last {LISTED} of 2,000 conversations, beside counting them all"
        wrong = difference("list", scan(), [listed])
        lines = [_line(bench, what, partial(store.conversations, LISTED), scan, wrong)]
        for name, words in SEARCHES.items():
            text, scan = " ".join(words), partial(_rows, raw, SCAN, *words)
            found = sorted((hit.message,) for hit in store.search(text, 10**9))
            wrong = difference("list of messages", sorted(scan()), [found])
            what = f"search for {name} in 100,000 messages, beside a LIKE scan"
            lines.append(_line(bench, what, partial(store.search, text), scan, wrong))
    return lines


def _rows(raw: sqlite3.Connection, query: str, *values: object) -> list[tuple[object, ...]]:
    return raw.execute(query, values).fetchall()


def _line(
    bench: Bench, what: str, hermes: Callable[[], object], peer: Callable[[], object], wrong: str
) -> Line:
    sides = {"hermes": partial(_milliseconds, hermes), "peer": partial(_milliseconds, peer)}
    return interleave(sides, bench.repeats, bench.patience_s).line(what, "ms", float, wrong=wrong)


def _milliseconds(query: Callable[[], object]) -> float:
    began = time.perf_counter()
    query()
    return (time.perf_counter() - began) * 1000


def conversations() -> Iterator[tuple[StoredConversation, list[Node]]]:
    chance = random.Random(1)  # noqa: S311 - text, not secrets
    vocabulary = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 4))) for _ in range(8000)]
    weights = [1 / (place + 10) for place in range(len(vocabulary))]
    for number in range(CONVERSATIONS):
        messages = []
        for place in range(1, MESSAGES + 1):
            role, length = (Role.USER, (5, 20)) if place % 2 else (Role.ASSISTANT, (20, 120))
            words = chance.choices(vocabulary, weights, k=chance.randint(*length))
            count = number * MESSAGES + place
            text = " ".join([*words, *(word for word, every in PLANTED.items() if count % every == 0)])
            sent = 1e9 + count
            messages.append(Node(place, place - 1 or None, role, text, MessageState.COMPLETE, sent))
        title, updated = f"conversation {number}", 1e9 + chance.randrange(10**7)
        yield StoredConversation(0, title, False, "", (), 1e9, updated, MESSAGES), messages  # noqa: FBT003
