"""The protocol of prompt formats, with which the engines turn conversations into token ids."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from hermes_cli.messages import Message, Role
from hermes_cli.prompts.reasoning import Reasoning
from hermes_cli.prompts.text_encoder import TextEncoder


class Segment(NamedTuple):
    """A segment of a rendered prompt: a control token, or the text between two control tokens."""

    ids: tuple[int, ...]
    control: bool


class PromptFormat(Protocol):
    """Renders conversations with one vocabulary.

    If the last message is open or the assistant's, the model continues it; otherwise a new assistant turn is
    opened. The ids of no text contain a control token: all of those in a prompt belong to the format.

    `vocabulary` identifies the tokenizer and the format; the stored ids of a turn are reused only if they
    have the same identifier. `encoder` encodes ordinary text. An id of `end_ids` ends an answer, and so does
    a text of `stops`, with which a template without control tokens ends a turn. `reasoning` has the marks
    around the model's reasoning, and `closing_ids` end it and begin the answer.
    """

    vocabulary: str
    encoder: TextEncoder
    end_ids: frozenset[int]
    stops: tuple[str, ...]
    reasoning: Reasoning
    closing_ids: tuple[int, ...]

    def segments(self, messages: Sequence[Message]) -> list[Segment]:
        """Return the prompt for `messages` as segments."""

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the prompt for `messages` as one list of token ids."""

    def common_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids that begin every prompt in which another turn follows `messages`."""

    def cacheable_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of the first turns that are cacheable."""

    def open_turn_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the ids between the last control token before the answer and the answer."""

    def begins_reasoning(self, messages: Sequence[Message]) -> bool:
        """Return whether the prompt ends in the model's reasoning, which the model then continues."""

    def count(self, messages: Sequence[Message], limit: int) -> int:
        """Return the number of tokens of the prompt for `messages`.

        A text of more than 2 * `limit` tokens counts as 2 * `limit` + 1, and is not encoded as a whole. Time
        and memory for a text therefore depend on the limit.
        """


def is_continued(messages: Sequence[Message]) -> bool:
    """Return whether the model continues the last message, and does not begin a new one."""
    return bool(messages) and (messages[-1].is_open or messages[-1].role is Role.ASSISTANT)


def continues_answer(messages: Sequence[Message]) -> bool:
    """Return whether the prompt ends with text that the model continues."""
    return is_continued(messages) and bool(messages[-1].sent_text.strip())


def excludes_reasoning(messages: Sequence[Message]) -> bool:
    """Return whether a new answer begins after an empty reasoning."""
    is_answer = bool(messages) and messages[-1].role is Role.ASSISTANT
    return is_answer and messages[-1].reasoning == "" and not continues_answer(messages)


def mark_segments(reasoning: Reasoning, encoder: TextEncoder, text: str) -> list[Segment]:
    """Return a text of the reasoning's marks as segments."""
    ids = reasoning.token_ids
    return [
        Segment((ids[part],), control=True)
        if part in ids
        else Segment(encoder.cached_ids(part), control=False)
        for part in reasoning.parts(text)
    ]
