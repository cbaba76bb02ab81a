"""Tests of the errors that hermes makes of exceptions of the system and of libraries."""

import errno

import pytest

from hermes_cli.errors import HermesError, UsageError, as_hermes_error


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 75), (errno.EDQUOT, 75), (errno.EIO, 1)])
def test_a_full_disk_and_an_exceeded_quota_exit_75(number: int, code: int) -> None:
    """Another I/O error exits with 1."""
    error = as_hermes_error(OSError(number, "cannot write"))
    assert (type(error).exit_code, "cannot write" in error.message) == (code, True)
    assert error.hint == ("free some space" if code == 75 else "")


def test_out_of_memory_has_a_message_and_a_hint() -> None:
    """Python's MemoryError has no message."""
    error = as_hermes_error(MemoryError())
    assert (error.exit_code, error.message, bool(error.hint)) == (75, "out of memory", True)


def test_an_error_of_hermes_is_returned_unchanged() -> None:
    """Another exception becomes a HermesError with its type and message."""
    error = UsageError("no such flag")
    assert as_hermes_error(error) is error
    assert isinstance(as_hermes_error(ValueError("x")), HermesError)
    assert as_hermes_error(ValueError("x")).message == "ValueError: x"


def test_an_error_of_the_system_names_its_file() -> None:
    """The message has no error number; the hint for a missing permission is to check it."""
    error = as_hermes_error(PermissionError(errno.EACCES, "Permission denied", "/x/y"))
    assert error.message == "/x/y: Permission denied"
    assert "permissions" in error.hint
    assert as_hermes_error(OSError(errno.EROFS, "Read-only file system", "/x")).hint == ""
    assert as_hermes_error(OSError("broken")).message == "broken"
