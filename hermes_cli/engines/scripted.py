"""The scripted engine, which returns prepared answers for tests and for trying out the user interface.

Like the other engines, it renders prompts as ChatML ids, counts the prefix shared with the last prompt as
cached, and supports stop strings, max_tokens and cancel. Each character is one token.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes_cli.engines.base import (
    Cancel,
    Chunk,
    FinishReason,
    Progress,
    PromptToken,
    Usage,
    common_prefix,
)
from hermes_cli.engines.stream_filters import Answer, reject_ban
from hermes_cli.errors import ConfigError, ContextOverflow, HermesError, ResourcesExhausted
from hermes_cli.messages import Message
from hermes_cli.options import GenerationOptions
from hermes_cli.placement import Placement
from hermes_cli.prompts.chatml import IM_END, IM_START, ChatML
from hermes_cli.prompts.prompt_format import PromptFormat
from hermes_cli.untrusted import toml_parser
from hermes_cli.untrusted.source import Source

PREFILL_STEPS = 100
"""Number of progress reports during a script's `prefill`."""
_CONTROL = {IM_START: 0, IM_END: 1}
_ERRORS: dict[str, type[Exception]] = {
    "failed": HermesError,
    "out-of-memory": ResourcesExhausted,
    "mistake": AssertionError,  # as if the engine had a bug
}


@dataclass(frozen=True, slots=True)
class ScriptedTurn:
    """One answer of a script.

    `delay` is the pause before each character, and `prefill` the pause before the first one, in seconds. If
    `forever` is true, the text repeats endlessly. `error` names the error that is raised after the text:
    `failed`, `out-of-memory` or `mistake`.
    """

    text: str = ""
    delay: float = 0.0
    prefill: float = 0.0
    forever: bool = False
    error: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not isinstance(self.error, str):
            raise TypeError("text and error must be strings")
        if self.error and self.error not in _ERRORS:
            raise ValueError(f"error must be one of {', '.join(_ERRORS)}, not '{self.error}'")

    def characters(self) -> Iterator[str]:
        """Yield the answer character by character."""
        yield from self.text
        while self.forever and self.text:
            yield from self.text
        if self.error:
            raise _ERRORS[self.error](f"scripted error: {self.error}")


class ScriptedEngine:
    """An engine that answers with prepared turns in order. After the last one it raises HermesError."""

    def __init__(self, turns: Sequence[ScriptedTurn | str], context_size: int = 4096) -> None:
        self.name = "scripted"
        self.context_size = self.max_context_size = context_size
        self.placement: Placement | None = None  # it has no layers
        self.estimates_tokens = False
        self._turns = [ScriptedTurn(t) if isinstance(t, str) else t for t in turns]
        self._format: PromptFormat = ChatML(
            lambda text: [ord(c) + len(_CONTROL) for c in text], _CONTROL, "scripted"
        )
        self._cache: list[int] = []
        self.closed = False

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the next turn of the script; see Engine.stream."""
        reject_ban(options, "the scripted engine")
        prompt = self._format.ids(messages)
        if len(prompt) >= self.context_size:
            raise ContextOverflow(len(prompt), self.context_size)
        if not self._turns:
            raise HermesError("the script has no more turns")
        return self._play(self._turns.pop(0), messages, prompt, options, cancel)

    def _play(
        self,
        turn: ScriptedTurn,
        messages: Sequence[Message],
        prompt: list[int],
        options: GenerationOptions,
        cancel: Cancel,
    ) -> Iterator[Chunk]:
        cached = common_prefix(prompt[:-1], self._cache)
        limit = min(options.max_tokens or self.context_size, self.context_size - len(prompt))
        answer, reason = Answer(self._format, messages, options), FinishReason.STOP
        ids: list[int] = []
        yield from _prefill(turn.prefill, len(prompt) - cached, cancel)
        answer.start_decode()
        try:
            for character in turn.characters():
                _pause(turn.delay, cancel)
                if cancel.is_set():
                    reason = FinishReason.CANCELLED
                    break
                if len(ids) == limit:
                    reason = FinishReason.LENGTH
                    break
                ids.append(ord(character) + len(_CONTROL))
                if (chunk := answer.feed(character, ids[-1:])).has_text:
                    yield chunk
                if answer.exceeds_budget:
                    ids += answer.close_reasoning()
                if answer.finish_reason is not None:
                    break
        finally:
            # As in the other engines, the last generated token has not been evaluated yet.
            self._cache = [*prompt, *ids[:-1]]
        if (chunk := answer.flush()).has_text:
            yield chunk
        yield Chunk("", answer.completion(Usage(len(prompt), len(ids), cached), reason))

    def prefill(self, messages: Sequence[Message], cancel: Cancel) -> None:
        """Put the ids of the messages into the cache; see Engine.prefill."""
        ids = self._format.common_ids(messages)
        if len(ids) < self.context_size and not cancel.is_set():
            self._cache = ids

    def count_tokens(
        self,
        messages: Sequence[Message],
        limit: int | None = None,
        cancel: Cancel | None = None,  # noqa: ARG002 - no server is asked
    ) -> int:
        """Return the number of tokens in the prompt for `messages`; see Engine.count_tokens."""
        return self._format.count(messages, self.context_size if limit is None else limit)

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the tokens of the prompt, one for each character."""
        control = {i: spelling.encode() for spelling, i in _CONTROL.items()}
        return [
            PromptToken(i, control.get(i) or chr(i - len(_CONTROL)).encode(), segment.control)
            for segment in self._format.segments(messages)
            for i in segment.ids
        ]

    def close(self) -> None:
        """Set `closed`, which tests check."""
        self.closed = True


def _prefill(seconds: float, new: int, cancel: Cancel) -> Iterator[Chunk]:
    """Simulate a prefill of `new` tokens that takes this many seconds, and yield its progress."""
    for step in range(PREFILL_STEPS if seconds else 0):
        if cancel.is_set():
            return
        yield Chunk("", progress=Progress(new * step // PREFILL_STEPS, new))
        _pause(seconds / PREFILL_STEPS, cancel)


def _pause(seconds: float, cancel: Cancel) -> None:
    end = time.monotonic() + seconds
    while not cancel.is_set() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.01))


def load_script(path: Path) -> ScriptedEngine:
    """Return the engine for a script file.

    The file is TOML with the keys `context_size`, `load` (how many seconds loading takes), `broken` (the name
    of the error that loading raises, as in ScriptedTurn), and `[[turns]]`, tables with the fields of
    ScriptedTurn. Raises ConfigError if the file is not a valid script.
    """
    try:
        table = toml_parser.read(path, Source(str(path), ConfigError))
        time.sleep(float(table.get("load", 0)))
        if broken := table.get("broken"):
            raise _ERRORS[broken](f"scripted error: {broken}")
        turns = [ScriptedTurn(**turn) for turn in table.get("turns", [])]
        return ScriptedEngine(turns, int(table.get("context_size", 4096)))
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} is not a valid script: {error}") from None
