"""Starts the child processes of hermes.

No program and no Python module is taken from the current working directory, which may hold files from
strangers. Other modules do not import `subprocess` (rule TID251 in pyproject.toml).
"""

import contextlib
import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from errno import ENOENT
from pathlib import Path
from typing import IO, Any, Final, cast

from hermes_cli.search_paths import absolute_entries, without_current_folder

CompletedProcess = subprocess.CompletedProcess
Popen = subprocess.Popen
SubprocessError = subprocess.SubprocessError
TimeoutExpired = subprocess.TimeoutExpired
DEVNULL: Final = subprocess.DEVNULL
PIPE: Final = subprocess.PIPE
STDOUT: Final = subprocess.STDOUT

NEUTRAL_FOLDER: Final = Path(os.path.abspath(os.sep))  # noqa: PTH100 - `resolve` needs a working directory
"""The working directory of child processes that need none."""

KILL_S: Final = 2.0
MAX_OUTPUT: Final = 1 << 20
"""Bytes of each output stream that `capture` accepts."""
_CHUNK: Final = 1 << 16


class OutputTooLong(SubprocessError):  # noqa: N818 - the name states the problem
    """A program printed more than `capture` accepts."""


def find_program(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the path of a program in $PATH, or None. Entries of $PATH that are not absolute are ignored.

    An absolute path is returned unchanged. Other paths are not accepted.
    """
    if Path(name).is_absolute():
        return name
    if not name or os.sep in name:
        return None
    folders = absolute_entries(environ.get("PATH", os.defpath))
    return shutil.which(name, path=folders) if folders else None


def python_command(*arguments: str) -> list[str]:
    """Return a command that runs this Python without the current working directory in `sys.path`."""
    return [sys.executable, "-P", *arguments]


def start(
    command: Sequence[str],
    *,
    stack_bytes: int = 0,
    folder: Path | None = NEUTRAL_FOLDER,
    environ: Mapping[str, str] | None = None,
    **settings: Any,
) -> "Popen[bytes]":
    """Start a program in the working directory `folder`; None is the current one.

    `stack_bytes` is the size of its threads' stacks, if the system permits so much; 0 is the default size.
    The variables $PATH and $PYTHONPATH of the program have only absolute entries.

    Raises FileNotFoundError if the program is not found, and OSError if it cannot be started.
    """
    environ = os.environ if environ is None else environ
    program = find_program(command[0], environ)
    if program is None:
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), command[0])
    variables = without_current_folder(dict(environ))
    with _stack_limit(stack_bytes):
        return subprocess.Popen([program, *command[1:]], cwd=folder, env=variables, **settings)


@contextlib.contextmanager
def _stack_limit(size: int) -> Iterator[None]:
    """Set the stack size of child processes. The C library reads the limit when a program starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if not size:
        yield
        return
    limit = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


def run(
    command: Sequence[str], *, timeout_s: float | None = None, **settings: Any
) -> "CompletedProcess[bytes]":
    """Run a program to its end; see `start`. After `timeout_s` it is killed, and TimeoutExpired is raised.

    For a program whose output is read, use `capture`, which limits the output.
    """
    child = start(command, **settings)
    try:
        stdout, stderr = child.communicate(timeout=timeout_s)
    except BaseException:  # including Ctrl-C
        kill(child)
        raise
    return CompletedProcess(command, child.returncode, stdout, stderr)


def capture(
    command: Sequence[str], *, timeout_s: float, limit: int = MAX_OUTPUT, **settings: Any
) -> "CompletedProcess[bytes]":
    """Run a program that reads nothing, and return what it prints; see `start`.

    The program and its own child processes are killed after `timeout_s`, and TimeoutExpired is raised. They
    are also killed if the program prints more than `limit` bytes, and OutputTooLong is raised.
    """
    deadline = time.monotonic() + timeout_s
    child = start(command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, bufsize=0, process_group=0, **settings)
    try:
        stdout, stderr = _read_outputs(child, deadline, limit)
        child.wait(max(0.0, deadline - time.monotonic()))
    except BaseException as error:  # including Ctrl-C
        if child.returncode is None:
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)
        kill(child)
        if isinstance(error, TimeoutExpired):
            raise TimeoutExpired(command, timeout_s) from None
        raise
    finally:
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()
    return CompletedProcess(command, child.returncode, stdout, stderr)


def _read_outputs(child: "Popen[bytes]", deadline: float, limit: int) -> tuple[bytes, bytes]:
    """Return both outputs of a child process. Raises TimeoutExpired and OutputTooLong."""
    outputs = (bytearray(), bytearray())
    with selectors.DefaultSelector() as selector:
        for stream, output in zip((child.stdout, child.stderr), outputs, strict=True):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, output)
        while selector.get_map():
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise TimeoutExpired(child.args, 0.0)
            for key, _ in selector.select(remaining_s):
                file = cast("IO[bytes]", key.fileobj)
                chunk = file.read(_CHUNK)
                if not chunk:
                    selector.unregister(file)
                key.data.extend(chunk)
                if len(key.data) > limit:
                    raise OutputTooLong(f"more than {limit:,} bytes")
    return bytes(outputs[0]), bytes(outputs[1])


def kill(child: "Popen[bytes]") -> None:
    """Kill a child process and wait for its end, but no longer than KILL_S: a driver can make it hang."""
    child.kill()
    with contextlib.suppress(TimeoutExpired):
        child.wait(KILL_S)
