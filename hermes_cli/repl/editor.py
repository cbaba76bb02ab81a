"""The person's own editor, for a text that is too long for a line."""

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
    """Return the command that the person has set, or nothing."""
    return environ.get("VISUAL") or environ.get("EDITOR") or ""


def open_file(path: Path, environ: Mapping[str, str], hint: str) -> None:
    """Open a file in the person's editor, and wait until it is closed.

    Raises UsageError where there is no editor, or, with `hint`, where it fails.
    """
    try:
        command = shlex.split(wanted(environ)) or [name for name in USUAL if shutil.which(name)][:1]
    except ValueError as error:
        raise UsageError(f"the editor's name {wanted(environ)!r}: {error}".lower(), "fix $EDITOR") from None
    if not command:
        raise UsageError("there is no editor here", "set EDITOR to the one you want")
    try:
        code = subprocess.run([*command, str(path)], check=False).returncode
    except OSError as error:
        raise UsageError(f"{command[0]}: {(error.strerror or 'it cannot be run').lower()}") from None
    if code:
        raise UsageError(f"{command[0]} ended with {code}", hint)


def edited(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return what became of a text in the editor; it is open for as long as this runs.

    The one newline with which editors end a file is dropped. Raises UsageError where there is no editor, it
    fails, or leaves something that is no text.
    """
    descriptor, name = tempfile.mkstemp(prefix="hermes-", suffix=".md")  # readable by its owner alone
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "replace"))
        open_file(path, environ, hint="the line is as it was")
        return path.read_bytes().decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise UsageError("what the editor left is not UTF-8 text", "the line is as it was") from None
    except OSError as error:
        raise UsageError(f"what the editor left cannot be read: {error.strerror}") from None
    finally:
        path.unlink(missing_ok=True)
