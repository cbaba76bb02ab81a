"""The parts of a prompt other than the opening and the turns: notes, lorebooks, summaries."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from hermes_cli.chat.regex_scripts import RegexScripts
from hermes_cli.lore_settings import LoreSettings
from hermes_cli.messages import Message
from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.persona import DEFAULT_USER, Note


class Overflow(StrEnum):
    """The action if a conversation no longer fits in the context window."""

    DROP = "drop"  # leave out the examples, then the oldest turns
    ERROR = "error"  # raise ContextOverflow
    SUMMARISE = "summarise"  # like DROP, but the model summarizes the turns that are left out


class Names(StrEnum):
    """Whether the model reads the name of the speaker before each turn."""

    ALWAYS = "always"
    NEVER = "never"
    GROUPS = "groups"  # only in a conversation with several characters

    def apply_to(self, members: int) -> bool:
        """Return whether turns have names in a conversation with this number of characters."""
        return self is Names.ALWAYS or (self is Names.GROUPS and members > 1)


class Summary(NamedTuple):
    """The model's summary of the oldest turns, which replaces them in the prompt.

    `through` is the store's id of the last of these turns, or 0 if it is not stored.
    """

    turns: tuple[Message, ...]
    text: str
    through: int = 0

    @property
    def covers(self) -> int:
        """The number of turns that the summary replaces."""
        return len(self.turns)


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """The parts of a prompt other than the opening and the turns.

    `character_note` is the persona's note and `note` the user's; both are inserted a few turns before the
    end. `post_history` is inserted at the end. If `stops_at_user` is true, an answer ends before a line that
    begins with the user's name and a colon. `lore` holds the defaults of the lorebooks, and `lore_off` the
    titles or labels of the entries that the user has switched off. If `fills_turns` is true, the macros in
    the user's turns and note are expanded. `scripts` change the turns as they are added, displayed and sent.
    """

    macros: Macros = field(default_factory=lambda: Macros("", DEFAULT_USER))
    books: tuple[Lorebook, ...] = ()
    post_history: str = ""
    character_note: Note | None = None
    note: Note | None = None
    stops_at_user: bool = False
    overflow: Overflow = Overflow.ERROR
    lore: LoreSettings = field(default_factory=LoreSettings)
    lore_off: frozenset[str] = frozenset()
    fills_turns: bool = False
    names: Names = Names.GROUPS
    scripts: RegexScripts = field(default_factory=RegexScripts)

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings of an answer, in addition to those of the options."""
        return (f"\n{self.macros.user}:",) if self.stops_at_user else ()

    @property
    def notes(self) -> tuple[Note, ...]:
        """The notes that are set: the persona's, then the user's."""
        return tuple(note for note in (self.character_note, self.note) if note is not None)
