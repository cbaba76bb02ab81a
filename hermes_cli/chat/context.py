"""The context budget: what of a conversation goes to the model, and what is left out.

It knows what each part costs, in tokens as the engine counts them, and in which order parts give way:
examples first, then the oldest turns with their answers, then notes, then lore. System prompt and persona
never do. It refuses to know what wakes an entry and how any of it looks.

Everything follows from the turns: it is worked out turn by turn, as it was when they were said. So a prompt
begins as the last one did, and the engine need not evaluate that part again, also after a swipe or a retry.
For the same reason an entry that fired stays where it was told, and where turns must go an eighth of the
window is made free at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Final, Protocol

from hermes_cli.chat.assembled import Assembled, Kind, Part
from hermes_cli.chat.frame import Frame, Overflow, Summary
from hermes_cli.chat.lore import STILL, Lore
from hermes_cli.chat.telling import Telling, Told, by_weight, in_order
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.personas.lorebook import Position

ANSWER_ROOM: Final = 1024
"""Tokens that are kept free for an answer of no given length, but never more than a fourth of the window."""
SLACK_SHARE: Final = 8
_ASKED: Final = Message(Role.USER, "")
_PINNED: Final = -1

_Row = tuple[Kind, int, Message]
"""A message beside the turns: what it is, and before which turn it stands."""


@dataclass(frozen=True, slots=True)
class _Step:
    """How things stood at one of the person's turns: what was kept from where on, and which lore stood.

    `length` counts the turns up to and with that one, `first` and `example` are the first that were kept.
    """

    length: int = 0
    first: int = 0
    example: int = 0
    notes: bool = True
    standing: tuple[Told, ...] = ()
    without_room: tuple[Told, ...] = ()
    fired_at: Mapping[int, int] = field(default_factory=dict)


class Counter(Protocol):
    """What a context is worked out for: an engine, or what counts as one does."""

    @property
    def context_size(self) -> int:
        """The context window in tokens."""

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return how many tokens the prompt for these messages has, to the token."""


