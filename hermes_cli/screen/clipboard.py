"""The terminal's clipboard, by the control sequence OSC 52: it works over ssh, where the terminal allows it.

Nothing answers, so that whether it was allowed is not known: what is known of a terminal is said.
"""

import base64

from hermes_cli.errors import UsageError
from hermes_cli.screen.sanitize import sanitize
from hermes_cli.screen.terminal import Terminal

MANY_BYTES = 74_000
"""What becomes of more than this in base64 is longer than several terminals take."""


def copy_to_clipboard(terminal: Terminal, text: str) -> str:
    """Copy a text, sanitised, and return what may stand in its way.

    Raises UsageError where there is no terminal that could.
    """
    if not (terminal.stdout_is_tty and terminal.obeys):
        raise UsageError("there is no terminal with a clipboard here", "/export writes a file")
    data = sanitize(text).encode("utf-8", "replace")
    terminal.put(f"\x1b]52;c;{base64.b64encode(data).decode()}\x07")
    if len(data) > MANY_BYTES:
        return "It is longer than many terminals take."
    return terminal.clipboard or "Where it cannot be pasted, the terminal does not allow it."
