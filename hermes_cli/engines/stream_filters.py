"""Filters for a stream of generated text: stop strings, banned phrases, and the loop guard.

Each filter is incremental: its result does not depend on how the text is split into pieces.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from hermes_cli.engines.base import Chunk, Completion, FinishReason, Timings, Usage
from hermes_cli.engines.unsupported_option import UnsupportedOption
from hermes_cli.messages import Message, Role, TurnIds
from hermes_cli.options import GenerationOptions
from hermes_cli.prompts.prompt_format import PromptFormat, continues_answer
from hermes_cli.prompts.reasoning import Part, ReasoningParser, suffix_length


class StopScanner:
    """A filter that ends the text before the first stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """Add the next piece and return the text that can be shown, which is empty after a stop string."""
        if self.found or not self._stops:
            return "" if self.found else text
        self._held += text
        # Take the match that ends first or, if two end at the same position, the longer one.
        matches = [(i + len(stop), i) for stop in self._stops if (i := self._held.find(stop)) >= 0]
        if matches:
            self.found = True
            ready, self._held = self._held[: min(matches)[1]], ""
            return ready
        end = len(self._held) - suffix_length(self._held, self._stops)
        ready, self._held = self._held[:end], self._held[end:]
        return ready

    def flush(self) -> str:
        """Return the text that is still held back at the end of the stream."""
        held, self._held = self._held, ""
        return held


NGRAM = 4
"""A repeated sequence of this many ids may be the beginning of a loop."""
MAX_PERIODS = 32
MIN_REPEATS = 2
"""Minimum number of repetitions of a period in a loop. A refrain that occurs twice is repeated only once."""


class LoopGuard:
    """A loop detector for one answer. A loop has at least `limit` repeated ids; 0 disables it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ids: list[int] = []
        self._last_position: dict[tuple[int, ...], int] = {}
        self._runs: dict[int, int] = {}

    def feed(self, token: int) -> bool:
        """Add the next id and return whether the answer is in a loop."""
        if not self._limit:
            return False
        ids = self._ids
        ids.append(token)
        end = len(ids) - 1
        # Maps a period to the number of ids in a row, up to this one, that equal the id one period before.
        self._runs = {p: run + 1 for p, run in self._runs.items() if ids[end - p] == token}
        ngram = tuple(ids[-NGRAM:])
        if len(ngram) == NGRAM:
            earlier = self._last_position.get(ngram)
            if earlier is not None and len(self._runs) < MAX_PERIODS:
                self._runs.setdefault(end - earlier, NGRAM)
            self._last_position[ngram] = end
        return any(run >= max(self._limit, MIN_REPEATS * period) for period, run in self._runs.items())


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole characters of an answer, and the token ids that encode them."""

    text: str
    ids: tuple[int, ...]


class PhraseBan:
    """A filter that holds back text that may be the start of a banned phrase. It ignores case."""

    def __init__(self, phrases: Sequence[str]) -> None:
        self._phrases = tuple(_lower(phrase) for phrase in phrases)
        self._held: list[Piece] = []

    def matches(self, text: str) -> bool:
        """Return whether `text` contains a banned phrase."""
        lower = _lower(text)
        return any(phrase in lower for phrase in self._phrases)

    def feed(self, piece: Piece) -> tuple[list[Piece], list[Piece]]:
        """Add the next piece. Return the pieces that can be shown, and those that must be removed.

        If any must be removed, the banned phrase begins in the first of them.
        """
        if not self._phrases:
            return [piece], []
        self._held.append(piece)
        text = _lower("".join(held.text for held in self._held))
        matches = [i for phrase in self._phrases if (i := text.find(phrase)) >= 0]
        safe = min(matches) if matches else len(text) - suffix_length(text, self._phrases)
        count = end = 0
        while count < len(self._held) and (end := end + len(self._held[count].text)) <= safe:
            count += 1
        ready, rest = self._held[:count], self._held[count:]
        self._held = [] if matches else rest
        return ready, rest if matches else []

    def flush(self) -> list[Piece]:
        """Return the pieces that are still held back at the end of the text."""
        held, self._held = self._held, []
        return held


def reject_ban(options: GenerationOptions, engine: str) -> None:
    """Raise UnsupportedOption if the options ban phrases. For engines that cannot remove generated tokens."""
    if options.ban:
        raise UnsupportedOption(engine, "ban")


