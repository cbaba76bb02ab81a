"""Kill a chat at random moments: `python -m torture.kill [RUNS] [--seed N]`.

Each run is a process that saves a session as hermes does: questions, streamed answers, and sometimes another
answer, an undo, an edit, or a new conversation; every third run continues the last conversation. Everything
that the user has seen is acknowledged: when an answer has begun, its question must be on the disk; when it
has ended, all of it; and of a growing answer, all but about the last second. A SIGKILL is sent after a random
time, counted from the start of the process, so that it also hits the opening, creation and repair of the
database.

After each kill the database must open and be undamaged, and contain every acknowledged turn exactly once,
each answer under its question. One database is used in all runs, except that every tenth run makes a new one.
At the end everything that was ever acknowledged is looked for again. Exits 1 if something is lost, doubled or
damaged.
"""

import argparse
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
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Chunk
from hermes_cli.engines.scripted import ScriptedEngine, ScriptedTurn
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import GenerationOptions, Sourced
from hermes_cli.store.store import Store
from torture import child, look

RUNS = 1000
LONGEST_S = 0.3
SLOW_LONGEST_S = 3.0
NEW_LONGEST_S = 0.06
"""The longest life of a process that makes a new database; the making takes most of it."""
OLDEST_S = 1.5
"""Of a growing answer, nothing older than this may be missing: a second, and the time of a write."""
TURNS = 300
SLOW_DELAY_S = 0.01
SYSTEM = (Message(Role.SYSTEM, "s"),)


@dataclass(frozen=True, slots=True)
class Run:
    """One process: its number, and the kind of run."""

    number: int
    is_slow: bool = False
    is_new: bool = False

    def question(self, place: int) -> str:
        """Return the `place`th question."""
        return f"question {self.number}.{place}"

    def answer(self, place: int) -> str:
        """Return the `place`th answer, whose beginning is unique."""
        length = 400 if self.is_slow else (self.number * 7 + place * 13) % 60
        return f"[{self.number}.{place}]" + "".join(f" {n}" for n in range(length))

    @property
    def longest_s(self) -> float:
        """The latest time of the kill, in seconds."""
        return SLOW_LONGEST_S if self.is_slow else NEW_LONGEST_S if self.is_new else LONGEST_S


@dataclass(slots=True)
class Seen:
    """The output that the user saw before the kill.

    `begun` and `ended` map the place of an answer to its question; `growing` has the times and lengths of the
    last answer while it grew.
    """

    begun: dict[int, str] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    growing: list[tuple[float, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Result:
    """The result of one run or of many. `oldest_s` is the age in seconds of the missing part of an answer."""

    seen: set[look.Key] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)
    acknowledged: int = 0
    damaged: int = 0
    oldest_s: float = 0.0


def talk(file: Path, run: Run) -> None:
    """Chat until the process is killed, and print the output that the user sees."""
    chance = random.Random(run.number)  # noqa: S311 - moments, not secrets
    delay = SLOW_DELAY_S if run.is_slow else 0.0
    engine = ScriptedEngine([ScriptedTurn(run.answer(n), delay) for n in range(TURNS)], 10**7)
    recorder = Recorder(Store(file), lambda error: _tell("fault", error.message))
    session = Session(engine, Opening.behind(SYSTEM), Sourced(GenerationOptions()), recorder)
    if run.number % 3 == 0 and recorder.store and (last := recorder.store.conversations(1)):
        saved_conversations.resume(session, last[0])
    for place in range(TURNS):
        asked, stream = _turn(session, run.question(place), chance)
        length = 0
        for chunk in stream:
            if length == 0 or run.is_slow:
                _tell("growing", place, asked, time.monotonic(), length + len(chunk.text))
            length += len(chunk.text)
        _tell("ended", place, asked)


def _turn(session: Session, question: str, chance: random.Random) -> tuple[str, Iterator[Chunk]]:
    """Begin an answer, and return its question and its stream."""
    asked = [node.text for node in session.tree.path if node.role is Role.USER]
    answered = bool(asked) and not session.tree.is_unanswered
    kind = chance.random()
    if answered and kind < 0.15:  # noqa: PLR2004 - one in seven
        return asked[-1], session.regenerate(Cancel())
    if asked and kind < 0.3:  # noqa: PLR2004 - one in seven
        return question, session.edit(chance.randint(1, len(asked)), question, Cancel())
    if asked and kind < 0.4:  # noqa: PLR2004 - one in ten
        session.undo(chance.randint(1, len(asked)))
    elif kind > 0.95:  # noqa: PLR2004 - one in twenty
        session.clear()
    return question, session.send(question, Cancel())


def _tell(*what: object) -> None:
    print(json.dumps(what), flush=True)


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


def one_run(file: Path, run: Run, moment_s: float) -> Result:
    """Start a chat, kill it after `moment_s` seconds, and return the result."""
    before = _last_id(file)
    output = file.with_name("said")
    output.unlink(missing_ok=True)
    process = child.fork(lambda: talk(file, run), output=output)
    time.sleep(moment_s)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    seen, result = seen_in(output) if output.exists() else Seen(), Result()
    wrong = look.damage(file) if file.exists() else []
    result.damaged, result.lost = len(wrong), [*seen.faults, *wrong]
    if file.exists():
        _compare(file, run, seen, result, before)
    return result


def _last_id(file: Path) -> int:
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file)) as raw:
        return int(raw.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0])


