"""Chat with model servers that fail: `python -m torture.remote [FAULTS]`.

A conversation over a fake of each kind of server makes random moves: turns, other answers, swipes, undos,
edits, continued answers, cancels and interrupts at random moments, and restarts of hermes. Each move meets a
random fault (`server_faults.py`). One move in ten is a `hermes ask` or `hermes chat` in a process of its
own, which is sometimes interrupted.

After each move a new store must load the whole conversation, with every text that was shown. A fault that is
harmless must not change an answer. A move may raise only HermesError, and takes at most MOST_S. No traceback
or key is in any output or in the database, no escape sequence in a message, and no thread or connection is
left over. Exits 1 if one of these does not hold.
"""

import faulthandler
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hermes_cli.chat import saved_conversations
from hermes_cli.chat.members import Member
from hermes_cli.chat.prompt_settings import Overflow, PromptSettings
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Chunk, FinishReason
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.engines.remote.client import ClientSettings
from hermes_cli.engines.remote.connection import open_engine
from hermes_cli.engines.remote.engine import RemoteEngine
from hermes_cli.engines.remote.key import KeySource
from hermes_cli.engines.remote.timer import TimeLimits
from hermes_cli.errors import HermesError, Interrupted, UsageError
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import LayeredOptions
from hermes_cli.store.locks import LOCKS_FOLDER
from hermes_cli.store.store import Store
from hermes_cli.tree import Node, Tree
from tests.engines.remote.clients import FAKES
from tests.engines.remote.fakes.http_server import FakeServer, Fault
from tests.engines.remote.fakes.openai_server import FakeOpenAI
from torture import checks
from torture.remote_processes import HANGS_S, KEY_VARIABLE, CommandLine
from torture.server_faults import FAULTS, KEY
from torture.stops import stopping, unraisable

COUNT: Final = 1_000
COMMAND_LINE_EVERY: Final = 10
"""The share of the moves that are processes of their own."""
SEED: Final = 24
CONTEXT: Final = 1024
MOST_S: Final = 5.0
LEAVES_S: Final = 10.0
"""The seconds within which the threads of the fakes end."""
SETTINGS: Final = ClientSettings(TimeLimits(2, 1, 1), retry_delays_s=(0.01, 0.01), max_retry_after_s=1)
ANSWER_PATHS: Final = {
    "llama-server": "/completion",
    "vllm": "/v1/completions",
    "lmstudio": "/v1/chat/completions",
    "ollama": "/api/chat",
    "openai": "/v1/chat/completions",
}
MOVES: Final = {
    "send": 50,
    "regenerate": 12,
    "continue": 10,
    "edit": 6,
    "undo": 6,
    "swipe": 6,
    "clear": 2,
    "resume": 8,
}
CANNOT_CONTINUE: Final = {"lmstudio", "openai"}
SYSTEM: Final = Opening.behind((Message(Role.SYSTEM, "You are brief."),))
LETTERS: Final = "abc déß日本🎉\n"


@dataclass(slots=True)
class Result:
    """The outcomes by fault, the longest move in seconds, and the errors."""

    outcomes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    slowest: tuple[float, str] = (0.0, "")
    acknowledged: int = 0
    wrong: list[str] = field(default_factory=list)


