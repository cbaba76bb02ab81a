"""Builds prompts from the parts of a conversation that fit in the context window.

If the window is full, parts are dropped in this order: examples, the oldest turns with their answers, notes,
lore. The system prompt and the persona are never dropped. Sizes are in tokens, as counted by the engine.

The selection depends only on the turns, and is computed turn by turn, in the order in which they were sent.
The prompt therefore begins like the previous one, even after a swipe or a retry, and the engine can reuse its
prefix cache. For the same reason, a lore entry stays where it was first inserted, and if turns must be
dropped, an eighth of the window is freed at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Final, Protocol

from hermes_cli.chat.lore import LoreMatcher
from hermes_cli.chat.lore_budget import MAX_CHARACTERS, ActiveEntry, LoreBudget, by_priority, depth, in_order
from hermes_cli.chat.lore_scan import STICKY
from hermes_cli.chat.prompt import PartKind, Prompt, PromptPart
from hermes_cli.chat.prompt_settings import Overflow, PromptSettings, Summary
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.personas.lorebook import Position
from hermes_cli.untrusted.deadline import EARLIER_TURN_S, Deadline

ANSWER_ROOM: Final = 1024
"""Tokens reserved for the answer if `max_tokens` is not set; at most a quarter of the window is reserved."""
SLACK_SHARE: Final = 8
_FILLED_TEXTS: Final = 8
_EMPTY_TURN: Final = Message(Role.USER, "")
_EMPTY_PROMPT: Final = (Message(Role.SYSTEM, ""), _EMPTY_TURN)
_PROBE: Final = Message(Role.USER, "x" * 1000)
"""A message whose number of tokens changes with the estimates of an engine."""
_BEFORE_ALL_TURNS: Final = -1

_Row = tuple[PartKind, int, Message]
"""A message that is not a turn: its kind, the index of the turn that it precedes, and the message."""


@dataclass(frozen=True, slots=True)
class _Step:
    """The selection at a turn that is answered: one of the user's, or of another character.

    `length` is the number of turns up to and including that one. `first` and `example` are the indices of the
    first turn and the first example exchange that are included. `active_lore` holds the fired lore entries in
    the prompt, and `without_room` those that did not fit. `fired_at` maps the number of an entry to the
    number of turns when it last fired.
    """

    length: int = 0
    first: int = 0
    example: int = 0
    notes: bool = True
    active_lore: tuple[ActiveEntry, ...] = ()
    without_room: tuple[ActiveEntry, ...] = ()
    fired_at: Mapping[int, int] = field(default_factory=dict)


class TokenCounter(Protocol):
    """The part of an engine that a PromptBuilder uses: the window size and the token counter."""

    @property
    def context_size(self) -> int:
        """The context window in tokens."""

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the exact number of tokens of the prompt for these messages."""


