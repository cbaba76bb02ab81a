"""The Engine protocol, the interface between hermes and a model, and the types that it uses.

An engine takes messages and yields chunks of text. Tensors, tokenizers and HTTP types stay inside it. If
a conversation ends with an assistant turn, the engine continues that turn's text; otherwise it generates a
new answer.
"""

import itertools
import math
import operator
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from hermes_cli.messages import Message, TurnIds
from hermes_cli.options import GenerationOptions
from hermes_cli.placement import Placement


class Cancel:
    """A request to stop an answer. Once set, it stays set. It is also set after `limit_s` seconds.

    It is a plain flag, because the signal handler of Ctrl-C sets it. A threading.Event has a lock, and a
    handler that interrupts the thread holding that lock would deadlock.
    """

    def __init__(self, limit_s: float = math.inf) -> None:
        self._requested = False
        self._end = time.monotonic() + limit_s

    def set(self) -> None:
        """Request a stop."""
        self._requested = True

    def is_set(self) -> bool:
        """Return whether a stop was requested, or the time is over."""
        return self._requested or time.monotonic() >= self._end


class RequestCancelled(Exception):  # noqa: N818 - the caller requested it
    """The caller cancelled a request to a server. Its connection is closed."""


class FinishReason(StrEnum):
    """The reason why an answer ended."""

    STOP = "stop"  # the model ended its turn, or a stop string appeared
    LENGTH = "length"  # max_tokens, or the context window is full
    LOOP = "loop"  # the model repeated the same ids over and over
    CANCELLED = "cancelled"  # the caller set `cancel`


class Usage(NamedTuple):
    """Token counts of one answer.

    `prompt_tokens` counts the whole prompt, and `cached_tokens` the part of it that was already in the KV
    cache. `completion_tokens` counts the generated tokens, including the control token that ended the turn,
    and `reasoning_tokens` those of them in the reasoning, including the mark at its end.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def prefilled_tokens(self) -> int:
        """The number of prompt tokens that had to be evaluated."""
        return self.prompt_tokens - self.cached_tokens


class Timings(NamedTuple):
    """Seconds until the first token (prefill), and from the first to the last token (decode)."""

    prefill_s: float = 0.0
    decode_s: float = 0.0


class Completion(NamedTuple):
    """The metadata of a finished answer.

    `no_graphs_reason` is the reason why a GPU that supports CUDA graphs decoded without them, or "".
    """

    finish_reason: FinishReason
    usage: Usage = Usage()
    timings: Timings = Timings()
    turn_ids: TurnIds | None = None
    no_graphs_reason: str = ""


class Progress(NamedTuple):
    """Progress of the prefill: `done` of the `total` tokens that the KV cache did not hold."""

    done: int
    total: int


class Chunk(NamedTuple):
    """A piece of an answer, made of whole characters. The last chunk contains the Completion.

    `reasoning` is a piece of the model's reasoning, which precedes `text`. Before the first text, chunks with
    an empty `text` report the `progress` of the prefill.
    """

    text: str
    completion: Completion | None = None
    progress: Progress | None = None
    reasoning: str = ""

    @property
    def has_text(self) -> bool:
        """Whether there is a piece of the answer or of its reasoning."""
        return bool(self.text or self.reasoning)


class PromptToken(NamedTuple):
    """One token of a rendered prompt: its id, its bytes, and whether it is a control token.

    Joined, the bytes of all tokens are the prompt in UTF-8.
    """

    id: int
    data: bytes
    control: bool

    @property
    def text(self) -> str:
        r"""The bytes as text; bytes that are not valid UTF-8 appear as `\xNN`."""
        return self.data.decode("utf-8", "backslashreplace")


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Return the length of the common prefix of two lists of token ids."""
    equal = map(operator.eq, left, right)
    return sum(itertools.takewhile(bool, equal))


class Engine(Protocol):
    """A loaded model. `stream` is not re-entrant: generate one answer at a time."""

    @property
    def name(self) -> str:
        """The name of the model, for display."""

    @property
    def context_size(self) -> int:
        """The context window in tokens, which the prompt and the answer share.

        `stream` reduces it, and raises ContextOverflow with `can_retry`, if a server reports a smaller one.
        """

    @property
    def max_context_size(self) -> int:
        """The longest context window in tokens that the model supports; at least `context_size`."""

    @property
    def estimates_tokens(self) -> bool:
        """Whether `count_tokens` returns estimates, because a server makes the prompts and does not count."""

    @property
    def placement(self) -> Placement | None:
        """The placement of the model's layers, or None if it is unknown."""

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer piece by piece. Only the last chunk contains a Completion.

        Setting `cancel` ends the answer within one token with FinishReason.CANCELLED. Closing the iterator
        early also stops the generation.

        Raises ContextOverflow, before generating anything, if the prompt does not fit the context window,
        ResourcesExhausted if memory runs out, and HermesError if the engine itself fails.
        """

    def prefill(self, messages: Sequence[Message], cancel: Cancel) -> None:
        """Evaluate the ids that begin every prompt in which another turn follows `messages`.

        The next `stream` finds them in the KV cache. Setting `cancel` ends this after the current chunk; the
        ids evaluated so far stay in the cache. Ids that do not fit the context window are not evaluated.

        Like `stream`, it is not re-entrant, but it may run on any thread. Raises the same errors, except
        ContextOverflow.
        """

    def count_tokens(
        self, messages: Sequence[Message], limit: int | None = None, cancel: Cancel | None = None
    ) -> int:
        """Return the number of tokens of the prompt for these messages.

        It is exact unless a text has more than 2 * `limit` tokens; by default, the limit is the context
        window. Such a text counts as 2 * `limit` + 1, and is not encoded as a whole.

        Setting `cancel` ends the wait for a server, or for a model that is still loading. Raises
        RequestCancelled then.
        """

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the tokens of the prompt, exactly as `stream` would send them."""

    def close(self) -> None:
        """Free the model. Calling it twice is harmless."""
