"""Runs the regex scripts of a persona on the text of turns.

The rules are SillyTavern's. A script that is invalid or too slow, or whose result is too long, is disabled
for the rest of the conversation. Its result is text like that of any message.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import islice
from typing import Any, Final

from hermes_cli.chat.expressions import REGEX_LIMIT_S, Expressions
from hermes_cli.messages import Message, Role
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.regex_script import MATCH, FindMacros, RegexScript, Target
from hermes_cli.untrusted.deadline import EARLIER_TURN_S, Deadline

MAX_TEXT: Final = 200_000
"""Maximum characters of a text that scripts change, and of the result of a script."""
MAX_MATCHES: Final = 10_000
"""Maximum matches of a script in one text."""
_MAX_REFERENCES: Final = 1_000
"""Maximum references such as `$1` in a replacement."""
_MAX_KEPT: Final = 20_000_000
"""Maximum characters of the results for prompts that are kept."""
_REFERENCE: Final = re.compile(r"\$(?:(?P<number>\d{1,9})|<(?P<name>[^>]+)>)", re.ASCII)
_MACRO: Final = re.compile(r"\{\{[^{}]*\}\}")
_FLAGGED: Final = re.compile(r"/.+/[dgimsuy]*", re.DOTALL)
_SPECIAL: Final = re.compile(r"[\n\r\t\v\f\0.^$*+?{}\[\]\\/|()]")


def target_of(role: Role) -> Target | None:
    """Return the target of the scripts for messages of a role, or None if there is none."""
    return {Role.USER: Target.USER, Role.ASSISTANT: Target.ANSWER}.get(role)


def depth_of_answer(stage: "Stage") -> int | None:
    """Return the depth of an answer for the scripts of a stage. When a message is changed, it has none."""
    return 0 if stage is Stage.DISPLAY else None


class Stage(Enum):
    """When a script runs: when a message is added or edited, displayed, or sent."""

    ADD = auto()
    EDIT = auto()
    DISPLAY = auto()
    PROMPT = auto()


@dataclass(slots=True)
class ScriptState:
    """What the scripts of one conversation keep: expressions, why scripts are disabled, results for prompts.

    `disabled` maps the index of a script to the reason. `reported` has the scripts that have been reported.
    `kept_size` is the number of characters in `results`.
    """

    expressions: Expressions = field(default_factory=lambda: Expressions("this persona's scripts"))
    disabled: dict[int, str] = field(default_factory=dict)
    reported: set[int] = field(default_factory=set)
    results: dict[tuple[object, ...], str] = field(default_factory=dict)
    kept_size: int = 0


@dataclass(frozen=True, slots=True)
class RegexScripts:
    """The regex scripts of a persona. If `is_on` is false, none of them runs."""

    scripts: tuple[RegexScript, ...] = ()
    is_on: bool = True
    state: ScriptState = field(default_factory=ScriptState, compare=False)

    def select(self, target: Target | None, stage: Stage, depth: int | None = None) -> tuple[int, ...]:
        """Return the indices of the scripts that change a text.

        `depth` is the number of messages after it, or None if that is not relevant.
        """
        if not self.is_on:
            return ()
        return tuple(
            number
            for number, script in enumerate(self.scripts)
            if script.enabled
            and target in script.targets
            and script.find
            and number not in self.state.disabled
            and _runs_at(script, stage)
            and (depth is None or _is_in_depth(script, depth))
        )

    def changes_answers(self, *stages: Stage) -> bool:
        """Return whether a script may change an answer at one of these stages."""
        return any(self.select(Target.ANSWER, stage, depth_of_answer(stage)) for stage in stages)

    def run(
        self,
        text: str,
        numbers: Sequence[int],
        macros: Macros,
        *,
        moment: int = 0,
        turns: Sequence[Message] = (),
        deadline: Deadline | None = None,
        is_complete: bool = True,
    ) -> str:
        """Return the text after the scripts with these indices. `moment` and `turns` are for its macros.

        If `is_complete` is false, more text follows, and the result ends where this text may change it. A
        text that is too long, or not changed before the deadline, is returned unchanged.
        """
        limit = deadline or Deadline()
        with limit:
            for number in numbers:
                if len(text) > MAX_TEXT:
                    limit.skipped["regex scripts"] = f"a text is longer than {MAX_TEXT:,} characters"
                    break
                if limit.is_over:
                    limit.skipped["regex scripts"] = f"not all ran within {limit.seconds:g} s"
                    break
                if text and number not in self.state.disabled:
                    fill = _filler(macros, f"regex {number}", moment, turns, limit)
                    text = self._run_one(number, text, fill, limit, is_complete=is_complete)
        return text

    def sent(
        self, turns: Sequence[Message], end: int, macros: Macros, deadline: Deadline
    ) -> Sequence[Message]:
        """Return turns as they are sent. `end` is the index of the answer to generate.

        An answer at `end`, which the model continues, is unchanged. Results are kept, so that later prompts
        begin in the same way.
        """
        changed, state = list(turns), self.state
        results, is_first = state.results, True
        for index, turn in enumerate(turns[:end] if self.scripts else ()):
            numbers = self.select(target_of(turn.role), Stage.PROMPT, end - 1 - index)
            key = (turn.text, numbers, index, macros.user, macros.char)
            text = results.get(key) if numbers else turn.text
            if text is None:
                before = turns[: index + 1]
                deadline.seconds += 0.0 if is_first else EARLIER_TURN_S
                is_first = False
                text = self.run(turn.text, numbers, macros, moment=index, turns=before, deadline=deadline)
                state.kept_size += len(text)
                if state.kept_size > _MAX_KEPT:
                    results.clear()
                    state.kept_size = len(text)
                if not deadline.is_over:
                    results[key] = text
            if text != turn.text:
                changed[index] = Message(turn.role, text)
        return changed

    def new_problems(self) -> list[str]:
        """Return a line about each script that was disabled since the previous call."""
        state = self.state
        new = [number for number in state.disabled if number not in state.reported]
        state.reported.update(new)
        return [
            f"The regex script '{self.scripts[number].title[:60]}' is off: {state.disabled[number]}"
            for number in new
        ]

    def _run_one(
        self, number: int, text: str, fill: "_Fill", deadline: Deadline, *, is_complete: bool
    ) -> str:
        """Return the text after one script. If the script fails, disable it and return the text unchanged."""
        expressions = self.state.expressions
        expression = _expression(self.scripts[number], fill)
        most = MAX_MATCHES + 1 if "g" in expression.rpartition("/")[2] else 1

        def search(pattern: Any) -> list[Any]:
            found = pattern.finditer(text, timeout=REGEX_LIMIT_S, partial=not is_complete)
            return list(islice(found, most))

        matches = expressions.run(expression, search)
        if matches is None:
            self.state.disabled[number] = expressions.disabled.get(expression, "it failed")
            return text
        try:
            return _replaced(text, matches, self.scripts[number], fill, deadline, is_complete=is_complete)
        except _ScriptError as error:
            self.state.disabled[number] = str(error)
            return text


class _ScriptError(Exception):
    """A script exceeds a limit. The message is the reason."""


_Fill = Callable[[str, int], str]
"""Expands the macros in a text for the match with this number."""


def _runs_at(script: RegexScript, stage: Stage) -> bool:
    match stage:
        case Stage.DISPLAY:
            return script.display
        case Stage.PROMPT:
            return script.prompt
    is_for_text = not (script.display or script.prompt)
    return is_for_text and (stage is Stage.ADD or script.on_edit)


def _is_in_depth(script: RegexScript, depth: int) -> bool:
    low, high = script.min_depth, script.max_depth
    return (low is None or depth >= low) and (high is None or depth <= high)


def _filler(macros: Macros, place: str, moment: int, turns: Sequence[Message], deadline: Deadline) -> _Fill:
    def fill(text: str, number: int) -> str:
        return macros.fill(text, f"{place}.{number}", moment, deadline=deadline, turns=turns)

    return fill


def _expression(script: RegexScript, fill: _Fill) -> str:
    """Return the expression of a script between slashes, with its macros expanded if the script says so."""
    find = script.find
    if script.find_macros is FindMacros.FILLED:
        find = fill(find, 0)
    elif script.find_macros is FindMacros.ESCAPED:
        find = _MACRO.sub(lambda macro: _escaped(macro[0], fill(macro[0], 0)), find)
    return find if _FLAGGED.fullmatch(find) else f"/{find}/"


def _escaped(macro: str, value: str) -> str:
    return macro if value == macro else _SPECIAL.sub(lambda character: re.escape(character[0]), value)


def _replaced(
    text: str,
    matches: Sequence[Any],
    script: RegexScript,
    fill: _Fill,
    deadline: Deadline,
    *,
    is_complete: bool,
) -> str:
    """Return the text with the matches replaced. Raises _ScriptError if it exceeds a limit.

    If the text is not complete, leave out what follows the first match that more text could change: one that
    is partial or ends at the end of the text.
    """
    if len(matches) > MAX_MATCHES:
        raise _ScriptError(f"it matches more than {MAX_MATCHES:,} times in one text")
    template = MATCH.sub("$0", script.replace)
    references = list(islice(_REFERENCE.finditer(template), _MAX_REFERENCES + 1))
    if len(references) > _MAX_REFERENCES:
        raise _ScriptError(f"its replacement has more than {_MAX_REFERENCES:,} references")
    trimmed = [part for part in (fill(part, 0) for part in script.trim) if part]
    result, at = _Pieces(), 0
    for number, match in enumerate(matches):
        result.add(text[at : match.start()])
        is_over = deadline.is_over
        if not is_complete and (match.partial or match.end() == len(text) or is_over):
            return result.text
        if is_over:
            raise _ScriptError(f"the scripts of this turn take longer than {deadline.seconds:g} s")
        value, end = _Pieces(), 0
        for reference in references:
            value.add(template[end : reference.start()])
            value.add(_trimmed(_group(match, reference), trimmed))
            end = reference.end()
        value.add(template[end:])
        result.add(fill(value.text, number))
        at = match.end()
    result.add(text[at:])
    return result.text


class _Pieces:
    """Pieces of a text with at most MAX_TEXT characters. `add` raises _ScriptError if they are longer."""

    def __init__(self) -> None:
        self._pieces = list[str]()
        self._size = 0

    def add(self, piece: str) -> None:
        self._size += len(piece)
        if self._size > MAX_TEXT:
            raise _ScriptError(f"its result is longer than {MAX_TEXT:,} characters")
        self._pieces.append(piece)

    @property
    def text(self) -> str:
        return "".join(self._pieces)


def _trimmed(text: str, parts: Sequence[str]) -> str:
    for part in parts:
        text = text.replace(part, "")
    return text


def _group(match: Any, reference: re.Match[str]) -> str:
    """Return the text of a group, or an empty string if there is no such group."""
    key = int(reference["number"]) if reference["number"] else reference["name"]
    try:
        return match[key] or ""
    except (IndexError, OverflowError):
        return ""
