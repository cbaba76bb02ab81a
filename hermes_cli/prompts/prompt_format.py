"""The protocol of prompt formats, with which the engines turn conversations into token ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hermes_cli.messages import Message, Role
from hermes_cli.prompts.text_encoder import TextEncoder


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a rendered prompt: a control token, or the text between two control tokens."""

    ids: tuple[int, ...]
    control: bool


class PromptFormat(Protocol):
    """Renders conversations with one vocabulary.

    If the last message is open or the assistant's, the model continues it; otherwise a new assistant turn is
    opened. The ids of no text contain a control token: all of those in a prompt belong to the format.

    `vocabulary` identifies the tokenizer and the format; the stored ids of a turn are reused only if they
    have the same identifier. `encoder` encodes ordinary text. An id of `end_ids` ends an answer, and so does
    a text of `stops`, with which a template without control tokens ends a turn.
    """

    vocabulary: str
    encoder: TextEncoder
    end_ids: frozenset[int]
    stops: tuple[str, ...]

    def segments(self, messages: Sequence[Message]) -> list[Segment]:
        """Return the prompt for `messages` as segments."""

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the prompt for `messages` as one list of token ids."""

    def common_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids that begin every prompt in which another turn follows `messages`."""

    def cacheable_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of the first turns that are cacheable."""

    def open_turn_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the ids after the last control token of the prompt, which the model will continue."""

    def count(self, messages: Sequence[Message], limit: int) -> int:
        """Return the number of tokens of the prompt for `messages`.

        A text of more than 2 * `limit` tokens counts as 2 * `limit` + 1, and is not encoded as a whole. Time
        and memory for a text therefore depend on the limit.
        """


def is_continued(messages: Sequence[Message]) -> bool:
    """Return whether the model continues the last message, and does not begin a new one."""
    return bool(messages) and (messages[-1].is_open or messages[-1].role is Role.ASSISTANT)
