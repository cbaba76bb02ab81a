"""S1: listing and searching 100,000 messages in 2,000 conversations.

Measured: `Store.conversations` and `Store.search` on an open store, and `hermes sessions list` and `search`
as processes. Peers: plain SQL queries without an index of words (`LIKE`) or of time; for the processes,
`hermes --version`, which is the cost of any command, and Python with a scan. Gate: the search finds exactly
the messages that the scan finds, and the list is the same.
"""

import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from itertools import accumulate
from pathlib import Path

from benchmarks.measure import Bench, Child, Line, Turns, ended_well, run_child, same, turns_about
from hermes_cli.config import Paths
from hermes_cli.messages import Role
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.store import Store
from hermes_cli.tree import MessageState, Node

CONVERSATIONS, MESSAGES = 2000, 50
SHOWN, HITS = 30, 50
"""The number of rows that `list` and `search` show."""
ALL = 10**9
PATIENCE_S = 3.0
"""A query takes milliseconds, so it fits between other activity of the machine."""
SEARCHES = {"two rare words": ("quartz", "zebra"), "two common words": ("violin", "marble")}
PLANTED = {"quartz": 25, "zebra": 20, "violin": 3, "marble": 2}
"""One message in N contains the word, and no longer word contains it, so LIKE finds the same messages."""
SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "su", "ta", "re")
LIST = (
    "SELECT c.id, c.title, count(*) FROM conversations c JOIN messages m ON m.conversation = c.id "
    "GROUP BY c.id ORDER BY c.updated DESC LIMIT ?"
)
SCAN = "SELECT id FROM messages WHERE text LIKE '%' || ? || '%' AND text LIKE '%' || ? || '%'"
SCAN_PROGRAM = (
    "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2], sys.argv[3:]).fetchall())"
)


def measure(bench: Bench) -> list[Line]:
    """Fill a database, and return a line for each query."""
    home = bench.scratch / "many"
    file = Paths.from_environment({"OPENHERMES_HOME": str(home)}).conversations
    with closing(Store(file)) as store, closing(sqlite3.connect(file)) as raw:
        store.adopt(conversations())
        lines = [_list(bench, store, raw)]
        lines += [_search(bench, store, raw, what, words) for what, words in SEARCHES.items()]
    return lines + _commands(bench, home, file)


def _list(bench: Bench, store: Store, raw: sqlite3.Connection) -> Line:
    ours = [(one.id, one.title, one.count) for one in store.conversations(SHOWN)]
    wrong = same("list", raw.execute(LIST, (SHOWN,)).fetchall(), [ours])
    sides = {
        "hermes": partial(_timed, lambda: store.conversations(SHOWN)),
        "peer": partial(_timed, lambda: raw.execute(LIST, (SHOWN,)).fetchall()),
    }
    return _line(f"the last {SHOWN} of 2,000 conversations, beside counting them all", bench, sides, wrong)


def _search(bench: Bench, store: Store, raw: sqlite3.Connection, what: str, words: tuple[str, str]) -> Line:
    scanned = {number for (number,) in raw.execute(SCAN, words)}
    wrong = same("set of messages", scanned, [{hit.message for hit in store.search(" ".join(words), ALL)}])
    sides = {
        "hermes": partial(_timed, lambda: store.search(" ".join(words))),
        "peer": partial(_timed, lambda: raw.execute(SCAN, words).fetchall()),
    }
    return _line(f"search for {what} in 100,000 messages, beside a LIKE scan", bench, sides, wrong)


def _line(what: str, bench: Bench, sides: Mapping[str, Callable[[], float]], wrong: str) -> Line:
    turns = turns_about(sides, bench.repeats, patience_s=PATIENCE_S)
    ours, theirs = turns.median("hermes", float), turns.median("peer", float)
    return Line("S1", what, "ms", ours, theirs, None, wrong, turns.record(float))


def _timed(ask: Callable[[], object]) -> float:
    """Return the milliseconds that a query takes."""
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000


def _commands(bench: Bench, home: Path, file: Path) -> list[Line]:
    """Return a line for each whole command."""
    environment = bench.environment(OPENHERMES_HOME=str(home))
    hermes, words = bench.programs / "hermes", SEARCHES["two rare words"]
    sides = {
        "list": partial(run_child, [hermes, "sessions", "list"], environment),
        "--version": partial(run_child, [hermes, "--version"], environment),
        "search": partial(run_child, [hermes, "sessions", "search", *words], environment),
        "scan": partial(run_child, [sys.executable, "-c", SCAN_PROGRAM, file, SCAN, *words], environment),
    }
    turns = turns_about(sides, bench.repeats)
    wrong = ended_well(child for given in turns.results.values() for child in given)
    for name, count in (("list", SHOWN), ("search", HITS)):
        wrong = wrong or same(f"number of lines of {name}", count, map(_count, turns.results[name]))
    return [
        _command("`hermes sessions list`, beside `hermes --version`", turns, ("list", "--version"), wrong),
        _command(
            "`hermes sessions search`, beside `hermes --version`", turns, ("search", "--version"), wrong
        ),
        _command("the same, beside Python with a LIKE scan", turns, ("search", "scan"), wrong),
    ]


def _count(child: Child) -> int:
    return child.stdout.count(b"\n")


def _command(what: str, turns: Turns[Child], sides: tuple[str, str], wrong: str) -> Line:
    def wall_ms(child: Child) -> float:
        return child.wall_s * 1000

    ours, theirs = (turns.median(side, wall_ms) for side in sides)
    return Line("S1", f"wall time of {what}", "ms", ours, theirs, None, wrong, turns.record(wall_ms))


def conversations() -> Iterator[tuple[StoredConversation, list[Node]]]:
    """Yield the conversations, which are the same each time."""
    chance = random.Random(1)  # noqa: S311 - text, not secrets
    vocabulary = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 4))) for _ in range(8000)]
    weights = [*accumulate(1 / (place + 10) for place in range(len(vocabulary)))]
    for number in range(CONVERSATIONS):
        messages = []
        for place in range(1, MESSAGES + 1):
            role = Role.USER if place % 2 else Role.ASSISTANT
            length = chance.randint(5, 20) if role is Role.USER else chance.randint(20, 120)
            words = chance.choices(vocabulary, cum_weights=weights, k=length)
            count = number * MESSAGES + place
            words += [word for word, every in PLANTED.items() if count % every == 0]
            chance.shuffle(words)
            messages.append(
                Node(place, place - 1 or None, role, " ".join(words), MessageState.COMPLETE, 1e9 + count)
            )
        updated = 1e9 + chance.randrange(10**7)
        yield StoredConversation(0, f"conversation {number}", False, "", (), 1e9, updated, MESSAGES), messages  # noqa: FBT003
