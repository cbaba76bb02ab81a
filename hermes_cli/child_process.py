"""Starts the child processes of hermes.

No program and no Python module is taken from the current working directory, which may hold files from
strangers. Other modules do not import `subprocess` (rule TID251 in pyproject.toml).
"""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

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


def find_program(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the path of a program in $PATH, or None. Folders of $PATH that are not absolute are ignored.

    An absolute path is returned unchanged if the program exists; other paths are not accepted.
    """
    if Path(name).is_absolute():
        return shutil.which(name)
    if os.sep in name:
        return None
    entries = environ.get("PATH", os.defpath).split(os.pathsep)
    folders = [entry for entry in entries if Path(entry).is_absolute()]
    return shutil.which(name, path=os.pathsep.join(folders)) if folders else None


def python_command(*arguments: str) -> list[str]:
    """Return a command that runs this Python. It ignores $PYTHONPATH and the current working directory."""
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

    Raises FileNotFoundError if the program is not found, and OSError if it cannot be started.
    """
    environ = os.environ if environ is None else environ
    program = find_program(command[0], environ)
    if program is None:
        raise FileNotFoundError(2, "no such program", command[0])
    variables = {name: value for name, value in environ.items() if name != "PYTHONPATH"}
    with _stack_limit(stack_bytes):
        return subprocess.Popen([program, *command[1:]], cwd=folder, env=variables, **settings)


@contextlib.contextmanager
def _stack_limit(size: int) -> Iterator[None]:
    """Set the stack size of child processes. The C library reads the limit when a program starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if not size:
        yield
        return
    resource.setrlimit(
        resource.RLIMIT_STACK, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


def run(
    command: Sequence[str], *, timeout_s: float | None = None, **settings: Any
) -> "CompletedProcess[bytes]":
    """Run a program to its end; see `start`. After `timeout_s` it is killed, and TimeoutExpired is raised."""
    child = start(command, **settings)
    try:
        stdout, stderr = child.communicate(timeout=timeout_s)
    except BaseException:  # including Ctrl-C
        kill(child)
        raise
    return CompletedProcess(command, child.returncode, stdout, stderr)


def kill(child: "Popen[bytes]") -> None:
    """Kill a child process and wait for its end, but no longer than KILL_S: a driver can make it hang."""
    child.kill()
    with contextlib.suppress(TimeoutExpired):
        child.wait(KILL_S)
