"""Kill a chat at random moments: `python -m torture.kill [RUNS]`.

Each run is a process that saves a session as hermes does: questions, streamed answers, and sometimes another
answer, an undo, an edit, or a new conversation; every third run continues the last conversation. It is killed
at a random moment, which may also be during the opening, creation or repair of the database.

After each kill the database must open and be undamaged, and contain every acknowledged turn exactly once,
each answer under its question; of a growing answer, about the last second may be missing. One database is
used in all runs, except that every tenth run makes a new one. At the end everything that was ever
acknowledged is looked for again. Exits 1 if something is lost, doubled or damaged.
"""

import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hermes_cli.chat import saved_conversations
from hermes_cli.chat.members import Member
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Chunk
from hermes_cli.engines.scripted import ScriptedEngine, ScriptedTurn
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.store.store import Store
from torture import checks, child

RUNS = 1000
SEED = 1
OLDEST_S = 1.5
"""Of a growing answer, nothing older than this may be missing: a second, and the time of a write."""
TURNS = 300
SLOW_DELAY_S = 0.01
LONGEST_S = {"slow": 3.0, "new": 0.06, "": 0.3}
"""The latest time of the kill, in seconds."""
SYSTEM = (Message(Role.SYSTEM, "s"),)


def _kind(run: int) -> str:
    """Return `slow` for a tenth of the runs, and `new`, which make a new database, for another tenth."""
    return {1: "slow", 2: "new"}.get(run % 10, "")


def _answer(run: int, place: int) -> str:
    """Return the `place`th answer, whose beginning is unique."""
    length = 400 if _kind(run) == "slow" else (run * 7 + place * 13) % 60
    return f"[{run}.{place}]" + "".join(f" {n}" for n in range(length))