def _compare(file: Path, run: Run, seen: Seen, result: Result, before: int) -> None:
    """Look for the output that was seen among the messages after the id `before`."""
    with closing(sqlite3.connect(file)) as raw:
        query = "SELECT m.text, m.state, p.text FROM messages m LEFT JOIN messages p ON p.id = m.parent "
        answers = raw.execute(query + "WHERE m.role = 'assistant' AND m.id > ?", (before,)).fetchall()
        asked = raw.execute("SELECT text FROM messages WHERE role = 'user' AND id > ?", (before,)).fetchall()
    result.seen |= {("user", "complete", question) for question in seen.begun.values()}
    result.seen |= {("assistant", "complete", run.answer(place)) for place in seen.ended}
    result.lost += look.not_once(file, result.seen)
    result.lost += [f"doubled: {text}" for (text,), count in Counter(asked).items() if count > 1]
    for place, question in seen.begun.items():
        there = [
            row for row in answers if row[0] and run.answer(place).startswith(row[0]) and row[2] == question
        ]
        whole = [row for row in there if row[:2] == (run.answer(place), "complete")]
        if len(whole if place in seen.ended else there[:1]) != 1:
            result.lost.append(f"answer {place} under {question}: {there}")
    if seen.growing:
        answer = run.answer(max(seen.begun))
        kept = max((len(text) for text, _, _ in answers if answer.startswith(text)), default=0)
        missing = [at for at, length in seen.growing if length > kept]
        result.oldest_s = seen.growing[-1][0] - missing[0] if missing else 0.0
        result.lost += [f"{result.oldest_s:.1f} s of an answer"] * (result.oldest_s > OLDEST_S)


def main() -> int:
    """Run the test, print the losses, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m torture.kill", description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=RUNS)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    chance = random.Random(wanted.seed)  # noqa: S311 - moments, not secrets
    whole = Result()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(wanted.runs):
            run = Run(number, is_slow=number % 10 == 1, is_new=number % 10 == 2)  # noqa: PLR2004
            place = Path(folder) / (str(number) if run.is_new else "kept")
            place.mkdir(exist_ok=True)
            result = one_run(place / "conversations.db", run, chance.uniform(0, run.longest_s))
            for what in result.lost:
                print(f"run {number}: {what}", flush=True)
            whole.lost += result.lost
            whole.damaged += bool(result.damaged)
            whole.oldest_s = max(whole.oldest_s, result.oldest_s)
            whole.acknowledged += len(result.seen)
            whole.seen |= set() if run.is_new else result.seen
        at_the_end = look.not_once(Path(folder) / "kept" / "conversations.db", whole.seen)
    print(f"{wanted.runs} runs, {whole.acknowledged} acknowledged turns: {len(whole.lost)} lost or doubled,")
    print(f"{len(at_the_end)} at the end, {whole.damaged} damaged databases;")
    print(f"of an answer that grew at most the last {whole.oldest_s:.2f} s were missing")
    return int(bool(whole.lost or at_the_end or whole.damaged))


if __name__ == "__main__":
    sys.exit(main())
