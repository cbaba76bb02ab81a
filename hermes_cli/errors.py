"""The exceptions of hermes, and the exit code of each.

HermesError                 1    something failed
├── UsageError              2    the command line or the text on standard input cannot be used
├── ServerError             1    a model server failed, or sent an answer that cannot be used
├── FormatError             1    a conversation file is invalid, or a format cannot represent a conversation
├── ContextOverflow        65    the prompt does not fit the context window
├── ModelUnavailable       69    there is no such model, its file is unusable, or the hub cannot be reached
│   ├── DownloadError      69    a download failed, or the downloaded file is damaged
│   └── ServerUnavailable  69    no model server answers at an address, or it does not have the model
├── ResourcesExhausted     75    memory or disk space ran out, or a resource is in use
│   └── ServerBusy         75    a model server has no capacity, or is loading a model
├── StoreError             75    the conversation database cannot be opened, read or written
│   └── StoreDamaged       75    the conversation database is damaged
├── KeyRefused             77    a model server refused the key, or requires one
├── ConfigError            78    a config file cannot be read, or has an invalid value
│   └── PersonaError       78    a persona file cannot be found, read or used
└── ReaderGone            141    the reader of standard output closed the pipe
Interrupted          128 + n    signal n was received: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP

Only `app.py` prints errors and turns them into exit codes.
"""

import errno
from collections.abc import Sequence
from typing import ClassVar

from hermes_cli import system_packages


class HermesError(Exception):
    """An error with a message and a hint for the user.

    `message` describes what happened. `hint` describes what to do next; it may be empty.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(HermesError):
    """The command line, or the text on standard input, cannot be used."""

    exit_code = 2


class ServerError(HermesError):
    """A model server failed, or sent an answer that cannot be used."""


class FormatError(HermesError):
    """A conversation file is invalid, or a format cannot represent a conversation.

    `line` counts from 1; 0 means that the line is unknown. `where` is the name of the file. The functions
    that read a format leave it empty, and their caller raises the error again with the name.
    """

    def __init__(self, reason: str, line: int = 0, *, where: str = "", hint: str = "") -> None:
        place = ", ".join(part for part in (where, f"line {line:,}" if line else "") if part)
        super().__init__(f"{place}: {reason}" if place else reason, hint)
        self.reason = reason
        self.line = line


class ContextOverflow(HermesError):  # noqa: N818 - the usual term
    """The prompt does not fit the context window.

    `can_retry` is true if the engine has learned from the error of a server, so that a new prompt may fit.
    """

    exit_code = 65
    can_retry = False

    def __init__(self, prompt_tokens: int, context_size: int, hint: str = "shorten it") -> None:
        limit = 2 * context_size  # a longer text is not counted completely; see Engine.count_tokens
        length = f"more than {limit:,}" if prompt_tokens > limit else f"{prompt_tokens:,}"
        super().__init__(
            f"the prompt is {length} tokens long and the context window holds {context_size:,}, "
            "which leaves no room for an answer",
            hint,
        )
        self.prompt_tokens = prompt_tokens
        self.context_size = context_size


class ModelUnavailable(HermesError):  # noqa: N818 - the name states the problem
    """There is no such model, or its file cannot be used."""

    exit_code = 69


class DownloadError(ModelUnavailable):
    """A download failed, or the downloaded file is damaged."""


class ServerUnavailable(ModelUnavailable):
    """No model server answers at an address, or it does not have the model."""


class ResourcesExhausted(HermesError):  # noqa: N818 - the name states the problem
    """Memory or disk space ran out, or another process is using a resource."""

    exit_code = 75


class ServerBusy(ResourcesExhausted):
    """A model server has no capacity at the moment, or is still loading a model."""


class StoreError(HermesError):
    """The conversation database cannot be opened, read or written."""

    exit_code = 75


class StoreDamaged(StoreError):  # noqa: N818 - the name states the problem
    """The conversation database is damaged."""


class KeyRefused(HermesError):  # noqa: N818 - the name states the problem
    """A model server refused the key, or requires one."""

    exit_code = 77


class ConfigError(HermesError):
    """A config file cannot be read, or has an invalid value."""

    exit_code = 78


class PersonaError(ConfigError):
    """A persona file cannot be found, read, or used."""


class Interrupted(BaseException):
    """A signal was received. A BaseException is not caught by `except Exception` in a library."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"signal {signal_number}")
        self.exit_code = 128 + signal_number


class ReaderGone(HermesError):  # noqa: N818 - the name states the problem
    """The reader of standard output closed the pipe, as `head` does after its last line."""

    exit_code = 141

    def __init__(self) -> None:
        super().__init__("the reader of standard output closed the pipe")


def missing_libraries(names: Sequence[str]) -> ModelUnavailable:
    """Return the error for shared libraries that the system lacks."""
    return ModelUnavailable(
        f"this system lacks {' and '.join(names)}, which the model's engine needs",
        system_packages.advice_here(names),
    )


def is_disk_full(error: OSError) -> bool:
    """Return whether a write failed because the disk or the user's quota is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def first_line(error: BaseException) -> str:
    """Return the first line of an error message, or the error's type if the message is empty."""
    return str(error).strip().split("\n")[0][:300] or type(error).__name__


def access_hint(error: OSError, otherwise: str = "") -> str:
    """Return the hint for a file that cannot be read or written."""
    return (
        "check its permissions and those of its folders" if isinstance(error, PermissionError) else otherwise
    )


def as_hermes_error(error: Exception) -> HermesError:
    """Convert an error to a HermesError; a HermesError is returned unchanged."""
    if isinstance(error, HermesError):
        return error
    if isinstance(error, MemoryError):
        return ResourcesExhausted("out of memory", "use a smaller model or a smaller --context")
    if isinstance(error, ImportError) and (library := system_packages.library_named_in(error)):
        return missing_libraries([library])
    if isinstance(error, OSError):
        kind = ResourcesExhausted if is_disk_full(error) else HermesError
        reason = error.strerror or str(error)
        hint = access_hint(error, "free some space" if is_disk_full(error) else "")
        return kind(f"{error.filename}: {reason}" if error.filename else reason, hint)
    return HermesError(
        f"{type(error).__name__}: {error}", "this is a bug in hermes; --debug shows the traceback"
    )
