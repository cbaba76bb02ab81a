"""Converts a frame and its summaries to the stored settings of a conversation, and back."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from hermes_cli.chat.prompt_settings import PromptSettings, Summary
from hermes_cli.messages import Message
from hermes_cli.personas.persona import Note
from hermes_cli.store.records import SavedSettings


def to_saved(frame: PromptSettings, summaries: Sequence[Summary]) -> SavedSettings:
    """Return the settings to store. Summaries of turns that are not stored are left out."""
    note = frame.note or Note("", 0)
    through = [(one.through, one.text) for one in summaries if one.through]
    return SavedSettings(frame.macros.user, frame.macros.seed, note.text, note.depth, tuple(through))


def from_saved(
    kept: SavedSettings, frame: PromptSettings, path_to: Callable[[int], Sequence[Message]]
) -> tuple[PromptSettings, tuple[Summary, ...]]:
    """Return the frame with the stored settings applied, and the stored summaries.

    `path_to` returns the turns up to a message id, or nothing if the conversation has no such message.
    """
    seed = frame.macros.seed if kept.seed is None else kept.seed
    macros = replace(frame.macros, user=kept.user or frame.macros.user, seed=seed)
    note = Note(kept.note, kept.note_depth) if kept.note else None
    found = (Summary(tuple(path_to(through)), text, through) for through, text in kept.summaries)
    return replace(frame, macros=macros, note=note), tuple(one for one in found if one.turns)
