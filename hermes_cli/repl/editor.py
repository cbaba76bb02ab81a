"""Runs the user's editor, for text that is too long for the prompt."""

import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hermes_cli import child_process
from hermes_cli.errors import UsageError

USUAL = ("editor", "nano", "vim", "vi", "emacs")


def wanted(environ: Mapping[str, str] = os.environ) -> str:
    """Return the editor command in $VISUAL or $EDITOR, or an empty string."""
    return environ.get("VISUAL") or environ.get("EDITOR") or ""


def open_file(path: Path, environ: Mapping[str, str], hint: str) -> None:
    """Open a file in the user's editor, and wait until the editor exits.

    The editor keeps the current working directory, but is never taken from it. Raises UsageError if there is
    no editor, it cannot be run, or its exit code is not 0 (with `hint`).
    """
    command = _command(environ)
    try:
        code = child_process.run([*command, str(path)], folder=None, environ=environ).returncode
    except (OSError, ValueError) as error:  # ValueError: its name contains NUL
        reason = (getattr(error, "strerror", None) or "it cannot be run").lower()
        raise UsageError(f"{command[0]}: {reason}", "fix $EDITOR") from None
    if code:
        raise UsageError(f"{command[0]} exited with {code}", hint)


def _command(environ: Mapping[str, str]) -> list[str]:
    """Return the editor's program and arguments. Raises UsageError if there is none, or it is invalid."""
    try:
        command = shlex.split(wanted(environ))
    except ValueError as error:
        raise UsageError(f"the editor's name {wanted(environ)!r}: {error}".lower(), "fix $EDITOR") from None
    if not command:
        command = [name for name in USUAL if child_process.find_program(name, environ)][:1]
    if not command:
        raise UsageError("no editor was found", "set $EDITOR")
    if os.path.dirname(command[0]) and not os.path.isabs(command[0]):  # noqa: PTH117, PTH120 - not resolved
        raise UsageError(
            f"the editor {command[0]} is a path below the current folder, which hermes does not run",
            "set $EDITOR to the name of a program in $PATH, or to a path that begins with /",
        )
    return command


def edited(text: str) -> str:
    """Open the text in the user's editor, wait until the editor exits, and return the edited text.

    A newline at the end is removed, since editors add one. Raises UsageError if there is no editor, it fails,
    or the result is not UTF-8 text.
    """
    descriptor, name = tempfile.mkstemp(prefix="hermes-", suffix=".md")  # readable only by its owner
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "replace"))
        open_file(path, os.environ, hint="the line is unchanged")
        return path.read_bytes().decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise UsageError("the edited text is not UTF-8", "the line is unchanged") from None
    except OSError as error:
        raise UsageError(f"the edited text cannot be read: {error.strerror}") from None
    finally:
        path.unlink(missing_ok=True)