class Play:
    """A conversation over a fake of one kind, in a home of its own."""

    def __init__(self, kind: str, home: Path, chance: random.Random, result: Result) -> None:
        self.kind, self.home, self.chance, self.result = kind, home, chance, result
        self.fake = FAKES[kind](key=KEY)
        self.model_name = self.fake.model.name
        self.file = home / "hermes" / "data" / "conversations.db"
        self.number = 0

    def run(self, moves: int) -> None:
        """Make the moves."""
        with self.fake:
            self.engine = self._connect()
            self.session = self._new_session()
            for _ in range(moves):
                self.number += 1
                self._move()
                self.fake.requests.clear()
            self.session.recorder.close()

    def _connect(self) -> RemoteEngine:
        address = ServerAddress(
            self.fake.url, "torture", model=self.model_name, key=KeySource("key_env", KEY_VARIABLE)
        )
        return open_engine(address, {KEY_VARIABLE: KEY}, context_size=CONTEXT, settings=SETTINGS)

    def _new_session(self) -> Session:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        recorder = Recorder(Store(self.file), lambda error: self._wrong("the store", error.message))
        member = Member(opening=SYSTEM, prompt_settings=PromptSettings(overflow=Overflow.DROP))
        session = Session(self.engine, [member], LayeredOptions(), recorder)
        assert recorder.store is not None  # noqa: S101 - it was passed
        if conversations := recorder.store.conversations(1):
            saved_conversations.resume(session, conversations[0])
        return session

    def _wrong(self, fault: str, reason: str) -> None:
        self.result.wrong.append(f"{self.kind}, move {self.number}, {fault}: {reason}")

    def _move(self) -> None:
        name = self.chance.choice([*FAULTS, *["none"] * 6])
        path = ANSWER_PATHS[self.kind] if FAULTS[name].on_answers or self.chance.getrandbits(1) else ""
        length = self.chance.randint(1, 60)
        answer = f"{self.number}:" + "".join(self.chance.choices(LETTERS, k=length)) + "."
        self.fake.model.answers = [answer] * 3  # an answer can be requested again
        with ExitStack() as stack:
            self._begin_fault(name, FAULTS[name].make(self.chance), path, stack)
            began = time.monotonic()
            if self.number % COMMAND_LINE_EVERY == 0:
                outcome, most_s = self._command_line(name, answer), HANGS_S
            else:
                outcome, most_s = self._session_move(name, answer), MOST_S
            seconds = time.monotonic() - began
        if self.engine.context_size < CONTEXT:  # an error named it; /context tries the larger one again
            self.engine = self.session.engine = self._connect()
        self.result.outcomes[name][outcome] += 1
        if most_s == MOST_S:
            self.result.slowest = max(self.result.slowest, (seconds, f"{name} at {self.kind}"))
        if seconds > most_s:
            self._wrong(name, f"{seconds:.1f} s")
        if KEY.encode() in self.file.read_bytes():
            self._wrong(name, "the key is in the database")

    def _begin_fault(self, name: str, fault: Fault, path: str, stack: ExitStack) -> None:
        """Make the server fail until the end of the stack."""
        fake, model = self.fake, self.fake.model
        fault.path = path
        fake.fault = fault
        stack.callback(setattr, fake, "fault", None)
        if name == "restarted":
            pauses = self.chance.uniform(0, 0.2), self.chance.uniform(0, 0.2)
            thread = threading.Thread(target=_restart, args=(fake, *pauses))
            thread.start()
            stack.callback(thread.join)
        elif name == "not running":
            fake.stop()
            stack.callback(fake.start_again)
        elif name == "model is gone":
            stack.callback(setattr, model, "name", model.name)
            model.name = "other"
        elif name == "cut prompt":
            stack.callback(setattr, model, "context_size", CONTEXT)
            model.context_size = 150
        elif name in {"tool call", "content filter"}:
            switch = "calls_tool" if name == "tool call" or not isinstance(fake, FakeOpenAI) else "filters"
            setattr(fake, switch, True)
            stack.callback(setattr, fake, switch, not switch)

    # Moves of a session in this process

    def _session_move(self, name: str, answer: str) -> str:
        stops = self.chance.choice(("never", "never", "never", "cancel", "interrupt"))
        shown = _Shown(answer=answer, is_stopped=stops != "never")
        with stopping(stops, self.chance.uniform(0.001, 0.25)) as cancel:
            try:
                for chunk in self._stream(cancel, shown):
                    is_first = bool(chunk.text) and not shown.text
                    shown.text += chunk.text
                    shown.finish = chunk.completion.finish_reason if chunk.completion else None
                    if is_first:
                        self._check_question(name, shown)
            except HermesError as error:
                shown.error = error
            except Interrupted:
                shown.finish = FinishReason.CANCELLED
            except BaseException as error:  # noqa: BLE001 - the test looks for these
                self._wrong(name, "".join(traceback.format_exception(error))[-2_000:])
        self._check(name, shown)
        if stops == "interrupt":  # as hermes does, which ends then
            self._restart(name, shown)
        return shown.outcome

    def _stream(self, cancel: Cancel, shown: "_Shown") -> Iterator[Chunk]:
        """Make a random move, and yield the answer."""
        session, chance, question = self.session, self.chance, f"question {self.number} ß🎉"
        (move,) = chance.choices([*MOVES], [*MOVES.values()])
        users = [node for node in session.tree.path if node.role is Role.USER]
        if move == "resume":
            self._restart("none", shown)
            session = self.session
        elif move == "clear":
            session.clear()
        elif not users:
            pass
        elif move == "edit":
            shown.question = question
            return session.edit(chance.randint(1, len(users)), question, cancel)
        elif move == "undo":
            session.undo(chance.randint(1, len(users)))
        elif session.tree.is_unanswered:
            return session.regenerate(cancel)
        elif move == "swipe":
            session.swipe(chance.randrange(len(session.tree.swipes())))
        elif move == "regenerate":
            return session.regenerate(cancel)
        elif move == "continue":
            shown.start = session.tree.path[-1].text
            shown.is_refusable = self.kind in CANNOT_CONTINUE
            return session.continue_answer(cancel)
        shown.question = question
        return session.send(question, cancel)

    def _restart(self, name: str, shown: "_Shown") -> None:
        """Close the conversation, and open it again as a new process does."""
        self.session.recorder.close()
        _close_locks(self.file.with_name(LOCKS_FOLDER))
        before = len(self.result.wrong)
        self.session = self._new_session()
        if len(self.result.wrong) > before:
            self._wrong(name, f"after a restart: {shown}")

    def _check_question(self, name: str, shown: "_Shown") -> None:
        if shown.question and not checks.texts(self.file)["user", "complete", shown.question]:
            self._wrong(name, "an answer begins, and its question is not on the disk")

    def _check(self, name: str, shown: "_Shown") -> None:
        """Compare what was shown with the answer of the model, and with what a new store loads."""
        fault, error = FAULTS[name], shown.error
        text = shown.start + shown.text
        self.result.acknowledged += bool(shown.text)
        if error is not None and KEY in f"{error.message} {error.hint} {error!r}":
            self._wrong(name, f"the key is in the error {error.message}")
        if isinstance(error, UsageError) and not (shown.is_refusable or name == "wrong text"):
            self._wrong(name, f"refused: {error.message}")
        if not fault.changes_text and not shown.answer.startswith(shown.text):
            self._wrong(name, f"{shown.text!r} was shown of {shown.answer!r}")
        is_whole = shown.finish is FinishReason.STOP and shown.text == shown.answer
        if fault.is_harmless and not (is_whole or shown.is_stopped or shown.is_refusable):
            self._wrong(name, f"no complete answer: {shown}")
        nodes = self._stored_nodes()
        if shown.text and not any(_holds(node, text, exactly=not shown.is_stopped) for node in nodes):
            self._wrong(name, f"{text!r} was shown and is not in {nodes[-3:]}")
        if shown.finish is not FinishReason.CANCELLED:
            expected = [_facts(node) for node in self.session.tree.nodes]
            if (
                self.session.recorder.conversation is not None
                and [_facts(node) for node in nodes] != expected
            ):
                self._wrong(name, f"the store has {nodes[-3:]}, and the session {expected[-3:]}")

    def _stored_nodes(self) -> list[Node]:
        """Return the nodes of the conversation as a new store loads them."""
        number = self.session.recorder.conversation
        if number is None:
            return []
        with closing(Store(self.file, read_only=True)) as store:
            conversation = store.conversation(number)
            assert conversation is not None  # noqa: S101 - it was saved
            return [*Tree.from_nodes(store.tree(number), conversation.leaf).nodes]

    def _command_line(self, name: str, answer: str) -> str:
        """Run hermes as a process of its own, and return its exit code as text."""
        self.session.recorder.close()
        self.fake.model.answers = [answer] * 6  # each line of a chat is answered with it
        move = CommandLine(self.home, self.file, self.kind, self.fake.url, self.model_name)
        code, output, wrong = move.run(FAULTS[name], f"question {self.number}", answer, self.chance)
        for reason in wrong:
            self._wrong(name, reason)
        self.result.acknowledged += bool(output.strip())
        self.session = self._new_session()
        return f"exit code {code}"


