"""Expands the macros in a persona's text: `{{char}}`, `{{user}}`, `{{random:a,b}}` and others.

Text is expanded in one pass: the value of a macro is not expanded again, and an unknown macro is left
unchanged. The macro names are those of SillyTavern and of the character card specifications.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Final

from hermes_cli.untrusted.deadline import Deadline

_TOKEN: Final = re.compile(r"\{\{(?!\{)|\}\}|<(?:user|bot|char)>", re.IGNORECASE)
_MAX_DEPTH: Final = 8
_ROLL: Final = re.compile(r"(?:(\d{0,3})d)?(\d{1,6})([+-]\d{1,6})?", re.IGNORECASE)
_NEWLINES: Final = "\r\n"
NAME_LENGTH: Final = 100
"""Longer names are cut to this many characters, because text may contain a name 10,000 times."""
MAX_MARKS: Final = 20_000
"""Maximum number of braces and names, such as `{{`, `}}` and `<user>`, that are read in one text."""
MAX_DRAWS: Final = 1000
"""Maximum number of `{{random}}`, `{{pick}}` and `{{roll}}` in one text."""
MAX_DICE: Final = 10_000
MAX_CHOICES: Final = 10_000
FIXED_MACROS: Final = frozenset({"char", "user", "bot", "original", "newline", "time", "date", "trim"})
"""The macros without a colon."""
MAX_VARIABLES: Final = 64 << 20
"""Maximum number of characters that variables insert in one text."""
MAX_ORIGINAL: Final = 1_000_000
"""Maximum number of characters that `{{original}}` inserts in one text."""


def _now() -> datetime:
    return datetime.now().astimezone()


@dataclass(frozen=True, slots=True)
class Macros:
    """The values of the macros in one conversation.

    With the same `seed`, random macros have the same values at the same places. `variables` are additional
    macros, whose names are case-sensitive.
    """

    char: str
    user: str
    seed: int = 0
    clock: Callable[[], datetime] = field(default=_now)
    variables: Mapping[str, str] = field(default_factory=dict)

    def fill(
        self,
        text: str,
        place: str = "",
        moment: int = 0,
        original: str | None = None,
        deadline: Deadline | None = None,
    ) -> str:
        """Return `text` with each macro replaced by its value.

        `place` identifies the text in the conversation. `{{random}}` and `{{roll}}` get a new value for each
        `moment`, but `{{pick}}` keeps its value. `original` is the value of `{{original}}`; if it is None,
        that macro is left unchanged. So are macros beyond the limits of this module, and all macros of a text
        that is filled after the deadline; both are added to `deadline.skipped`.
        """
        if "{{" not in text and "<" not in text:  # without a look at the clock, for thousands of texts
            return text
        deadline = deadline or Deadline()
        with deadline:
            if _TOKEN.search(text) is None:
                return text
            if deadline.is_over:
                deadline.skipped["macros"] = f"not all were filled in within {deadline.seconds:g} s"
                return text
            expansion = _Expansion(self, f"{self.seed}/{place}", moment, original)
            filled = expansion.fill(text)
            if expansion.is_limited:
                deadline.skipped["macros"] = "a text has too many, and some of them are unchanged"
            return filled


@dataclass(slots=True)
class _Part:
    """A piece of the result. `is_literal` is false for the value of a macro; `trims` marks a `{{trim}}`."""

    text: str
    is_literal: bool = True
    trims: bool = False


class _Expansion:
    """The expansion of one text."""

    def __init__(self, macros: Macros, place: str, moment: int, original: str | None) -> None:
        self._macros = macros
        self._place = place
        self._moment = moment
        self._original = original
        self._draws = self._dice = self._inserted = self._inserted_variables = 0
        self.is_limited = False

    def fill(self, text: str) -> str:
        """Expand the text in linear time. Macros nested deeper than _MAX_DEPTH are left unchanged.

        `is_limited` is set if macros are left unchanged because they exceed a limit.
        """
        frames: list[list[_Part]] = [[]]
        at, too_deep = 0, 0
        for number, token in enumerate(_TOKEN.finditer(text)):
            if number == MAX_MARKS:
                self.is_limited = True
                break
            frames[-1].append(_Part(text[at : token.start()]))
            at, mark = token.end(), token[0]
            if mark == "{{" and len(frames) <= _MAX_DEPTH:
                frames.append([])
            elif mark == "}}" and len(frames) > 1 and not too_deep:
                inside = frames.pop()
                frames[-1] += self._expanded(inside)
            elif mark.startswith("<"):
                frames[-1].append(_Part(self._name(mark[1:-1]), is_literal=False))
            else:
                too_deep += (mark == "{{") - (mark == "}}" and too_deep > 0)
                frames[-1].append(_Part(mark))
        frames[-1].append(_Part(text[at:]))
        whole = frames[0]
        for unclosed in frames[1:]:
            whole += [_Part("{{"), *unclosed]
        return _joined(whole)

    def _expanded(self, inside: list[_Part]) -> list[_Part]:
        """Return the value of the macro that encloses `inside`, or the macro itself if it is unknown."""
        written = _joined(inside)
        name, mark, rest = written.partition(":")
        name = name.strip().lower()
        if written.lstrip().startswith("//") or (mark and name in {"comment", "hidden_key"}):
            return []
        if not mark and name == "trim":
            return [_Part("", trims=True)]
        value = self._random_value(name, inside, rest.strip()) if mark else self._fixed_value(name)
        if value is None and not mark:
            value = self._variable(written.strip())
        return [_Part("{{"), *inside, _Part("}}")] if value is None else [_Part(value, is_literal=False)]

    def _fixed_value(self, name: str) -> str | None:
        now = self._macros.clock
        match name:
            case "char" | "user" | "bot":
                return self._name(name)
            case "original":
                return self._original_text()
            case "newline":
                return "\n"
            case "time":
                return now().strftime("%H:%M")
            case "date":
                return f"{now():%B} {now().day}, {now().year}"
        return None

    def _variable(self, name: str) -> str | None:
        value = self._macros.variables.get(name)
        self._inserted_variables += len(value or "")
        if self._inserted_variables > MAX_VARIABLES:
            self.is_limited = True
            return None
        return value

    def _original_text(self) -> str | None:
        self._inserted += len(self._original or "")
        if self._inserted > MAX_ORIGINAL:
            self.is_limited = True
            return None
        return self._original

    def _name(self, macro: str) -> str:
        name = self._macros.user if macro.lower() == "user" else self._macros.char
        return name[:NAME_LENGTH]

    def _random_value(self, name: str, inside: list[_Part], rest: str) -> str | None:
        if name not in {"random", "pick", "roll"}:
            return None
        if self._draws == MAX_DRAWS:
            self.is_limited = True
            return None
        match name:
            case "random":
                return self._next_generator(self._moment).choice(_choices(inside))
            case "pick":
                return self._next_generator("pick").choice(_choices(inside))
        return self._roll(rest.lstrip(": "))

    def _roll(self, text: str) -> str | None:
        """Return the sum of dice such as `d20`, `2d6+1` or `20`, or None if the text is invalid."""
        match = _ROLL.fullmatch(text)
        if match is None:
            return None
        count, sides, modifier = int(match[1] or 1), int(match[2]), int(match[3] or 0)
        if not count or not sides:
            return None
        self._dice += count
        if self._dice > MAX_DICE:
            self.is_limited = True
            return None
        generator = self._next_generator(self._moment)
        return str(sum(generator.randint(1, sides) for _ in range(count)) + modifier)

    def _next_generator(self, moment: object) -> Random:
        self._draws += 1
        return Random(f"{self._place}/{self._draws}/{moment}")  # noqa: S311 - reproducible, not for security


def _joined(parts: list[_Part]) -> str:
    """Join the parts, without the line breaks around each `{{trim}}`."""
    pieces: list[str] = []
    trimming = False
    for part in parts:
        if part.trims:
            while pieces and not (stripped := pieces[-1].rstrip(_NEWLINES)):
                pieces.pop()
            if pieces:
                pieces[-1] = stripped
            trimming = True
            continue
        text = part.text.lstrip(_NEWLINES) if trimming else part.text
        if text:
            pieces.append(text)
            trimming = False
    return "".join(pieces)


def _choices(inside: list[_Part]) -> list[str]:
    r"""Return the choices of `{{random:a,b}}` or `{{random::a::b}}`; `\,` is a comma in a choice.

    The value of a nested macro is not split, so a name with a comma is one choice. Text after MAX_CHOICES
    choices belongs to the last one.
    """
    head = inside[0].text.partition(":")[2]  # the first part begins with the macro's name
    mark = re.compile("::") if head.startswith(":") else re.compile(r"(?<!\\),")
    choices = [[""]]
    for part in [_Part(head.removeprefix(":")), *inside[1:]]:
        splits = MAX_CHOICES - len(choices) if part.is_literal else 0
        pieces = mark.split(part.text, splits) if splits else [part.text]
        choices[-1].append(pieces[0])
        choices += ([piece] for piece in pieces[1:])
    return ["".join(choice).strip().replace("\\,", ",") for choice in choices]
