"""The parts of a prompt other than the opening and the turns: notes, lorebooks, summaries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from hermes_cli.chat.regex_scripts import RegexScripts
from hermes_cli.lore_settings import LoreSettings
from hermes_cli.messages import Message, Opening
from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.macros import USER_TEXT, Macros
from hermes_cli.personas.persona import DEFAULT_USER, Note
from hermes_cli.store.records import SavedSettings


class Overflow(StrEnum):
    """The action if a conversation no longer fits in the context window."""

    DROP = "drop"  # leave out the examples, then the oldest turns
    ERROR = "error"  # raise ContextOverflow
    SUMMARISE = "summarise"  # like DROP, but the model summarizes the turns that are left out


@dataclass(frozen=True, slots=True)
class Summary:
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
    titles of the entries that the user has switched off. If `fills_turns` is true, the macros in the user's
    turns and note are expanded. `scripts` change the turns as they are added, displayed and sent.
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
    scripts: RegexScripts = field(default_factory=RegexScripts)

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings of an answer, in addition to those of the options."""
        return (f"\n{self.macros.user}:",) if self.stops_at_user else ()

    @property
    def notes(self) -> tuple[Note, ...]:
        """The notes that are set: the persona's, then the user's."""
        return tuple(note for note in (self.character_note, self.note) if note is not None)


def to_saved(
    prompt_settings: PromptSettings, summaries: Sequence[Summary], opening: Opening
) -> SavedSettings:
    """Return the settings to store. Summaries of turns that are not stored are left out."""
    note = prompt_settings.note or Note("", 0)
    stored = [(summary.through, summary.text) for summary in summaries if summary.through]
    macros, off = prompt_settings.macros, tuple(sorted(prompt_settings.lore_off))
    at, about_user = opening.character_at, macros.texts.get(USER_TEXT, "")
    return SavedSettings(macros.user, macros.seed, note.text, note.depth, tuple(stored), off, at, about_user)


def from_saved(
    saved: SavedSettings, prompt_settings: PromptSettings, path_to: Callable[[int], Sequence[Message]]
) -> tuple[PromptSettings, tuple[Summary, ...]]:
    """Return `prompt_settings` with the stored settings applied, and the stored summaries.

    `path_to` returns the turns up to a message id, or no turns if there is no such message.
    """
    seed = prompt_settings.macros.seed if saved.seed is None else saved.seed
    macros = prompt_settings.macros
    texts = {**macros.texts, USER_TEXT: saved.about_user} if saved.about_user else macros.texts
    macros = replace(macros, user=saved.user or macros.user, seed=seed, texts=texts)
    note = Note(saved.note, saved.note_depth) if saved.note else None
    summaries = (Summary(tuple(path_to(through)), text, through) for through, text in saved.summaries)
    off = frozenset(saved.lore_off)
    return replace(prompt_settings, macros=macros, note=note, lore_off=off), tuple(
        summary for summary in summaries if summary.turns
    )
