"""The one seam between hermes and a model: the Engine Protocol and the values that cross it.

Messages go in and text chunks come out. No tensor, no tokenizer and no HTTP type crosses this line. A
conversation that ends with an assistant turn is continued from that turn's text (a prefill); any other
is answered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from hermes_cli.messages import Message, TurnIds
from hermes_cli.options import GenerationOptions


class Cancel:
    """A request to stop an answer, which stays.

    It is a bare flag, because Ctrl-C sets it from a signal handler: a threading.Event has a lock, and a
    handler that interrupts whoever holds it waits for ever.
    """

    def __init__(self) -> None:
        self._requested = False

    def set(self) -> None:
        """Ask for the stop."""
        self._requested = True

    def is_set(self) -> bool:
        """Whether it was asked for."""
        return self._requested


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"  # the model ended its turn, or a stop string appeared
    LENGTH = "length"  # max_tokens, or the context window is full
    LOOP = "loop"  # the model said the same thing again and again
    CANCELLED = "cancelled"  # somebody asked for it to stop


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer.

    `prompt_tokens` counts the whole prompt; `cached_tokens` is the part of it that the KV cache already
    held, and `prefilled_tokens` the rest. `completion_tokens` counts what was generated, the control token
    that ended the turn among them.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    @property
    def prefilled_tokens(self) -> int:
        """How many tokens of the prompt had to be evaluated."""
        return self.prompt_tokens - self.cached_tokens


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds spent before the first token (prefill) and from it to the last (decode)."""

    prefill_s: float = 0.0
    decode_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Completion:
    """What is known once an answer has ended.

    `slower` is why a faster way of decoding, which the device has, was not taken.
    """

    finish_reason: FinishReason
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    turn_ids: TurnIds | None = None
    slower: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a prompt is read: `done` of the `total` tokens that the KV cache did not hold."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer, always whole characters. The last one carries the Completion.

    Before the first text, chunks without any tell the `progress` of the prefill.
    """

    text: str
    completion: Completion | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class PromptToken:
    """One token of a rendered prompt: its id, the bytes it spells there, and whether it is a control token.

    The bytes of all tokens together are the prompt's text in UTF-8.
    """

    id: int
    data: bytes
    control: bool

    @property
    def text(self) -> str:
        r"""The bytes as text; those that are no UTF-8 of their own appear as `\xNN`."""
        return self.data.decode("utf-8", "backslashreplace")


class Engine(Protocol):
    """A model that can be talked to. One at a time: `stream` is not re-entrant."""

    @property
    def name(self) -> str:
        """What the model calls itself, for a person to read."""

    @property
    def context_size(self) -> int:
        """The context window in tokens: prompt and answer together."""

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer piece by piece; the last chunk, and only it, carries a Completion.

        Setting `cancel` ends the answer within one token with FinishReason.CANCELLED. Closing the
        iterator early has the same effect.

        Raises ContextOverflow before anything is generated, ResourcesExhausted when memory runs out, and
        HermesError when the engine itself fails.
        """

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return how many tokens the prompt for these messages has, to the token."""

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the prompt itself, token by token, exactly as `stream` would send it."""

    def close(self) -> None:
        """Free the model. Calling it twice is harmless."""
