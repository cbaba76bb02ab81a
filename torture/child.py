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
BROKE = 70
TRACER = "TracerPid:\t"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its exit code (negative: a signal; None: it hung), and its output."""

    code: int | None
    said: str


def fork(work: Callable[[], object], stdin: bytes = b"", output: Path | None = None) -> int:
    """Start `work` in a fork with these streams and return the process id. The fork ends after `work`."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    try:
        with tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.flush()
            os.lseek(given.fileno(), 0, os.SEEK_SET)
            os.dup2(given.fileno(), 0)
        if output is not None:
            said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(said, 1)
            os.dup2(said, 2)
            os.close(said)
        work()
    except BaseException:  # noqa: BLE001 - a fork must never continue as its parent
        traceback.print_exc()
        os._exit(BROKE)
    os._exit(0)


def hermes(
    arguments: Sequence[str],
    home: Path,
    output: Path,
    stdin: bytes = b"",
    before: Callable[[], object] = lambda: None,
) -> int:
    """Start hermes with a separate home and return its process id. `before` runs first in that process."""

    def work() -> None:
        os.environ[HOME_VARIABLE] = str(home)
        sys.argv = ["hermes", *arguments]
        before()
        main()

    return fork(work, stdin, output)


def wait_until_traced() -> None:
    """Wait until the tracer that the parent started is attached."""
    end = time.monotonic() + HANGS_S
    status = Path("/proc/self/status")
    while f"{TRACER}0\n" in status.read_text(encoding="ascii"):
        if time.monotonic() > end:
            raise TimeoutError("nobody came to trace")
        time.sleep(0.001)


def wait(child: int, limit_s: float = HANGS_S) -> int | None:
    """Wait for a child and return its exit code, or None if it had to be killed."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def script(file: Path, answers: Sequence[str], context_size: int = 4096) -> str:
    """Write a script for the scripted engine and return its name for -m."""
    lines = [f"context_size = {context_size}"]
    for answer in answers:
        lines += ["[[turns]]", f"text = {json.dumps(answer)}"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"scripted:{file}"