@dataclass(slots=True)
class Seen:
    """The output before the kill. `begun` and `ended` map the place of an answer to its question.

    `growing` has the times and lengths of the last answer while it grew.
    """

    begun: dict[int, str] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    growing: list[tuple[float, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def talk(file: Path, run: int) -> None:
    chance = random.Random(run)  # noqa: S311 - moments, not secrets
    is_slow = _kind(run) == "slow"
    engine = ScriptedEngine(
        [ScriptedTurn(_answer(run, n), SLOW_DELAY_S * is_slow) for n in range(TURNS)], 10**7
    )
    recorder = Recorder(Store(file), lambda error: _print("fault", error.message))
    session = Session(
        engine, [Member(opening=Opening.behind(SYSTEM))], LayeredOptions(GenerationOptions()), recorder
    )
    if run % 3 == 0 and recorder.store and (last := recorder.store.conversations(1)):
        saved_conversations.resume(session, last[0])
    for place in range(TURNS):
        asked, stream = _turn(session, f"question {run}.{place}", chance)
        length = 0
        for chunk in stream:
            if length == 0 or is_slow:
                _print("growing", place, asked, time.monotonic(), length + len(chunk.text))
            length += len(chunk.text)
        _print("ended", place, asked)


def _turn(session: Session, question: str, chance: random.Random) -> tuple[str, Iterator[Chunk]]:
    asked = [node.text for node in session.tree.path if node.role is Role.USER]
    (action,) = chance.choices(("regenerate", "edit", "undo", "send", "clear"), (15, 15, 10, 55, 5))
    if action == "regenerate" and asked and not session.tree.is_unanswered:
        return asked[-1], session.regenerate(Cancel())
    if action in {"regenerate", "edit"} and asked:
        return question, session.edit(chance.randint(1, len(asked)), question, Cancel())
    if action == "undo" and asked:
        session.undo(chance.randint(1, len(asked)))
    elif action == "clear":
        session.clear()
    return question, session.send(question, Cancel())


def _print(*values: object) -> None:
    print(json.dumps(values), flush=True)


def seen_in(output: Path) -> Seen:
    """Return the output of a process, without a line that the kill has cut."""
    seen, last = Seen(), -1
    for line in output.read_text(encoding="utf-8").splitlines(keepends=True):
        told: Any = json.loads(line) if line.endswith("\n") and line.startswith("[") else [line]
        match told:
            case ["growing", place, question, at, length]:
                seen.growing = [*(seen.growing if place == last else ()), (at, length)]
                seen.begun[place], last = question, place
            case ["ended", place, question]:
                seen.ended[place], seen.growing = question, []
            case other if line.endswith("\n"):
                seen.faults.append(f"the process said {other}")
    return seen


def one_run(file: Path, run: int, moment_s: float) -> tuple[set[checks.Key], list[str], float]:
    """Kill a chat. Return the acknowledged messages, the errors, and the age of an answer's missing part."""
    before = 0
    if file.exists():
        with closing(sqlite3.connect(file)) as raw:
            before = int(raw.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0])
    output = file.with_name("output")
    process = child.fork(lambda: talk(file, run), output)
    time.sleep(moment_s)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    seen = seen_in(output)
    if not file.exists():
        return set(), seen.faults, 0
    damage = checks.damage(file)  # opens the database, and so finishes a creation that was cut
    kept, wrong, oldest_s = _compare(file, run, seen, before)
    return kept, [*seen.faults, *damage, *wrong], oldest_s


def _compare(file: Path, run: int, seen: Seen, before: int) -> tuple[set[checks.Key], list[str], float]:
    """Look for the output that was seen among the messages after the id `before`; see `one_run`."""
    with closing(sqlite3.connect(file)) as raw:
        query = "SELECT m.text, m.state, p.text FROM messages m LEFT JOIN messages p ON p.id = m.parent "
        answers = raw.execute(query + "WHERE m.role = 'assistant' AND m.id > ?", (before,)).fetchall()
        asked = raw.execute("SELECT text FROM messages WHERE role = 'user' AND id > ?", (before,)).fetchall()
    acknowledged = {("user", "complete", question) for question in seen.begun.values()}
    acknowledged |= {("assistant", "complete", _answer(run, place)) for place in seen.ended}
    wrong = checks.not_once(file, acknowledged)
    wrong += [f"doubled: {text}" for (text,), count in Counter(asked).items() if count > 1]
    for place, question in seen.begun.items():
        answer = _answer(run, place)
        rows = [row for row in answers if row[0] and answer.startswith(row[0]) and row[2] == question]
        whole = [row for row in rows if row[:2] == (answer, "complete")]
        if len(whole if place in seen.ended else rows[:1]) != 1:
            wrong.append(f"answer {place} under {question}: {rows}")
    oldest_s = 0.0
    if seen.growing:
        answer = _answer(run, max(seen.begun))
        kept = max((len(text) for text, _, _ in answers if answer.startswith(text)), default=0)
        missing = [at for at, length in seen.growing if length > kept]
        oldest_s = seen.growing[-1][0] - missing[0] if missing else 0.0
        wrong += [f"{oldest_s:.1f} s of an answer"] * (oldest_s > OLDEST_S)
    return acknowledged, wrong, oldest_s


def main() -> int:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    chance = random.Random(SEED)  # noqa: S311 - moments, not secrets
    acknowledged, total, bad, oldest_s = set[checks.Key](), 0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs):
            kind = _kind(run)
            place = Path(folder) / (str(run) if kind == "new" else "kept")
            place.mkdir(exist_ok=True)
            moment_s = chance.uniform(0, LONGEST_S[kind])
            seen, wrong, age_s = one_run(place / "conversations.db", run, moment_s)
            for what in wrong:
                print(f"run {run}: {what}", flush=True)
            total, bad, oldest_s = total + len(seen), bad + len(wrong), max(oldest_s, age_s)
            acknowledged |= set() if kind == "new" else seen
        at_the_end = checks.not_once(Path(folder) / "kept" / "conversations.db", acknowledged)
    print(f"{runs} runs, {total} acknowledged messages: {bad} lost, doubled or damaged,")
    print(f"{len(at_the_end)} at the end; of a growing answer at most the last {oldest_s:.2f} s were missing")
    return int(bool(bad or at_the_end))


if __name__ == "__main__":
    sys.exit(main())
