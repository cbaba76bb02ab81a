"""Frame: what stands around the turns of a conversation besides its opening. Frozen values.

It knows notes, lorebooks and what to do where the context is full. It refuses to know tokens, which
`context.py` counts.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from hermes_cli.messages import Message
from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.persona import DEFAULT_USER, Note


class Overflow(StrEnum):
    """What happens where a conversation no longer fits the context window."""

    DROP = "drop"  # examples and then the oldest turns are left out
    ERROR = "error"  # nothing is answered
    SUMMARISE = "summarise"  # the oldest turns are left out, and the model condenses them


@dataclass(frozen=True, slots=True)
class Summary:
    """What the model made of the oldest turns, and stands for them.

    `through` is the id of the last of them where it is kept, 0 where it is not.
    """

    turns: tuple[Message, ...]
    text: str
    through: int = 0

    @property
    def covers(self) -> int:
        """How many turns it stands for."""
        return len(self.turns)


@dataclass(frozen=True, slots=True)
class Frame:
    """What goes to the model beside the opening and the turns.

    `character_note` and `note` stand a few turns from the end, the persona's and the person's; `post_history`
    stands at the end. With `stops_at_user` an answer ends where it begins to speak for the person.
    """

    macros: Macros = field(default_factory=lambda: Macros("", DEFAULT_USER))
    books: tuple[Lorebook, ...] = ()
    post_history: str = ""
    character_note: Note | None = None
    note: Note | None = None
    stops_at_user: bool = False
    overflow: Overflow = Overflow.ERROR

    @property
    def stops(self) -> tuple[str, ...]:
        """What ends an answer, beside what the options say."""
        return (f"\n{self.macros.user}:",) if self.stops_at_user else ()

    @property
    def notes(self) -> tuple[Note, ...]:
        """Both notes, as far as there are any."""
        return tuple(note for note in (self.character_note, self.note) if note is not None)
