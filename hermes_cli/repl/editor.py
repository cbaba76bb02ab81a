"""Runs the user's editor, for text that is too long for the prompt."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hermes_cli import child_process
from hermes_cli.chat.input_text import MAX_BYTES
from hermes_cli.errors import UsageError
from hermes_cli.untrusted.source import Source, decode, read_bytes

USUAL = ("editor", "nano", "vim", "vi", "emacs")
UNCHANGED = "the line is unchanged"


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
        how = f"exited with {code}" if code > 0 else f"was ended by signal {-code}"
        raise UsageError(f"{command[0]} {how}", hint)


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


def edited(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Open the text in the user's editor, wait until the editor exits, and return the edited text.

    A newline at the end is removed, since editors add one. Raises UsageError if there is no editor, it fails,
    or the result is too large or not UTF-8 text; such a result is kept, and the hint has its path.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="hermes-"))  # only its owner can open it
    except OSError as error:
        raise UsageError(f"no temporary folder can be created: {error.strerror}", UNCHANGED) from None
    path, is_lost = folder / "message.md", False
    try:
        path.write_bytes(text.encode("utf-8", "replace"))
        open_file(path, environ, hint=UNCHANGED)
        is_lost = path.is_file() and not path.is_symlink()
        hint = f"{UNCHANGED}; your text is in {path}" if is_lost else UNCHANGED
        result = Source("the edited text", UsageError, missing_hint=UNCHANGED, hint=hint)
        edited_text = decode(read_bytes(path, MAX_BYTES, result), result).removesuffix("\n")
        is_lost = False
    except OSError as error:
        raise UsageError(f"the text cannot be written: {error.strerror}", UNCHANGED) from None
    finally:
        if not is_lost:
            shutil.rmtree(folder, ignore_errors=True)  # with the backup copies that editors leave
    return edited_text
