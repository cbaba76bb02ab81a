"""What errors of the system and of libraries mean to a user."""

import errno

import pytest

from hermes_cli.errors import HermesError, UsageError, as_hermes_error


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 75), (errno.EDQUOT, 75), (errno.EIO, 1)])
def test_a_full_disk_and_a_used_up_quota_have_their_own_exit_code(number: int, code: int) -> None:
    """A script can tell a lack of space from a failure."""
    error = as_hermes_error(OSError(number, "cannot write"))
    assert (type(error).exit_code, "cannot write" in error.message) == (code, True)


def test_out_of_memory_has_a_next_step() -> None:
    """Python's own message is empty."""
    error = as_hermes_error(MemoryError())
    assert (error.exit_code, error.message, bool(error.hint)) == (75, "out of memory", True)


def test_an_error_of_hermes_stays_as_it_is() -> None:
    """Message and exit code are its own."""
    error = UsageError("no such flag")
    assert as_hermes_error(error) is error
    assert isinstance(as_hermes_error(ValueError("x")), HermesError)
    assert as_hermes_error(ValueError("x")).message == "ValueError: x"
