"""Immutable records of the store: conversations, their settings, and search results."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from hermes_cli.messages import Message, Role

MAX_VARIABLES: Final = 200
"""The maximum number of variables of `{{setvar}}` in a conversation."""
MAX_SAVED_VARIABLES: Final = 100_000
"""The maximum number of characters in the saved variables of a conversation, with their names."""
LAST_TIME: Final = 253_370_764_800.0
"""The start of the year 9999, in seconds since 1970. Later times cannot be formatted."""


class SavedMember(NamedTuple):
    """A further character of a conversation: its persona's key, its name, and its opening.

    `examples` are pairs of a role and a text. `character_at` is that of the opening. `persona_file` is the
    absolute path of the persona, if the user gave it as a file.
    """

    persona: str
    name: str
    system: str | None = None
    examples: tuple[tuple[str, str], ...] = ()
    character_at: int = 0
    persona_file: str = ""


class SavedSettings(NamedTuple):
    """The settings of a conversation: the user's name, the random seed, the note, the summaries, and more.

    `note_depth` counts turns from the end. A summary consists of a message id and the text that replaces the
    path up to and including that message. `lore_off` has the titles or labels of the lore entries that are
    off. `character_at` is that of the opening. `about_user` is the user's description. `variables` are those
    of `{{setvar}}`. `persona_file` is the absolute path of the persona, if the user gave it as a file. If
    several characters answer, `character` is the name of the first, whose persona and opening are those of
    the conversation, and `others` are the further ones. `server` is the argument of -m for the model that
    gave the newest answer, if it is on a server.
    """

    user: str = ""
    seed: int | None = None
    note: str = ""
    note_depth: int = 0
    summaries: tuple[tuple[int, str], ...] = ()
    lore_off: tuple[str, ...] = ()
    character_at: int = 0
    about_user: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    persona_file: str = ""
    character: str = ""
    others: tuple[SavedMember, ...] = ()
    server: str = ""

    def renumbered(self, ids: Mapping[int, int]) -> "SavedSettings":
        """Return the settings with new message ids. Summaries whose message is not in `ids` are left out."""
        known = tuple((ids[number], text) for number, text in self.summaries if number in ids)
        return self._replace(summaries=known)


def bounded_variables(variables: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the first variables that are within the limits of a conversation. Longer ones are left out."""
    kept, size = list[tuple[str, str]](), 0
    for name, value in variables:
        if size + len(name) + len(value) <= MAX_SAVED_VARIABLES:
            kept.append((name, value))
            size += len(name) + len(value)
        if len(kept) == MAX_VARIABLES:
            break
    return tuple(kept)


class StoredConversation(NamedTuple):
    """A conversation. `leaf` is the id of its last visible message; `opening` precedes its tree in prompts.

    `message_count` is the number of visible messages, and `model` is the model of the newest answer.
    `created` and `updated` are in seconds since 1970.
    """

    id: int
    title: str
    is_named: bool
    persona: str
    opening: tuple[Message, ...]
    created: float
    updated: float
    leaf: int | None
    message_count: int = 0
    model: str = ""
    setting: SavedSettings = SavedSettings()

    @property
    def persona_keys(self) -> list[str]:
        """The keys of the personas of all its characters."""
        return [self.persona, *(other.persona for other in self.setting.others)]

    @property
    def persona_files(self) -> list[str]:
        """The files of the personas of all its characters, with "" for those in the list of personas."""
        return [self.setting.persona_file, *(other.persona_file for other in self.setting.others)]

    @property
    def names(self) -> list[str]:
        """The names of all its characters. That of the first defaults to the key of its persona."""
        first = self.setting.character or self.persona
        return [first, *(other.name for other in self.setting.others)]


class SearchHit(NamedTuple):
    """A message found by a search, with an excerpt around the match.

    `model` is the model that generated it; `created` is in seconds since 1970.
    """

    conversation: int
    title: str
    message: int
    role: Role
    excerpt: str
    created: float
    model: str
