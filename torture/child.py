"""hermes as a separate process, forked from this one to save the time of its imports.

It runs the program itself with its own streams: `main`, its signals, its exit code. Standard output and
standard error are written to one file, in order.
"""

import json
import os
import re
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import tty
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import hermes_cli.application.chat
import hermes_cli.application.prompt
import hermes_cli.cli.ask
import hermes_cli.cli.chat
import hermes_cli.repl.loop
import hermes_cli.repl.prompt
import hermes_cli.repl.state  # noqa: F401 - imported once here instead of in each of thousands of children
from hermes_cli.__main__ import main
from hermes_cli.config import HOME_VARIABLE

HANGS_S = 60.0
FAILED = 70
MOST_MEMORY: Final = 8 << 30
CODES_OF_SIGNALS: Final = {128 + number for number in (4, 6, 7, 8, 9, 11, 15)}
"""Exit codes of a process whose child was ended by a signal."""
OWN_SEQUENCES: Final = re.compile(r"\x1b\[[\d;?]*[A-Zhlm]|\r|\x1b\]8;[^\x07\x1b]*(?:\x1b\\|\x07)")
"""Sequences for styles, the cursor and links, and carriage returns, which hermes writes to a terminal."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its exit code (negative: a signal; None: it hung), and its output.

    `seconds` is the smaller of processor and elapsed time, since other processes also use this machine;
    `memory` is the peak in bytes, of the child or the largest of its own children.
    """

    code: int | None
    output: str
    seconds: float = field(default=0.0, compare=False)
    memory: int = field(default=0, compare=False)


def fork(work: Callable[[], object], output: Path, stdin: bytes = b"") -> int:
    """Start `work` in a fork with these streams and return the process id. The fork ends after `work`."""
    output.write_bytes(b"")
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    try:
        with tempfile.TemporaryFile() as lines, output.open("ab") as file:
            lines.write(stdin)
            lines.seek(0)
            os.dup2(lines.fileno(), 0)
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        work()
    except BaseException:  # noqa: BLE001 - a fork must never continue as its parent
        traceback.print_exc()
        os._exit(FAILED)
    os._exit(0)


def start(
    words: Sequence[str],
    home: Path,
    output: Path,
    stdin: bytes = b"",
    before: Callable[[], object] = lambda: None,
) -> int:
    """Start hermes with a separate home and return its process id. `before` runs first in that process."""

    def work() -> None:
        os.environ[HOME_VARIABLE] = str(home)
        sys.argv = ["hermes", *words]
        before()
        main()

    return fork(work, output, stdin)


def run(words: Sequence[str], home: Path, output: Path, *more: Any) -> Ended:
    return wait(start(words, home, output, *more), output)


def wait(child: int, output: Path, hangs_s: float = HANGS_S) -> Ended:
    end, code = time.monotonic() + hangs_s, None
    while code is None:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
        elif time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.002)
    return Ended(code, output.read_text(encoding="utf-8", errors="replace"))


def run_at_terminal(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, stdin: bytes = b""
) -> Ended:
    """Run hermes in a new process with limits of time and memory, and with both outputs on a terminal."""
    command = [sys.executable, "-P", "-m", "hermes_cli", *words]

    def work() -> None:
        for limit, value in (
            (resource.RLIMIT_AS, MOST_MEMORY),
            (resource.RLIMIT_CPU, int(HANGS_S)),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.setrlimit(limit, (value, value))
        os.chdir(folder)
        os.execve(command[0], command, environment)  # noqa: S606 - no shell

    terminal, side = os.openpty()
    tty.setraw(side)
    os.set_blocking(terminal, False)
    output, started = bytearray(), time.monotonic()
    child, done, hung = fork(work, Path(os.ttyname(side)), stdin), 0, False
    while not done:
        hung = time.monotonic() > started + HANGS_S
        if hung:
            os.kill(child, signal.SIGKILL)
        done, status, usage = os.wait4(child, 0 if hung else os.WNOHANG)
        while select.select([terminal], [], [], 0 if done else 0.01)[0]:
            output += os.read(terminal, 1 << 16)
    os.close(side)
    os.close(terminal)
    elapsed, code = time.monotonic() - started, os.waitstatus_to_exitcode(status)
    hung = hung or code == -signal.SIGXCPU
    return Ended(
        None if hung else code,
        output.decode("utf-8", "replace"),
        min(elapsed, usage.ru_utime + usage.ru_stime),
        usage.ru_maxrss * 1024,
    )


def wait_until_traced() -> None:
    """Wait until the tracer that the parent started is attached."""
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text(encoding="ascii"):
        time.sleep(0.001)


def script(file: Path, answers: Sequence[str], context_size: int = 4096) -> str:
    turns = [f"[[turns]]\ntext = {json.dumps(answer)}\n" for answer in answers]
    file.write_text(f"context_size = {context_size}\n{''.join(turns)}", encoding="utf-8")
    return f"scripted:{file}"
