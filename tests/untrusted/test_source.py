"""Reading files of limited size, and decoding them."""

import contextlib
import os
import threading
from pathlib import Path

import pytest

from hermes_cli.errors import ConfigError, UsageError
from hermes_cli.untrusted.source import Source, check_text, read_bytes, read_text

SOURCE = Source("some.file", ConfigError, missing_hint="look elsewhere")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"x" * 11, "some.file is larger than 0 KiB"),
        (b"a\n\xff", "some.file is not UTF-8: byte 2 is 0xff, line 2"),
        (b"\xef\xbb\xbf\xff", "some.file is not UTF-8: byte 3 is 0xff"),
        (b"ab\0", "some.file contains a NUL character at position 2"),
    ],
)
def test_a_file_that_is_too_large_or_not_text_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    """A file that is too large or not text is refused with the position."""
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_text(tmp_path / "file", 10, SOURCE)
    assert caught.value.message == reason
    assert caught.value.hint


def test_a_text_keeps_its_byte_order_mark(tmp_path: Path) -> None:
    """A text of exactly the limit is returned unchanged."""
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfa\r\nbcde")
    assert read_text(tmp_path / "file", 10, SOURCE) == "\ufeffa\r\nbcde"


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    """A missing file has the caller's hint; a folder is refused, and an invalid path."""
    for path in (tmp_path / "none", Path("a\0b")):
        with pytest.raises(ConfigError) as caught:
            read_bytes(path, 10, SOURCE)
        assert caught.value.hint == "look elsewhere"
    with pytest.raises(ConfigError, match="is a folder"):
        read_bytes(tmp_path, 10, SOURCE)


def test_a_pipe_is_refused_unless_it_is_an_open_stream(tmp_path: Path) -> None:
    """A named pipe is refused without waiting for a writer. The pipe of a shell's `<(command)` is read."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for allow_pipe in (False, True):
        with pytest.raises(ConfigError, match="is not a regular file"):
            read_bytes(pipe, 10, SOURCE, allow_pipe=allow_pipe)
    reader, writer = os.pipe()
    try:
        os.write(writer, b"text")
        os.close(writer)
        stream = Path(f"/dev/fd/{reader}")
        with pytest.raises(ConfigError, match="is not a regular file"):
            read_bytes(stream, 10, SOURCE)
        assert read_bytes(stream, 10, SOURCE, allow_pipe=True) == b"text"
    finally:
        os.close(reader)


@pytest.mark.skipif(not os.access("/proc/kmsg", os.R_OK), reason="only root can read /proc/kmsg")
def test_a_file_that_would_wait_is_not_waited_for() -> None:
    """Reading a file of the kernel that has no data ends at once."""
    ended = []

    def read() -> None:
        with contextlib.suppress(ConfigError):
            read_bytes(Path("/proc/kmsg"), 1 << 20, SOURCE)
        ended.append(True)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(10)
    assert ended


def test_the_source_chooses_the_error_type_and_the_hint() -> None:
    """The caller chooses the type of the error, and may choose its hint."""
    with pytest.raises(UsageError) as caught:
        check_text("\udcff", Source("the prompt", UsageError, hint="type it again"))
    assert (caught.value.message, caught.value.hint) == ("the prompt is not UTF-8", "type it again")


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        ("é".encode("latin1"), "iconv -f latin1"),
        ("é".encode("utf-16"), "iconv -f utf-16"),
        (b"\x89PNG\0\xff", "it is damaged, or not text"),
    ],
)
def test_the_advice_for_other_encodings_fits_the_data(tmp_path: Path, data: bytes, hint: str) -> None:
    """Converting binary data would give text without a meaning."""
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_text(tmp_path / "file", 10, SOURCE)
    assert hint in caught.value.hint
