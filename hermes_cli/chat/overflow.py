"""Messages about a full context window: the error for a prompt that does not fit, and what is left out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, Protocol

from hermes_cli.chat.prompt import PartKind, Prompt, PromptPart
from hermes_cli.chat.prompt_builder import PromptBuilder, TokenCounter
from hermes_cli.chat.prompt_settings import Overflow, PromptSettings
from hermes_cli.errors import ContextOverflow
from hermes_cli.messages import Message, Opening, Role

_LORE: Final = {PartKind.ALWAYS, PartKind.LORE}
STEP: Final = 256
"""The suggested context is a multiple of this number of tokens."""


class PromptCounter(TokenCounter, Protocol):
    """The part of an engine that `overflow_error` uses: the window sizes and the token counter."""

    @property
    def max_context_size(self) -> int:
        """The longest context window in tokens that the model supports."""

    def count_tokens(self, messages: Sequence[Message], limit: int | None = None) -> int:
        """Return the number of tokens of the prompt for these messages; see Engine.count_tokens."""


def overflow_error(
    prompt: Prompt,
    turns: Sequence[Message],
    engine: PromptCounter,
    *,
    opening: Opening,
    settings: PromptSettings,
    files: Sequence[str] = (),
) -> ContextOverflow:
    """Return the error for the prompt of these turns. `files` are the names of the files in the last one."""
    shortest = prompt
    if settings.overflow is Overflow.ERROR:
        shortest = PromptBuilder(engine, opening, replace(settings, overflow=Overflow.DROP)).prompt(turns)
    hints = _hints(prompt, shortest, turns, engine, files)
    return ContextOverflow(prompt.tokens, prompt.window, "; or ".join(hints))


def _hints(
    prompt: Prompt, shortest: Prompt, turns: Sequence[Message], engine: PromptCounter, files: Sequence[str]
) -> Iterator[str]:
    """Yield the hints. `shortest` is the prompt without the examples and the turns that can be dropped."""
    users = [index for index, message in enumerate(turns) if message.role is Role.USER]
    last_tokens = sum(_text_tokens(engine, message) for message in turns[users[-1] :]) if users else 0
    if users and shortest.tokens - last_tokens < shortest.window:
        yield f"send less of {' and '.join(files)}" if files else "shorten the message"
    elif shortest.tokens >= shortest.window:
        yield "shorten the system prompt or the persona"
    if shortest.tokens < shortest.window:
        yield "drop old turns with --on-overflow drop"
    tokens, longest = prompt.tokens, engine.max_context_size
    if not prompt.is_counted and longest > prompt.window:
        tokens = engine.count_tokens(prompt.messages, longest // 2)
    if tokens >= longest:
        yield "choose a model with a longer context"
    else:
        size = min(longest, -(-(tokens + prompt.answer_room) // STEP) * STEP)
        yield f"use --context {size}, or /context {size} in a chat"


def _text_tokens(engine: PromptCounter, message: Message) -> int:
    """Return the number of tokens in the text of a message."""
    return engine.count_tokens([message]) - engine.count_tokens([Message(message.role, "")])


def left_out_remarks(parts: Sequence[PromptPart]) -> list[str]:
    """Return remarks about the parts of a prompt that are not included completely."""
    remarks = list[str]()
    others = [part for part in parts if part.kind not in _LORE]
    if others:
        counts = ", ".join(f"{part.of - part.kept} of {part.of} {part.kind}" for part in others)
        remarks.append(f"The context is full: {counts} left out from here on; /context shows the details.")
    lore = sum(part.of - part.kept for part in parts if part.kind in _LORE)
    if lore:
        remarks.append(f"Lore entries that do not fit: {lore}; /lore shows which.")
    return remarks
