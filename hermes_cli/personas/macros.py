"""The macros of persona texts: `{{char}}`, `{{user}}`, `{{random:a,b}}` and their like.

It knows names, a seed and one pass over a text. It refuses to evaluate anything: what a macro stands for is
not looked at again, and a macro that it does not know stays as it is. The names are those of SillyTavern and
of the character card specifications.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Final

_TOKEN: Final = re.compile(r"\{\{(?!\{)|\}\}|<(?:user|bot|char)>", re.IGNORECASE)
_MAX_DEPTH: Final = 8
_ROLL: Final = re.compile(r"(?:(\d{0,3})d)?(\d{1,6})([+-]\d{1,6})?", re.IGNORECASE)
_NEWLINES: Final = "\r\n"
NAME_LENGTH: Final = 100
"""Characters of a name that are filled in: a text may name somebody a hundred thousand times."""


def _now() -> datetime:
    return datetime.now().astimezone()


@dataclass(frozen=True, slots=True)
class Macros:
    """What the macros of one conversation stand for.

    The same `seed` draws the same things at the same places.
    """

    char: str
    user: str
    seed: int = 0
    clock: Callable[[], datetime] = field(default=_now)

    def fill(self, text: str, place: str = "", moment: int = 0, original: str | None = None) -> str:
        """Return `text` with each macro replaced by what it stands for.

        `place` names the text among those of the conversation. `{{random}}` and `{{roll}}` draw anew at each
        `moment`, `{{pick}}` does not. `original` is what `{{original}}` stands for, where it stands for
        anything.
        """
        return _Filling(self, f"{self.seed}/{place}", moment, original).fill(text)


@dataclass(slots=True)
class _Part:
    """A piece of the result: `is_written` where it stands in the text itself, `trims` for a `{{trim}}`."""

    text: str
    is_written: bool = True
    trims: bool = False


class _Filling:
    """One pass over one text."""

    def __init__(self, macros: Macros, place: str, moment: int, original: str | None) -> None:
        self._macros = macros
        self._place = place
        self._moment = moment
        self._original = original
        self._draws = 0

    def fill(self, text: str) -> str:
        """Return the text filled in. The work is linear: beyond a depth nothing is a macro."""
        frames: list[list[_Part]] = [[]]
        at, beyond = 0, 0
        for found in _TOKEN.finditer(text):
            frames[-1].append(_Part(text[at : found.start()]))
            at, mark = found.end(), found[0]
            if mark == "{{" and len(frames) <= _MAX_DEPTH:
                frames.append([])
            elif mark == "}}" and len(frames) > 1 and not beyond:
                inside = frames.pop()
                frames[-1] += self._expanded(inside)
            elif mark.startswith("<"):
                frames[-1].append(_Part(self._name(mark[1:-1]), is_written=False))
            else:
                beyond += (mark == "{{") - (mark == "}}" and beyond > 0)
                frames[-1].append(_Part(mark))
        frames[-1].append(_Part(text[at:]))
        whole = frames[0]
        for unclosed in frames[1:]:
            whole += [_Part("{{"), *unclosed]
        return _joined(whole)

    def _expanded(self, inside: list[_Part]) -> list[_Part]:
        """Return what the macro with that inside stands for, or the macro itself."""
        written = _joined(inside)
        name, mark, rest = written.partition(":")
        name = name.strip().lower()
        if written.lstrip().startswith("//") or (mark and name in {"comment", "hidden_key"}):
            return []
        if not mark and name == "trim":
            return [_Part("", trims=True)]
        value = self._drawn(name, inside, rest.strip()) if mark else self._plain(name)
        return [_Part("{{"), *inside, _Part("}}")] if value is None else [_Part(value, is_written=False)]

    def _plain(self, name: str) -> str | None:
        now = self._macros.clock
        match name:
            case "char" | "user" | "bot":
                return self._name(name)
            case "original":
                return self._original
            case "newline":
                return "\n"
            case "time":
                return now().strftime("%H:%M")
            case "date":
                return f"{now():%B} {now().day}, {now().year}"
        return None

    def _name(self, which: str) -> str:
        name = self._macros.user if which.lower() == "user" else self._macros.char
        return name[:NAME_LENGTH]

    def _drawn(self, name: str, inside: list[_Part], rest: str) -> str | None:
        match name:
            case "random":
                return self._chance(self._moment).choice(_choices(inside))
            case "pick":
                return self._chance("pick").choice(_choices(inside))
            case "roll":
                return _rolled(rest.lstrip(": "), lambda: self._chance(self._moment))
        return None

    def _chance(self, moment: object) -> Random:
        self._draws += 1
        return Random(f"{self._place}/{self._draws}/{moment}")  # noqa: S311 - a draw that can be had again


def _joined(parts: list[_Part]) -> str:
    """Return the parts as one text, without the line ends around a `{{trim}}`."""
    done: list[str] = []
    trimming = False
    for part in parts:
        if part.trims:
            while done and not (kept := done[-1].rstrip(_NEWLINES)):
                done.pop()
            if done:
                done[-1] = kept
            trimming = True
            continue
        text = part.text.lstrip(_NEWLINES) if trimming else part.text
        if text:
            done.append(text)
            trimming = False
    return "".join(done)


def _choices(inside: list[_Part]) -> list[str]:
    r"""Return what `{{random:a,b}}` or `{{random::a::b}}` chooses from; `\,` is a comma in one of them.

    Only what the text itself holds parts them: a name that holds a comma stays whole.
    """
    head = inside[0].text.partition(":")[2]  # the macro's name stands in what comes first
    mark = re.compile("::") if head.startswith(":") else re.compile(r"(?<!\\),")
    found = [""]
    for part in [_Part(head.removeprefix(":")), *inside[1:]]:
        pieces = mark.split(part.text) if part.is_written else [part.text]
        found[-1] += pieces[0]
        found += pieces[1:]
    return [one.strip().replace("\\,", ",") for one in found]


def _rolled(dice: str, chance: Callable[[], Random]) -> str | None:
    """Return the sum of dice such as `d20`, `2d6+1` or `20`; None for what are none."""
    found = _ROLL.fullmatch(dice)
    if found is None:
        return None
    count, sides, more = int(found[1] or 1), int(found[2]), int(found[3] or 0)
    if not count or not sides:
        return None
    draw = chance()
    return str(sum(draw.randint(1, sides) for _ in range(count)) + more)
