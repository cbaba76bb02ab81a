"""The characters of a conversation, and who of them answers next."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.personas.persona import Persona

_WORD: Final = re.compile(r"\w+")
_NO_NAMES: Final = {"the", "von", "van", "der", "and"}
"""Words of a name that do not mention it."""
_MIN_WORD: Final = 3
"""The minimum length of a word of a name that mentions it."""


@dataclass(frozen=True, slots=True)
class Member:
    """A character of a conversation.

    `opening` has the system prompt, examples and greetings of its persona, with macros expanded, and
    `prompt_settings` the other parts of the prompts for its answers. `file` is the absolute path of the
    persona, if the user gave it as a file.
    """

    persona: Persona = field(default_factory=lambda: Persona("", "", Path()))
    opening: Opening = field(default_factory=Opening)
    prompt_settings: PromptSettings = field(default_factory=PromptSettings)
    file: str = ""

    @property
    def name(self) -> str:
        """The character's name, as `{{char}}` inserts it."""
        return self.prompt_settings.macros.char

    def with_settings(self, **changes: Any) -> "Member":
        """Return the member with changed fields of its prompt settings."""
        return replace(self, prompt_settings=replace(self.prompt_settings, **changes))


def together(members: Sequence[Member]) -> list[Member]:
    """Return the members of one conversation, whose macros share the variables and know the group."""
    group = ", ".join(member.name for member in members) if len(members) > 1 else ""
    state = members[0].prompt_settings.macros.state
    return [
        member.with_settings(macros=replace(member.prompt_settings.macros, group=group, state=state))
        for member in members
    ]


def have_names(members: Sequence[Member]) -> bool:
    """Return whether the model reads the names of the speakers."""
    return members[0].prompt_settings.names.apply_to(len(members))


def named(message: Message, members: Sequence[Member], speaker: int = 0) -> Message:
    """Return a turn with the name of its speaker, if the model reads it.

    An answer without a name is that of the member at the index `speaker`.
    """
    if message.role is Role.SYSTEM or not have_names(members):
        return message
    macros = members[speaker].prompt_settings.macros
    name = macros.user if message.role is Role.USER else macros.char
    return replace(message, speaker=message.speaker or name, is_named=True)


def mentioned(text: str, names: Sequence[str]) -> list[int]:
    """Return the indices of the names that a text mentions, in the order of their first mention.

    A part of a name is enough: "Edward" mentions "Edward Elric". If several names share it, all of them are
    mentioned.
    """
    places = dict[int, int]()
    for index, name in enumerate(names):
        found = [match.start() for word in _words_of(name) if (match := _search(word, text))]
        if found:
            places[index] = min(found)
    return sorted(places, key=lambda index: (places[index], index))


def _words_of(name: str) -> list[str]:
    """Return the texts that mention a name: the name, and its words that are not too short."""
    words = [word for word in _WORD.findall(name) if len(word) >= _MIN_WORD]
    return [name, *(word for word in words if word.casefold() not in _NO_NAMES)]


def _search(word: str, text: str) -> re.Match[str] | None:
    """Find a word. A word that has no upper and lower case may be inside another word, as in Chinese."""
    pattern = re.escape(word)
    if word.upper() != word.lower():
        pattern = rf"(?<!\w){pattern}(?!\w)"
    return re.search(pattern, text, re.IGNORECASE)


def answering(text: str, names: Sequence[str], last: int | None) -> list[int]:
    """Return the indices of the members who answer a text: those whom it mentions, or else the next one.

    `last` is the index of the member who spoke last, or None.
    """
    return mentioned(text, names) or [next_after(last, len(names))]


def next_after(last: int | None, count: int) -> int:
    """Return the index of the member whose turn it is, in the order of the members."""
    return 0 if last is None else (last + 1) % count