def _lower(text: str) -> str:
    """Lowercase the text, except for characters whose lowercase form would shift later positions."""
    return "".join(low if len(low := c.lower()) == 1 else c for c in text)


class Answer:
    """An answer during its generation. It applies stop strings and the loop guard, and records ids and times.

    The reasoning of the model is separated from its text; stop strings do not apply to it. `finish_reason` is
    None until a stop string, a loop, a mark of the model or the engine ends the answer.
    """

    def __init__(
        self, prompt_format: PromptFormat, messages: Sequence[Message], options: GenerationOptions
    ) -> None:
        self.finish_reason: FinishReason | None = None
        self._format = prompt_format
        self._opening = prompt_format.open_turn_ids(messages)
        self._is_named = bool(messages) and messages[-1].role is Role.ASSISTANT and messages[-1].is_named
        self._parser = ReasoningParser(
            prompt_format.reasoning,
            is_open=prompt_format.begins_reasoning(messages),
            is_continued=continues_answer(messages),
        )
        self._budget = options.thinking_budget
        self._reasoning_tokens = 0
        self._rest: list[Part] = []
        """The end of the reasoning, which is shown with the next part."""
        self._scanner = StopScanner((*options.stop, *prompt_format.stops))
        self._guard = LoopGuard(options.loop_guard)
        self._pieces: list[Part] = []
        self._shown_length = 0
        self._start = time.monotonic()
        self._first_token: float | None = None

    def start_decode(self) -> None:
        """Record the time of the first token. Later calls do nothing."""
        if self._first_token is None:
            self._first_token = time.monotonic()

    def feed(self, text: str, ids: Sequence[int]) -> Chunk:
        """Add the next whole characters with their ids, and return what can be shown, which can be empty."""
        self._reasoning_tokens += len(ids) * self._parser.is_reasoning
        chunk = self._shown(self._parser.feed(text, ids))
        looping = sum(self._guard.feed(token) for token in ids) > 0
        if self._scanner.found or self._parser.has_ended:
            self.finish_reason = FinishReason.STOP
        elif looping:
            self.finish_reason = FinishReason.LOOP
        return chunk

    @property
    def exceeds_budget(self) -> bool:
        """Whether the reasoning has used up its budget. `close_reasoning` then ends it."""
        is_over = self._budget is not None and self._reasoning_tokens >= self._budget
        return is_over and self._parser.is_reasoning and self.finish_reason is None

    def close_reasoning(self) -> tuple[int, ...]:
        """End the reasoning, and return the ids that the model reads next."""
        self._rest += self._parser.close()
        return self._format.closing_ids

    def _shown(self, parts: Sequence[Part]) -> Chunk:
        """Add parts of the answer, and return what can be shown."""
        reasoning = text = ""
        parts, self._rest = [*self._rest, *parts], []
        for part in parts:
            if part.is_reasoning:
                reasoning += part.text
            else:
                self._pieces.append(part)
                text += self._scanner.feed(part.text)
        self._shown_length += len(text)
        return Chunk(text, reasoning=reasoning)

    def flush(self) -> Chunk:
        """Return the text that was held back because it might begin a mark or a stop string."""
        chunk = self._shown(self._parser.flush())
        held = self._scanner.flush()
        self._shown_length += len(held)
        if self._scanner.found:
            self.finish_reason = FinishReason.STOP
        return Chunk(chunk.text + held, reasoning=chunk.reasoning)

    def completion(self, usage: Usage, engine_reason: FinishReason, no_graphs_reason: str = "") -> Completion:
        """Return the completion. `engine_reason` is used if `finish_reason` is None."""
        now = time.monotonic()
        first_token = now if self._first_token is None else self._first_token
        timings = Timings(first_token - self._start, now - first_token)
        reason = self.finish_reason or engine_reason
        usage = usage._replace(reasoning_tokens=self._reasoning_tokens)
        return Completion(reason, usage, timings, self._turn_ids(), no_graphs_reason)

    def _turn_ids(self) -> TurnIds:
        """Return the ids of the text that was shown, even if a stop string cut the text inside a token."""
        ids: list[int] = []
        left = self._shown_length
        for piece in self._pieces:
            if len(piece.text) > left:
                ids += self._format.encoder.encode_after_newline(piece.text[:left]) if left else []
                break
            ids += piece.ids or self._format.encoder.encode_after_newline(piece.text)
            left -= len(piece.text)
        return TurnIds(self._format.vocabulary, (*self._opening, *ids), self._is_named)
