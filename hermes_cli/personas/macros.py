"""Expands the macros in a persona's text: `{{char}}`, `{{user}}`, `{{random:a,b}}` and others.

Text is expanded in one pass: the value of a macro is not expanded again, and an unknown macro is left
unchanged and reported. The macro names are those of SillyTavern and of the character card specifications.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import Final

from hermes_cli.messages import Message, Role
from hermes_cli.personas.macro_times import TIMES, duration_text, time_text
from hermes_cli.store.records import MAX_VARIABLES
from hermes_cli.untrusted.deadline import Deadline

_TOKEN: Final = re.compile(r"\{\{(?!\{)|\}\}|<(?:user|bot|char|group|charifnotgroup)>", re.IGNORECASE)
_GROUP: Final = frozenset({"group", "charifnotgroup"})
_CHARACTER: Final = frozenset({"char", "bot", "notchar", *_GROUP})
_LAST: Final = {
    "lastmessage": frozenset(Role),
    "lastusermessage": frozenset({Role.USER}),
    "lastcharmessage": frozenset({Role.ASSISTANT}),
}
"""The macros that insert an earlier message, and the roles of these messages."""
_DRAWS: Final = frozenset({"random", "pick", "roll"})
_KNOWN: Final = _DRAWS | {"original", "getvar", "setvar"}
"""Macros that are left unchanged if their arguments are invalid, and that are still known."""
_NAME: Final = re.compile(r"\s*([A-Za-z_#/.][\w./-]{0,39})(?=\s|:|\Z)", re.ASCII)
_MAX_DEPTH: Final = 8
_ROLL: Final = re.compile(r"(?:(\d{0,3})d)?(\d{1,6})([+-]\d{1,6})?", re.IGNORECASE)
_NEWLINES: Final = "\r\n"
TEXTS: Final = (
    *("persona", "description", "personality", "scenario", "mesexamples"),
    *("chardepthprompt", "creatornotes"),
)
"""The macros for texts of the persona, and for the user's description, in lower case."""
USER_TEXT: Final = TEXTS[0]
"""The macro for the user's description."""
NAME_LENGTH: Final = 100
"""Longer names are cut to this many characters, because text may contain a name 10,000 times."""
GROUP_LENGTH: Final = 1000
MAX_MARKS: Final = 20_000
"""Maximum number of braces and names, such as `{{`, `}}` and `<user>`, that are read in one text."""
MAX_DRAWS: Final = 1000
"""Maximum number of `{{random}}`, `{{pick}}` and `{{roll}}` in one text."""
MAX_DICE: Final = 10_000
MAX_CHOICES: Final = 10_000
MAX_TEMPLATE_VALUES: Final = 64 << 20
"""Maximum number of characters that the values of a template insert in one text."""
MAX_ORIGINAL: Final = 1_000_000
"""Maximum number of characters that `{{original}}` and other macros with long values insert in one text."""
MAX_VARIABLE: Final = 10_000
"""Maximum number of characters of a variable."""
MAX_UNKNOWN: Final = 20
"""Maximum number of unknown macros that are reported."""
FIXED_MACROS: Final = frozenset(
    {"user", "original", "newline", "noop", "trim", "idle_duration", *_CHARACTER, *TEXTS, *_LAST, *TIMES}
)
"""The macros without a colon."""


def _now() -> datetime:
    return datetime.now().astimezone()


@dataclass(slots=True)
class MacroState:
    """What the macros of one conversation change.

    `variables` are those of `{{setvar}}`. `unknown` maps the names of unknown macros to whether they have
    been reported. `idle_s` is the time between the user's last two turns.
    """

    variables: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, bool] = field(default_factory=dict)
    idle_s: float | None = None


