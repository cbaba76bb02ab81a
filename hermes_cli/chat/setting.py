"""From a frame to what is kept of it with a conversation, and back.

It knows names, the seed, the person's note and what was condensed. It refuses to know where that is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from hermes_cli.chat.frame import Frame, Summary
from hermes_cli.messages import Message
from hermes_cli.personas.persona import Note
from hermes_cli.store.records import Setting


def written(frame: Frame, summaries: Sequence[Summary], path: Sequence[int]) -> Setting:
    """Return what is to be kept. `path` is the ids of the visible turns, by which summaries are kept."""
    note = frame.note or Note("", 0)
    through = [(path[one.covers - 1], one.text) for one in summaries if one.covers <= len(path)]
    return Setting(frame.macros.user, frame.macros.seed, note.text, note.depth, tuple(through))


def read(
    kept: Setting, frame: Frame, path_to: Callable[[int], Sequence[Message]]
) -> tuple[Frame, tuple[Summary, ...]]:
    """Return the frame as the conversation had it, and its summaries.

    `path_to` returns the turns up to a message of the conversation, or none.
    """
    seed = frame.macros.seed if kept.seed is None else kept.seed
    macros = replace(frame.macros, user=kept.user or frame.macros.user, seed=seed)
    note = Note(kept.note, kept.note_depth) if kept.note else None
    found = ((tuple(path_to(through)), text) for through, text in kept.summaries)
    return replace(frame, macros=macros, note=note), tuple(Summary(*one) for one in found if one[0])
