"""Immutable regex scripts: a search and replacement in the turns of a conversation.

The fields are those of SillyTavern's regex scripts. `chat/regex_scripts.py` runs them.
"""

import re
from enum import StrEnum
from typing import Final, NamedTuple

MAX_SCRIPTS: Final = 100
"""Maximum scripts of a persona."""
MAX_DEPTH: Final = 10**9
MAX_TRIMMED: Final = 100
"""Maximum strings that a script removes from a match."""
MATCH: Final = re.compile(r"\{\{match\}\}", re.IGNORECASE)
"""The macro for the whole match in a replacement."""


class Target(StrEnum):
    """The text that a script changes. hermes has no text for COMMAND and REASONING; they are only kept."""

    USER = "user"
    ANSWER = "answer"
    COMMAND = "command"
    LORE = "lore"
    REASONING = "reasoning"


class FindMacros(StrEnum):
    """Whether the macros in an expression are expanded, and whether their values are plain text in it."""

    UNCHANGED = "unchanged"
    FILLED = "filled"
    ESCAPED = "escaped"


class RegexScript(NamedTuple):
    """A regex script. `find` is an expression such as `/dra+gon/gi`, or one without slashes and flags.

    `replace` can contain `$1`, `$<name>`, `{{match}}` and macros. The strings in `trim` are removed from what
    these references insert.

    With `display`, the script changes only what is displayed; with `prompt`, only what is sent; with both,
    these two. With neither, it changes a message when it is added. If `on_edit` is true, it also changes a
    message that the user edits. `min_depth` and `max_depth` limit it to messages with that many messages
    after them; they do not apply to a message that is added.
    """

    find: str
    replace: str = ""
    name: str = ""
    enabled: bool = True
    targets: tuple[Target, ...] = (Target.ANSWER,)
    display: bool = False
    prompt: bool = False
    on_edit: bool = False
    trim: tuple[str, ...] = ()
    find_macros: FindMacros = FindMacros.UNCHANGED
    min_depth: int | None = None
    max_depth: int | None = None

    @property
    def title(self) -> str:
        """The title to display, on one line: the script's name, or else its expression."""
        return " ".join(self.name.split()) or " ".join(self.find.split())
