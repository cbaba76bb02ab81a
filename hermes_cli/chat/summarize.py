"""Summarizes the oldest turns with the model before they are left out of the prompt."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from hermes_cli.chat.prompt_settings import Summary
from hermes_cli.engines.base import Cancel, Engine, FinishReason
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions
from hermes_cli.personas.macros import Macros

LENGTH_SHARE: Final = 16
"""A summary has at most a sixteenth of the tokens of the context window, and at most MAX_TOKENS."""
MAX_TOKENS: Final = 400
LEAD: Final = "What happened before:\n"
_SENTENCE: Final = re.compile(r"[.!?…]['\")*]*(?=\s|$)")
_ASK: Final = (
    "You condense conversations. Write down in the third person and in the past tense what happened, who is "
    "who, what was promised and what must not be forgotten, in as few sentences as that takes. Write nothing "
    "else."
)


def summarize(
    engine: Engine,
    turns: Sequence[Message],
    earlier: Summary | None,
    *,
    macros: Macros,
    options: GenerationOptions,
    cancel: Cancel,
) -> str | None:
    """Return a summary of the turns and of an earlier summary, or None if the generation was cancelled.

    Raises RequestCancelled if a count was cancelled.

    Turns that do not fit in the context window together are summarized in several steps. A turn that does not
    fit by itself is skipped, not cut. The summary may be empty.
    """

    def tokens(turns: Sequence[Message]) -> int:
        return engine.count_tokens(_summary_prompt(note, turns, macros), cancel=cancel)

    note = earlier.text.removeprefix(LEAD) if earlier else ""
    room = engine.context_size - engine.context_size // 4
    batches, batch = list[list[Message]](), list[Message]()
    length = max(16, min(MAX_TOKENS, engine.context_size // LENGTH_SHARE))
    for turn in turns:
        if tokens([turn]) > engine.context_size - 2 * length:
            continue
        if batch and tokens([*batch, turn]) > room:
            batches.append(batch)
            batch = []
        batch.append(turn)
    summary_options = replace(
        options, max_tokens=length, stop=(), ban=(), temperature=0.0, thinking_budget=None
    )
    for messages in filter(None, [*batches, batch]):
        text, reason = "", FinishReason.STOP
        for chunk in engine.stream(_summary_prompt(note, messages, macros), summary_options, cancel):
            text += chunk.text
            reason = chunk.completion.finish_reason if chunk.completion else reason
        if reason is FinishReason.CANCELLED:
            return None
        note = _drop_cut_sentence(text.strip(), cut=reason is FinishReason.LENGTH) or note
    return LEAD + note if note else ""


def _drop_cut_sentence(text: str, *, cut: bool) -> str:
    """Return the text. If it was `cut` off, drop the incomplete sentence after the last complete one."""
    ends = [found.end() for found in _SENTENCE.finditer(text)] if cut else []
    return text[: ends[-1]] if ends else text


def _summary_prompt(note: str, turns: Sequence[Message], macros: Macros) -> list[Message]:
    names = {Role.USER: macros.user, Role.ASSISTANT: macros.char, Role.SYSTEM: "Narrator"}
    lines = [f"{turn.speaker or names[turn.role]}: {turn.text}" for turn in turns]
    before = [f"What was condensed before:\n{note}"] if note else []
    question = "\n\n".join([*before, *lines, "Condense this."])
    without_reasoning = Message(Role.ASSISTANT, "", reasoning="")
    return [Message(Role.SYSTEM, _ASK), Message(Role.USER, question), without_reasoning]
