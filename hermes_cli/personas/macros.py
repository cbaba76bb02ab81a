"""The macros of persona texts: `{{char}}` and `{{user}}`, also spelt `<BOT>` and `<USER>`.

It knows two names and one pass over a text. It refuses to evaluate anything: a name that itself spells a
macro stands in the result as it is.
"""

import re
from typing import Final

_MACRO: Final = re.compile(r"\{\{(char|user)\}\}|<(bot|user)>", re.IGNORECASE)


def fill(text: str, char: str, user: str) -> str:
    """Return `text` with every macro replaced by the name it stands for, upper or lower case."""
    names = {"char": char, "bot": char, "user": user}
    return _MACRO.sub(lambda m: names[(m[1] or m[2]).lower()], text)