class Context:
    """Works out the prompts of one conversation with one engine.

    `max_tokens` is how long an answer may become; None where nobody said.
    """

    def __init__(
        self,
        engine: Counter,
        opening: Opening,
        frame: Frame,
        max_tokens: int | None = None,
        summary: Summary | None = None,
    ) -> None:
        self._engine = engine
        self._frame = frame
        self._costs = dict[Message, int]()
        self._asked = engine.count_tokens([_ASKED])
        self._window = engine.context_size  # of a model that was still loading it is known only now
        self._answer_room = min(max_tokens or ANSWER_ROOM, self._window // 4)
        self._head = 2 * self._asked - engine.count_tokens([_ASKED, _ASKED])
        self._summary = summary
        self.lore = Lore(frame.books, frame.macros)
        self._telling = Telling(self.lore, self._window, self.cost)
        self._always, self._no_room, self._system = self._telling.always(opening.system)
        self._examples = opening.examples
        self._example_starts = [*_exchange_starts(self._examples), len(self._examples)]
        self._example_ends = [0, *accumulate(map(self.cost, self._examples))]
        self._turns: list[Message] = []
        self._turn_ends = [0]
        self._steps = [_Step(first=summary.covers if summary else 0)]

    def cost(self, message: Message) -> int:
        """Return the tokens of a turn, with what marks its beginning and its end."""
        if message not in self._costs:
            self._costs[message] = self._engine.count_tokens([message, _ASKED]) - self._asked
        return self._costs[message]

    def prompt(self, turns: Sequence[Message]) -> Assembled:
        """Return what goes to the model behind these turns.

        The last of them is the person's, or an answer that is gone on with. What cannot be left out may be
        more than the window holds.
        """
        try:
            self._go_to(turns)
        except BaseException:  # Ctrl-C, or an engine that cannot count: nothing is known by halves
            self._turns, self._turn_ends, self._steps = [], [0], self._steps[:1]
            raise
        step, end = self._steps[-1], _end(turns)
        if end < len(turns) and self._total(step) + self.cost(turns[-1]) >= self._window:
            step = self._with_room(step, {}, self.cost(turns[-1]))
        rows = list(self._rows(step, end))
        messages = [m for _, place, m in rows if place == _PINNED]
        for place in range(step.first, len(turns) + 1):
            messages += [m for _, before, m in rows if before == place]
            messages += turns[place : place + 1]
        tokens = self._engine.count_tokens(messages)
        return Assembled(
            tuple(messages),
            tuple(self._parts(step, rows, turns, messages)),
            tokens,
            self._window,
            self._answer_room,
            step.first,
            tuple(self._always),
            step.standing,
            (*self._no_room, *step.without_room),
        )

    # Turn by turn

    def _go_to(self, turns: Sequence[Message]) -> None:
        """Work out what is new, from where the turns are others than before."""
        same = 0
        for before, now in zip(self._turns, turns, strict=False):
            if before is not now and before != now:
                break
            same += 1
        start, *later = self._steps
        self._steps = [start, *(step for step in later if step.length <= same)]
        self._turns = list(turns)
        self._turn_ends = self._turn_ends[: same + 1]
        for message in turns[same:]:
            self._turn_ends.append(self._turn_ends[-1] + self.cost(message))
        for place in range(max(self._steps[-1].length, start.first), len(turns)):
            if turns[place].role is Role.USER:
                self._steps.append(self._step(self._steps[-1], place))

    def _step(self, before: _Step, place: int) -> _Step:
        """Return how things stand at the person's turn of that place."""
        now = place + 1
        fires = self.lore.fires(self._turns[:now], before.fired_at)
        fired = {number: now for number, word in fires.items() if word != STILL}
        step = replace(before, length=now, notes=True, fired_at={**before.fired_at, **fired})
        return self._with_room(self._with_lore(step, fires), fires)

    def _with_lore(self, step: _Step, fires: Mapping[int, str]) -> _Step:
        """Return the step with what fires, behind what stands or, where that is too much, in its place."""
        standing = [one for one in step.standing if one.at >= step.first]
        there = {one.number for one in standing}
        told = (
            self._telling.tell(number, word, step.length - 1, step.first)
            for number, word in fires.items()
            if number not in there
        )
        new = [one for one in told if one is not None]
        stay, go = self._telling.within_budget([*self._always, *standing], new)
        if go:
            fresh = [one for one in standing if one.number in fires]
            stay, go = self._telling.within_budget(self._always, [*fresh, *new])
            standing = []
        return replace(step, standing=(*standing, *stay), without_room=tuple(go))

    # Room

    def _with_room(self, step: _Step, fires: Mapping[int, str], begun: int = 0) -> _Step:
        """Return the step with as much as fits the window, beside an answer of so many tokens."""
        limit = self._window - self._answer_room - begun
        if self._frame.overflow is Overflow.ERROR or self._total(step) <= limit:
            return step
        wanted = limit - self._window // SLACK_SHARE
        while self._total(step) > wanted and step.example < len(self._example_starts) - 1:
            step = replace(step, example=step.example + 1)
        for start in _exchange_starts(self._turns[: step.length]):
            if start > step.first and self._total(step) > wanted:
                step = self._with_lore(replace(step, first=start), fires)
        if self._total(step) > limit:
            step = replace(step, notes=False)
        return self._without_lore(step, self._total(step) - limit)

    def _without_lore(self, step: _Step, over: int) -> _Step:
        """Return the step without as much lore as there are tokens too many."""
        standing, go = list(step.standing), list(step.without_room)
        for one in reversed(by_weight(standing)):
            if over > 0:
                over -= one.tokens
                standing.remove(one)
                go.append(one)
        return replace(step, standing=tuple(standing), without_room=tuple(go))

    def _total(self, step: _Step) -> int:
        """Return the tokens of the prompt at the person's turn with which a step ends."""
        rows = self._rows(step, step.length)
        example = self._example_starts[step.example]
        return (
            self._head
            + sum(self.cost(message) for kind, _, message in rows if kind is not Kind.EXAMPLES)
            + (self._example_ends[-1] - self._example_ends[example])
            + (self._turn_ends[step.length] - self._turn_ends[step.first])
        )

    # The prompt

    def _rows(self, step: _Step, end: int) -> Iterator[_Row]:
        """Yield what stands around the turns, in that order; the next answer is said at `end`."""
        if self._system:
            yield Kind.SYSTEM, _PINNED, Message(Role.SYSTEM, self._system)
        for message in self._examples[self._example_starts[step.example] :]:
            yield Kind.EXAMPLES, _PINNED, message
        if self._summary is not None and self._summary.text:
            yield Kind.SUMMARY, _PINNED, Message(Role.SYSTEM, self._summary.text)
        for one in in_order(step.standing):
            yield Kind.LORE, one.at, one.message
        for one in self._always:
            if one.entry.position is Position.DEPTH:
                yield Kind.ALWAYS, max(step.first, end - one.entry.depth), one.message
        fill = self._frame.macros.fill
        for note in self._frame.notes if step.notes else ():
            if text := fill(note.text, "note", end).strip():
                yield Kind.NOTES, max(step.first, end - note.depth), Message(Role.SYSTEM, text)
        if text := fill(self._frame.post_history, "post_history", end, original="").strip():
            yield Kind.POST_HISTORY, end, Message(Role.SYSTEM, text)

    def _parts(
        self, step: _Step, rows: Sequence[_Row], turns: Sequence[Message], messages: Sequence[Message]
    ) -> Iterator[Part]:
        """Yield what the prompt is made of."""
        always = sum(one.tokens for one in self._always if one.entry.position is not Position.DEPTH)
        examples = len(self._example_starts) - 1
        exchanges = [start for start in _exchange_starts(turns) if start >= self._steps[0].first]
        pieces = {
            Kind.ALWAYS: (len(self._always), len(self._always) + len(self._no_room)),
            Kind.EXAMPLES: (examples - step.example, examples),
            Kind.LORE: (len(step.standing), len(step.standing) + len(step.without_room)),
            Kind.TURNS: (sum(start >= step.first for start in exchanges), len(exchanges)),
            Kind.NOTES: (len(self._frame.notes) if step.notes else 0, len(self._frame.notes)),
        }
        moved = {Kind.SYSTEM: -always, Kind.ALWAYS: always, Kind.HEAD: self._head}
        moved[Kind.TURNS] = self._turn_ends[len(turns)] - self._turn_ends[step.first]
        if messages and messages[-1].role is Role.ASSISTANT:  # it is left open, to be gone on with
            closing = self.cost(messages[-1]) - self._engine.count_tokens(messages[-1:])
            last = Kind.TURNS if turns else Kind.EXAMPLES
            moved[last] = moved.get(last, 0) - closing
            moved[Kind.HEAD] = 0
        for kind in Kind:
            costs = [self.cost(message) for one, _, message in rows if one is kind]
            tokens = sum(costs) + moved.get(kind, 0)
            kept, of = pieces.get(kind, (1, 1) if tokens else (0, 0))
            if of:
                yield Part(kind, tokens, kept, of)


def _end(turns: Sequence[Message]) -> int:
    """Return before which place the next answer is said: the last turn may be one that is gone on with."""
    return len(turns) - (bool(turns) and turns[-1].role is Role.ASSISTANT)


def _exchange_starts(messages: Sequence[Message]) -> list[int]:
    """Return where each exchange begins: with a turn of the person's, or with the first turn of all."""
    return [place for place, m in enumerate(messages) if m.role is Role.USER or not place]