@dataclass(slots=True)
class _Shown:
    """What the user saw of a move. `start` is the text of an answer that is continued."""

    answer: str
    is_stopped: bool
    question: str = ""
    start: str = ""
    text: str = ""
    is_refusable: bool = False
    finish: FinishReason | None = None
    error: HermesError | None = None

    @property
    def outcome(self) -> str:
        if self.error is not None:
            return type(self.error).__name__
        return str(self.finish or "no end")


def _holds(node: Node, text: str, *, exactly: bool) -> bool:
    """Return whether a node has the text, or, of one that was stopped, its beginning."""
    if node.role is not Role.ASSISTANT or not node.text:
        return False
    return node.text == text if exactly else text.startswith(node.text) or node.text.startswith(text)


def _facts(node: Node) -> tuple[int | None, str, str]:
    return node.parent, node.text, node.state


def _restart(fake: FakeServer, before_s: float, pause_s: float) -> None:
    time.sleep(before_s)
    fake.stop()
    time.sleep(pause_s)
    fake.start_again()


def _close_locks(folder: Path) -> None:
    """Close the lock files of this process, as its end would: an interrupt can hit their opening."""
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if file.readlink().parent == folder:
                os.close(int(file.name))


def _left_over() -> tuple[int, int]:
    """Return the numbers of threads and of sockets of this process."""
    folder = Path("/proc/self/fd")
    sockets = 0
    for name in os.listdir(folder):  # noqa: PTH208 - only names, of which one is the open folder itself
        with suppress(OSError):
            sockets += str((folder / name).readlink()).startswith("socket:")
    return threading.active_count(), sockets


