"""Keeps what the user typed while an answer was generated, as text to edit instead of lines to send."""

from prompt_toolkit.input import Input
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

NEW_LINE = KeyPress(Keys.ControlJ, "\n")


def keep_typed_keys(source: Input, *, separate: bool) -> None:
    """Put the keys that were typed so far into the next prompt. Enter begins a new line instead of sending.

    With `separate`, the prompt already has text, and the keys begin a new line.
    """
    keys = get_typeahead(source)
    while new := source.read_keys():
        keys += new
    keys = [NEW_LINE if key.key == Keys.ControlM else key for key in (*keys, *source.flush_keys())]
    while keys and keys[-1] == NEW_LINE:
        keys.pop()
    store_typeahead(source, [NEW_LINE, *keys] if keys and separate else keys)
