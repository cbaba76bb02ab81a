"""Runs the user's editor, for text that is too long for the prompt."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hermes_cli.errors import UsageError

USUAL = ("editor", "nano", "vim", "vi", "emacs")


def wanted(environ: Mapping[str, str] = os.environ) -> str:
    """Return the editor command in $VISUAL or $EDITOR, or an empty string."""
    return environ.get("VISUAL") or environ.get("EDITOR") or ""


def open_file(path: Path, environ: Mapping[str, str], hint: str) -> None:
    """Open a file in the user's editor, and wait until the editor exits.

    Raises UsageError if there is no editor, it cannot be run, or its exit code is not 0 (with `hint`).
    """
    try:
        command = shlex.split(wanted(environ)) or [name for name in USUAL if shutil.which(name)][:1]
    except ValueError as error:
        raise UsageError(f"the editor's name {wanted(environ)!r}: {error}".lower(), "fix $EDITOR") from None
    if not command:
        raise UsageError("no editor was found", "set $EDITOR")
    try:
        code = subprocess.run([*command, str(path)], check=False).returncode
    except OSError as error:
        raise UsageError(f"{command[0]}: {(error.strerror or 'it cannot be run').lower()}") from None
    if code:
        raise UsageError(f"{command[0]} exited with {code}", hint)


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