def _play(kind: str, moves: int, seed: int, result: Result) -> None:
    """Play over one kind of server, and check what is left over at the end."""
    before = _left_over()
    with tempfile.TemporaryDirectory() as folder:
        Play(kind, Path(folder), random.Random(seed), result).run(moves)  # noqa: S311 - moments, not secrets
    end = time.monotonic() + LEAVES_S
    while (left := _left_over()) != before and time.monotonic() < end:
        time.sleep(0.05)
    if left != before:
        result.wrong.append(f"{kind}: {left} threads and connections are left over, not {before}")


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    result = Result()
    faulthandler.dump_traceback_later(3_600, exit=True)
    with unraisable() as ignored:
        for number, kind in enumerate(FAKES):
            _play(kind, count // len(FAKES) + (number < count % len(FAKES)), SEED + number, result)
    lost = sum(isinstance(error, Interrupted) for error in ignored)
    result.wrong += [f"ignored: {error!r}" for error in ignored if not isinstance(error, Interrupted)]
    faulthandler.cancel_dump_traceback_later()
    for name, outcomes in result.outcomes.items():
        counts = ", ".join(f"{outcome} {times}" for outcome, times in outcomes.most_common())
        print(f"{name}: {outcomes.total()} ({counts})")
    for reason in result.wrong:
        print(f"WRONG: {reason}", flush=True)
    total = sum(outcomes.total() for outcomes in result.outcomes.values())
    seconds, slowest = result.slowest
    print(f"{total:,} moves, {result.acknowledged:,} answers shown, slowest {seconds:.2f} s ({slowest})")
    print(f"{len(result.wrong)} things wrong, {lost} interrupts lost in a destructor")
    return int(bool(result.wrong))


if __name__ == "__main__":
    sys.exit(main())
