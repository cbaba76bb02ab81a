"""The parts of a prompt around the turns, besides the opening: notes, lorebooks, summaries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from hermes_cli.messages import Message
from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.persona import DEFAULT_USER, Note
from hermes_cli.store.records import SavedSettings


class Overflow(StrEnum):
    """What happens if a conversation no longer fits the context window."""

    DROP = "drop"  # leave out the examples, then the oldest turns
    ERROR = "error"  # raise ContextOverflow
    SUMMARISE = "summarise"  # as DROP, and the model summarizes the turns that are left out


@dataclass(frozen=True, slots=True)
class Summary:
    """The model's summary of the oldest turns, which replaces them in the prompt.

    `through` is the id of the last of these turns in the store, or 0 if it is not stored.
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
    """The parts of a prompt besides the opening and the turns.

    `character_note` is the persona's note and `note` the user's; both are inserted a few turns before the
    end. `post_history` is inserted at the end. With `stops_at_user`, an answer ends before a line that begins
    with the user's name.
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
        """The stop strings of an answer, in addition to those of the options."""
        return (f"\n{self.macros.user}:",) if self.stops_at_user else ()

    @property
    def notes(self) -> tuple[Note, ...]:
        """The notes that exist: the persona's, then the user's."""
        return tuple(note for note in (self.character_note, self.note) if note is not None)


def to_saved(prompt_settings: PromptSettings, summaries: Sequence[Summary]) -> SavedSettings:
    """Return the settings to store. Summaries of turns that are not stored are left out."""
    note = prompt_settings.note or Note("", 0)
    through = [(summary.through, summary.text) for summary in summaries if summary.through]
    return SavedSettings(
        prompt_settings.macros.user, prompt_settings.macros.seed, note.text, note.depth, tuple(through)
    )


def from_saved(
    kept: SavedSettings, prompt_settings: PromptSettings, path_to: Callable[[int], Sequence[Message]]
) -> tuple[PromptSettings, tuple[Summary, ...]]:
    """Return the prompt_settings with the stored settings applied, and the stored summaries.

    `path_to` returns the turns up to a message id, or nothing if the conversation has no such message.
    """
    seed = prompt_settings.macros.seed if kept.seed is None else kept.seed
    macros = replace(prompt_settings.macros, user=kept.user or prompt_settings.macros.user, seed=seed)
    note = Note(kept.note, kept.note_depth) if kept.note else None
    found = (Summary(tuple(path_to(through)), text, through) for through, text in kept.summaries)
    return replace(prompt_settings, macros=macros, note=note), tuple(
        summary for summary in found if summary.turns
    )
