"""The terminal's clipboard, set with the control sequence OSC 52, which also works over ssh.

The terminal must allow it and sends no reply. So success is unknown, and known limits of the terminal are
reported instead.
"""

import base64

from hermes_cli.errors import UsageError
from hermes_cli.screen.sanitize import sanitize
from hermes_cli.screen.terminal import Terminal

MANY_BYTES = 74_000
"""Above this size, the text in base64 is longer than several terminals accept."""


def copy_to_clipboard(terminal: Terminal, text: str) -> str:
    """Copy a text, sanitized, and return a remark about what may prevent it.

    Raises UsageError if standard output is not a terminal with control sequences.
    """
    if not (terminal.stdout_is_tty and terminal.obeys):
        raise UsageError("there is no terminal with a clipboard", "/export writes a file")
    data = sanitize(text).encode("utf-8", "replace")
    terminal.put(f"\x1b]52;c;{base64.b64encode(data).decode()}\x07")
    if len(data) > MANY_BYTES:
        return "Many terminals do not accept a text of this length."
    return terminal.clipboard or "If it cannot be pasted, the terminal does not allow it."
