"""hermes as a separate process, forked from this one to save the time of its imports.

It runs the program itself with its own streams: `main`, its signals, its exit code. Standard output and
standard error are written to one file, in order.
"""

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its exit code (negative: a signal; None: it hung), and its output."""

    code: int | None
    output: str


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


def wait(child: int, output: Path) -> Ended:
    end, code = time.monotonic() + HANGS_S, None
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


def wait_until_traced() -> None:
    """Wait until the tracer that the parent started is attached."""
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text(encoding="ascii"):
        time.sleep(0.001)


def script(file: Path, answers: Sequence[str], context_size: int = 4096) -> str:
    turns = [f"[[turns]]\ntext = {json.dumps(answer)}\n" for answer in answers]
    file.write_text(f"context_size = {context_size}\n{''.join(turns)}", encoding="utf-8")
    return f"scripted:{file}"