class PromptBuilder:
    """Builds the prompts of one conversation for one engine, whose context window is `window` tokens.

    `max_tokens` is the limit for an answer, or None if there is no limit. `deadline` limits the work on the
    constant lore, the examples, and the first prompt.
    """

    def __init__(
        self,
        engine: TokenCounter,
        opening: Opening,
        prompt_settings: PromptSettings,
        max_tokens: int | None = None,
        summary: Summary | None = None,
        *,
        deadline: Deadline | None = None,
    ) -> None:
        self._engine = engine
        self._prompt_settings = prompt_settings
        self._costs = dict[Message, int]()
        self._empty_tokens = engine.count_tokens([_EMPTY_TURN])
        self.window = engine.context_size  # read after counting, which loads the model
        self._answer_room = min(max_tokens or ANSWER_ROOM, self.window // 4)
        self._name_tokens = self._count_name(prompt_settings)
        self._empty_prompt_tokens = engine.count_tokens(_EMPTY_PROMPT)
        self._template_tokens = 2 * self._empty_tokens - engine.count_tokens([_EMPTY_TURN, _EMPTY_TURN])
        self._summary = summary
        self.deadline = deadline or Deadline()
        self.lore = LoreMatcher(
            prompt_settings.books,
            prompt_settings.macros,
            prompt_settings.lore,
            greetings=opening.greetings,
            off=prompt_settings.lore_off,
            scripts=prompt_settings.scripts,
            deadline=self.deadline,
        )
        self._lore_budget = LoreBudget(self.lore, self.window, self.cost)
        self._constant_entries, self._constant_over_budget, self._system = self._lore_budget.always(
            opening.system, self.deadline, opening.character_at
        )
        if self._system:  # then the text that some templates add without it is missing
            system_tokens = self._empty_prompt_tokens - self._empty_tokens
            self._template_tokens -= self.cost(_EMPTY_PROMPT[0]) - system_tokens
        self._filled = dict[tuple[str, str, int], str]()
        self._cacheable = opening.cacheable and self._system == opening.system  # constant lore may be private
        self._examples = self._countable(opening.examples)
        self._example_starts = [*_exchange_starts(self._examples), len(self._examples)]
        self._example_ends = [0, *accumulate(map(self.cost, self._examples))]
        self._turns: list[Message] = []
        self._turn_ends = [0]
        self._steps = [_Step(first=summary.covers if summary else 0)]
        self._probe_tokens = 0

    def recount(self) -> None:
        """Count all tokens again if the estimates of the engine have changed since the last call."""
        probe = self._engine.count_tokens([_PROBE])
        if probe == self._probe_tokens:
            return
        self._probe_tokens = probe
        self._costs.clear()
        self._example_ends = [0, *accumulate(map(self.cost, self._examples))]
        self._turns, self._turn_ends, self._steps = [], [0], self._steps[:1]

    def _count_name(self, settings: PromptSettings) -> int:
        """Return the number of tokens of the name that an answer begins with, if it does."""
        macros = settings.macros
        if not settings.names.apply_to(2 if macros.group else 1):
            return 0
        beginning = Message(Role.ASSISTANT, "", speaker=macros.char, is_named=True)
        return self._engine.count_tokens([_EMPTY_TURN, beginning]) - self._empty_tokens

    def cost(self, message: Message) -> int:
        """Return the number of tokens of a message, including its control tokens and role.

        Some chat templates add a text to prompts without a system prompt. A message of the system is counted
        after another one, so that this text is not subtracted from it.
        """
        if message not in self._costs:
            is_system = message.role is Role.SYSTEM
            before = _EMPTY_PROMPT[:1] if is_system else ()
            empty = self._empty_prompt_tokens if is_system else self._empty_tokens
            self._costs[message] = self._engine.count_tokens([*before, message, _EMPTY_TURN]) - empty
        return self._costs[message]

    def _countable(self, examples: tuple[Message, ...]) -> tuple[Message, ...]:
        """Return the examples without the first ones, if there are too many to count their tokens."""
        first, room = len(examples), MAX_CHARACTERS
        with self.deadline:
            while first and room >= len(examples[first - 1].text) and not self.deadline.is_over:
                first -= 1
                room -= len(examples[first].text)
                self.cost(examples[first])
        if first:
            self.deadline.skipped["examples"] = f"left out {first:,} of {len(examples):,} messages"
        return examples[first:]

    def prompt(self, turns: Sequence[Message], deadline: Deadline | None = None) -> Prompt:
        """Return the prompt for these turns.

        The last turn is the user's, or an answer to be continued. The prompt exceeds the window if the parts
        that are never dropped exceed it. `deadline` limits the work on the last turn, and its report is in
        the prompt.
        """
        if deadline is not None or self._turns:
            self.deadline = deadline or Deadline()
        self._filled.clear()
        settings = self._prompt_settings
        turns = settings.scripts.sent(turns, _end(turns), settings.macros, self.deadline)
        try:
            self._update_steps(turns)
        except BaseException:  # Ctrl-C, or a failing token counter: discard the half-computed state
            self._turns, self._turn_ends, self._steps = [], [0], self._steps[:1]
            raise
        step, end = self._steps[-1], _end(turns)
        if end < len(turns) and self._total(step) + self.cost(turns[-1]) >= self.window:
            step = self._fit_to_window(step, {}, self.cost(turns[-1]))
        rows = list(self._rows(step, end))
        messages = [m for _, index, m in rows if index == _BEFORE_ALL_TURNS]
        for index in range(step.first, len(turns) + 1):
            messages += [m for _, before, m in rows if before == index]
            messages += turns[index : index + 1]
        tokens = self._engine.count_tokens(messages)
        return Prompt(
            tuple(messages),
            tuple(self._parts(step, rows, turns, messages)),
            tokens,
            self.window,
            self._answer_room,
            step.first,
            tuple(self._constant_entries),
            step.active_lore,
            (*self._constant_over_budget, *step.without_room),
            self.deadline.report,
        )

    # Steps

    def _update_steps(self, turns: Sequence[Message]) -> None:
        """Recompute the steps from the first turn that has changed since the previous call."""
        same = 0
        for before, now in zip(self._turns, turns, strict=False):
            if before is not now and before != now:
                break
            same += 1
        start, *later = self._steps
        self._turns = list(turns)
        self._steps = [
            start,
            *(step for step in later if step.length <= same and self._is_answered(step.length - 1)),
        ]
        self._turn_ends = self._turn_ends[: same + 1]
        for message in turns[same:]:
            self._turn_ends.append(self._turn_ends[-1] + self.cost(message))
        first = max(self._steps[-1].length, start.first)
        new = [index for index in range(first, len(turns)) if self._is_answered(index)]
        self.deadline.seconds += EARLIER_TURN_S * len(new[:-1])
        for index in new:
            self._steps.append(self._step(self._steps[-1], index))

    def _is_answered(self, index: int) -> bool:
        """Return whether an answer follows a turn, or will: the user's, or that of another character."""
        turns = self._turns
        if turns[index].role is not Role.ASSISTANT:
            return turns[index].role is Role.USER
        end = index + 1
        return end < len(turns) and turns[end].role is Role.ASSISTANT and index > 0

    def _step(self, before: _Step, index: int) -> _Step:
        """Return the step for the user's turn at `index`, computed from the step before it."""
        now = index + 1
        fires = self.lore.fires(self._turns[:now], before.fired_at, self.deadline)
        fired = {number: now for number, trigger in fires.items() if trigger != STICKY}
        step = replace(before, length=now, notes=True, fired_at={**before.fired_at, **fired})
        return self._fit_to_window(self._add_lore(step, fires), fires)

    def _add_lore(self, step: _Step, fires: Mapping[int, str]) -> _Step:
        """Return the step with the entries that fire added to its active lore.

        If they exceed the lore budget, active entries that do not fire again are dropped.
        """
        active_lore = [active for active in step.active_lore if active.at >= step.first]
        active_numbers = {active.number for active in active_lore}
        inactive = {number: key for number, key in fires.items() if number not in active_numbers}
        new = self._lore_budget.activate_all(inactive, self._turns[: step.length], step.first, self.deadline)
        kept, dropped = self._lore_budget.within_budget(active_lore, new)
        if dropped:
            still_firing = [active for active in active_lore if active.number in fires]
            kept, dropped = self._lore_budget.within_budget((), [*still_firing, *new])
            active_lore = []
        return replace(step, active_lore=(*active_lore, *kept), without_room=tuple(dropped))

    # Room

    def _fit_to_window(self, step: _Step, fires: Mapping[int, str], unfinished_tokens: int = 0) -> _Step:
        """Return the step, with parts dropped until the prompt fits in the window.

        `unfinished_tokens` is the number of tokens of the answer to be continued.
        """
        limit = self.window - self._answer_room - self._name_tokens - unfinished_tokens
        if self._prompt_settings.overflow is Overflow.ERROR or self._total(step) <= limit:
            return step
        target = limit - self.window // SLACK_SHARE
        while self._total(step) > target and step.example < len(self._example_starts) - 1:
            step = replace(step, example=step.example + 1)
        turns = self._turns[: step.length]
        last_user = max((index for index, m in enumerate(turns) if m.role is Role.USER), default=-1)
        for start in _exchange_starts(turns):
            drops_last_user = step.first <= last_user < start
            if start > step.first and self._total(step) > (limit if drops_last_user else target):
                step = self._add_lore(replace(step, first=start), fires)
        if self._total(step) > limit:
            step = replace(step, notes=False)
        return self._drop_lore(step, self._total(step) - limit)

    def _drop_lore(self, step: _Step, over: int) -> _Step:
        """Drop the least important lore entries until at least `over` tokens are freed."""
        active_lore, dropped = list(step.active_lore), list(step.without_room)
        for active in reversed(by_priority(active_lore)):
            if over > 0:
                over -= active.tokens
                active_lore.remove(active)
                dropped.append(active)
        return replace(step, active_lore=tuple(active_lore), without_room=tuple(dropped))

    def _total(self, step: _Step) -> int:
        """Return the number of tokens of the prompt for the last turn of a step."""
        rows = self._rows(step, step.length)
        example = self._example_starts[step.example]
        return (
            self._template_tokens
            + sum(self.cost(message) for kind, _, message in rows if kind is not PartKind.EXAMPLES)
            + (self._example_ends[-1] - self._example_ends[example])
            + (self._turn_ends[step.length] - self._turn_ends[step.first])
        )

    # The prompt

    def _rows(self, step: _Step, end: int) -> Iterator[_Row]:
        """Yield the messages that are not turns, in prompt order; `end` is the index of the next answer."""
        if self._system:
            yield (
                PartKind.SYSTEM,
                _BEFORE_ALL_TURNS,
                Message(Role.SYSTEM, self._system, cacheable=self._cacheable),
            )
        is_cacheable = self._cacheable and not step.example  # one file for each persona
        for message in self._examples[self._example_starts[step.example] :]:
            yield PartKind.EXAMPLES, _BEFORE_ALL_TURNS, replace(message, cacheable=is_cacheable)
        if self._summary is not None and self._summary.text:
            yield PartKind.SUMMARY, _BEFORE_ALL_TURNS, Message(Role.SYSTEM, self._summary.text)
        for active in in_order(step.active_lore):
            yield PartKind.LORE, active.at, active.message
        for active in self._constant_entries:
            if active.entry.position is Position.DEPTH:
                yield PartKind.ALWAYS, max(step.first, end - depth(active.entry)), active.message
        for note in self._prompt_settings.notes if step.notes else ():
            if text := self._fill(note.text, "note", end):
                yield PartKind.NOTES, max(step.first, end - note.depth), Message(Role.SYSTEM, text)
        if text := self._fill(self._prompt_settings.post_history, "post_history", end):
            yield PartKind.POST_HISTORY, end, Message(Role.SYSTEM, text)

    def _fill(self, text: str, place: str, end: int) -> str:
        """Return a text with macros expanded, once for each prompt and turn."""
        key = (text, place, end)
        if key not in self._filled:
            if len(self._filled) == _FILLED_TEXTS:
                self._filled.clear()
            original = "" if place == "post_history" else None
            macros, turns = self._prompt_settings.macros, self._turns[:end]
            filled = macros.fill(text, place, end, original=original, deadline=self.deadline, turns=turns)
            self._filled[key] = filled.strip()
        return self._filled[key]

    def _parts(
        self, step: _Step, rows: Sequence[_Row], turns: Sequence[Message], messages: Sequence[Message]
    ) -> Iterator[PromptPart]:
        always = sum(
            active.tokens for active in self._constant_entries if active.entry.position is not Position.DEPTH
        )
        examples = len(self._example_starts) - 1
        exchanges = [
            start for start in _exchange_starts(turns[: _end(turns) or 1]) if start >= self._steps[0].first
        ]
        pieces = {
            PartKind.ALWAYS: (
                len(self._constant_entries),
                len(self._constant_entries) + len(self._constant_over_budget),
            ),
            PartKind.EXAMPLES: (examples - step.example, examples),
            PartKind.LORE: (len(step.active_lore), len(step.active_lore) + len(step.without_room)),
            PartKind.TURNS: (sum(start >= step.first for start in exchanges), len(exchanges)),
            PartKind.NOTES: (
                len(self._prompt_settings.notes) if step.notes else 0,
                len(self._prompt_settings.notes),
            ),
        }
        adjustments = {
            PartKind.SYSTEM: -always,
            PartKind.ALWAYS: always,
            PartKind.HEAD: self._template_tokens,
        }
        adjustments[PartKind.TURNS] = self._turn_ends[len(turns)] - self._turn_ends[step.first]
        if messages and messages[-1].role is Role.ASSISTANT:  # has no end token: the model continues it
            end_tokens = self.cost(messages[-1]) - self._engine.count_tokens(messages[-1:])
            last = PartKind.TURNS if turns else PartKind.EXAMPLES
            adjustments[last] = adjustments.get(last, 0) - end_tokens
            adjustments[PartKind.HEAD] = 0
        for kind in PartKind:
            costs = [self.cost(message) for row_kind, _, message in rows if row_kind is kind]
            tokens = sum(costs) + adjustments.get(kind, 0)
            kept, of = pieces.get(kind, (1, 1) if tokens else (0, 0))
            if of:
                yield PromptPart(kind, tokens, kept, of)


def _end(turns: Sequence[Message]) -> int:
    """Return the index of the answer to generate: that of the last turn if it is an unfinished answer."""
    return len(turns) - (bool(turns) and turns[-1].role is Role.ASSISTANT)


def _exchange_starts(messages: Sequence[Message]) -> list[int]:
    """Return the index at which each exchange begins.

    That is a user's turn, the very first message, or an answer to the answer of another character.
    """
    return [
        index
        for index, m in enumerate(messages)
        if not index or m.role is Role.USER or m.role is messages[index - 1].role is Role.ASSISTANT
    ]