@dataclass(frozen=True, slots=True)
class Macros:
    """The values of the macros in one conversation.

    With the same `seed`, random macros have the same values at the same places. `texts` maps the names of
    macros in lower case, such as `scenario`, to texts of the persona, whose macros are not expanded yet.
    `template_values` are additional macros, whose names are case-sensitive. `group` has the names of all
    characters if there are several.
    """

    char: str
    user: str
    seed: int = 0
    clock: Callable[[], datetime] = field(default=_now)
    texts: Mapping[str, str] = field(default_factory=dict)
    template_values: Mapping[str, str] = field(default_factory=dict)
    state: MacroState = field(default_factory=MacroState, compare=False)
    group: str = ""

    def fill(
        self,
        text: str,
        place: str = "",
        moment: int = 0,
        *,
        original: str | None = None,
        deadline: Deadline | None = None,
        turns: Sequence[Message] = (),
    ) -> str:
        """Return `text` with each macro replaced by its value.

        `place` identifies the text in the conversation. `{{random}}` and `{{roll}}` get a new value for each
        `moment`, but `{{pick}}` keeps its value. `original` is the value of `{{original}}`; if it is None,
        that macro is left unchanged. So are macros beyond the limits of this module, and all macros of a text
        that is filled after the deadline; both are added to `deadline.skipped`. `turns` are the messages of
        the conversation so far, for `{{lastMessage}}` and similar macros.
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
            expansion = _Expansion(
                self, f"{self.seed}/{place}", moment, original=original, turns=turns, deadline=deadline
            )
            filled = expansion.fill(text)
            if expansion.is_limited:
                deadline.skipped["macros"] = "a text has too many, and some of them are unchanged"
            return filled

    def persona_text(self, name: str, deadline: Deadline) -> str:
        """Return the text of the persona that a macro inserts; empty if there is none."""
        return replace(self, texts={}).fill(self.texts.get(name, ""), name, deadline=deadline)


@dataclass(slots=True)
class _Part:
    """A piece of the result. `is_literal` is false for the value of a macro; `trims` marks a `{{trim}}`."""

    text: str
    is_literal: bool = True
    trims: bool = False


class _Expansion:
    """The expansion of one text."""

    def __init__(
        self,
        macros: Macros,
        place: str,
        moment: int,
        *,
        original: str | None,
        turns: Sequence[Message],
        deadline: Deadline,
    ) -> None:
        self._macros = macros
        self._place = place
        self._moment = moment
        self._original = original
        self._turns = turns
        self._deadline = deadline
        self._texts = dict[str, str]()
        self._draws = self._dice = self._inserted = self._inserted_values = 0
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
        if name.startswith("roll "):  # {{roll d6}}
            name, rest, mark = "roll", written.split(maxsplit=1)[1], ":"
        value = self._value_of(name, inside, rest) if mark else self._fixed_value(name)
        if value is None and not mark:
            value = self._template_value(written.strip())
        if value is None:
            self._note_unknown(written)
            return [_Part("{{"), *inside, _Part("}}")]
        return [_Part(value, is_literal=False)]

    def _note_unknown(self, written: str) -> None:
        """Record the name of a macro that is left unchanged because it is unknown."""
        found, unknown = _NAME.match(written), self._macros.state.unknown
        if found and len(unknown) < MAX_UNKNOWN and found[1].lower() not in _KNOWN and not self.is_limited:
            unknown.setdefault(found[1], False)

    def _fixed_value(self, name: str) -> str | None:
        if name == "user" or name in _CHARACTER:
            return self._name(name)
        if name in {"newline", "noop"}:
            return "\n" if name == "newline" else ""
        if name == "original" or name in self._macros.texts:
            return self._limited(self._original if name == "original" else self._persona_text(name))
        if name in _LAST:
            last = (turn.text for turn in reversed(self._turns) if turn.role in _LAST[name])
            return self._limited(next(last, ""))
        if name == "idle_duration":
            return duration_text(self._macros.state.idle_s)
        return time_text(name, self._macros.clock())

    def _template_value(self, name: str) -> str | None:
        value = self._macros.template_values.get(name)
        self._inserted_values += len(value or "")
        return self._within_limit(value, self._inserted_values <= MAX_TEMPLATE_VALUES)

    def _persona_text(self, name: str) -> str:
        """Return a text of the persona. It is expanded once, because a text may contain it 10,000 times."""
        if name not in self._texts:
            self._texts[name] = self._macros.persona_text(name, self._deadline)
        return self._texts[name]

    def _value_of(self, name: str, inside: list[_Part], rest: str) -> str | None:
        """Return the value of a macro with arguments, which follow its name and a colon."""
        if name == "reverse":
            return rest[::-1]
        if name in {"getvar", "setvar"} and rest.startswith(":"):
            return self._variable(name, rest[1:])
        return self._random_value(name, inside, rest.strip())

    def _variable(self, macro: str, arguments: str) -> str | None:
        """Return the value of a variable, or set it and return an empty string."""
        variables = self._macros.state.variables
        name, mark, value = arguments.partition("::")
        name = name.strip()[:NAME_LENGTH]
        if macro == "getvar":
            return self._limited(variables.get(name, ""))
        if not mark or (name not in variables and len(variables) == MAX_VARIABLES):
            self.is_limited = self.is_limited or bool(mark)
            return None
        variables[name] = value[:MAX_VARIABLE]
        return ""

    def _limited(self, value: str | None) -> str | None:
        """Return a value, or None if the values in this text have become too long."""
        self._inserted += len(value or "")
        return self._within_limit(value, self._inserted <= MAX_ORIGINAL)

    def _within_limit(self, value: str | None, is_within: bool) -> str | None:  # noqa: FBT001 - a condition
        self.is_limited = self.is_limited or not is_within
        return value if is_within else None

    def _name(self, macro: str) -> str:
        macros, macro = self._macros, macro.lower()
        if macro in _GROUP and macros.group:
            return macros.group[:GROUP_LENGTH]
        if macro == "notchar":
            others = [name for name in macros.group.split(", ") if name != macros.char]
            return ", ".join(filter(None, (*others, macros.user)))[:GROUP_LENGTH]
        return (macros.user if macro == "user" else macros.char)[:NAME_LENGTH]

    def _random_value(self, name: str, inside: list[_Part], rest: str) -> str | None:
        if name not in _DRAWS:
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


def unknown_macros(texts: Iterable[str]) -> list[str]:
    """Return the names of the unknown macros in texts, at most MAX_UNKNOWN."""
    macros = Macros("", "", texts=dict.fromkeys(TEXTS, ""))
    with Deadline() as limit:
        for text in texts:
            macros.fill(text, deadline=limit)
    return list(macros.state.unknown)


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
