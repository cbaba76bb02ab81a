"""Tests of the errors that hermes makes of exceptions of the system and of libraries."""

import errno

import pytest

from hermes_cli.errors import HermesError, UsageError, translated


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 75), (errno.EDQUOT, 75), (errno.EIO, 1)])
def test_a_full_disk_and_an_exceeded_quota_exit_75(number: int, code: int) -> None:
    """Another I/O error exits with 1."""
    error = translated(OSError(number, "cannot write"))
    assert (type(error).exit_code, "cannot write" in error.message) == (code, True)


def test_out_of_memory_has_a_message_and_a_hint() -> None:
    """Python's MemoryError has no message."""
    error = translated(MemoryError())
    assert (error.exit_code, error.message, bool(error.hint)) == (75, "out of memory", True)


def test_an_error_of_hermes_is_returned_unchanged() -> None:
    """Another exception becomes a HermesError with its type and message."""
    error = UsageError("no such flag")
    assert translated(error) is error
    assert isinstance(translated(ValueError("x")), HermesError)
    assert translated(ValueError("x")).message == "ValueError: x"
