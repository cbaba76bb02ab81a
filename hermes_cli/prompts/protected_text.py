"""Renders a chat template so that no text of a conversation adds a control token."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from hermes_cli.errors import UsageError
from hermes_cli.prompts.template_roles import Turn

_PRIVATE_USE: Final = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))
"""Source: the Unicode Standard, section 23.5."""


class ControlToken(NamedTuple):
    """A control token. If it strips, the tokenizer removes the whitespace on that side of it."""

    id: int
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A control token of a rendered prompt, or the text between two of them, in which `token` is None."""

    text: str
    token: ControlToken | None = None


class ControlSplitter:
    """Splits rendered prompts at control tokens."""

    def __init__(self, control: Mapping[str, ControlToken]) -> None:
        self._control = control
        literals = sorted(filter(None, control), key=len, reverse=True)
        patterns = [
            rf"(?<!\w){re.escape(text)}(?!\w)" if control[text].single_word else re.escape(text)
            for text in literals
        ]
        self._token = re.compile("|".join(patterns) or "(?!)")
        # The set makes the search fast: some vocabularies have a thousand control tokens.
        first = f"[{re.escape(''.join(sorted({text[0] for text in literals})))}]" if literals else "(?!)"
        self._start = re.compile(f"(?={first})(?={'|'.join(map(re.escape, literals))})")
        self.edges = frozenset(edge for text in literals for edge in (text[0], text[-1]))

    def cut(self, text: str, separator: str) -> str:
        """Return the text with `separator` after the first character of each control literal."""
        starts = [match.start() + 1 for match in self._start.finditer(text)]
        parts = itertools.pairwise([0, *starts, len(text)])
        return separator.join(text[start:end] for start, end in parts)

    def pieces(self, text: str) -> list[Piece]:
        """Split a rendered prompt. A control token that strips removes the whitespace beside it."""
        pieces = list[Piece]()
        start, strips = 0, False
        for match in self._token.finditer(text):
            token = self._control[match[0]]
            _add_text(pieces, text[start : match.start()], lstrip=strips, rstrip=token.lstrip)
            pieces.append(Piece(match[0], token))
            start, strips = match.end(), token.rstrip
        _add_text(pieces, text[start:], lstrip=strips, rstrip=False)
        return pieces


def _add_text(pieces: list[Piece], text: str, *, lstrip: bool, rstrip: bool) -> None:
    text = text.lstrip() if lstrip else text
    if text := text.rstrip() if rstrip else text:
        pieces.append(Piece(text))


def render_pieces(
    splitter: ControlSplitter, render: Callable[[Sequence[Turn], str], str], turns: Sequence[Turn]
) -> list[Piece]:
    """Return the prompt of the turns as pieces.

    `render` gets the turns and a character that occurs in none of them. In a first rendering, each control
    literal in a text is cut. The template could still join the parts of a literal, or change a text into one.
    In a second rendering, no text contains the first or last character of a literal. If the control tokens of
    the two differ, the second is used.
    """
    texts = [text for turn in turns for text in (turn.text, turn.reasoning)]
    unused = _unused_characters(texts)
    mark, separator = next(unused), next(unused)
    cut_turns = _changed(turns, lambda text: splitter.cut(text, separator))
    pieces = splitter.pieces(render(cut_turns, mark))
    present = splitter.edges & set[str]().union(*texts)
    if present:
        substitutes = dict(zip(sorted(present), unused, strict=False))
        hide = str.maketrans(substitutes)
        safe_pieces = splitter.pieces(render(_changed(turns, lambda text: text.translate(hide)), mark))
        if _tokens(safe_pieces) != _tokens(pieces):
            show = str.maketrans({hidden: shown for shown, hidden in substitutes.items()})
            return [replace(piece, text=piece.text.translate(show)) for piece in safe_pieces]
    return [replace(piece, text=piece.text.replace(separator, "")) for piece in pieces]


def _changed(turns: Sequence[Turn], change: Callable[[str], str]) -> list[Turn]:
    return [replace(turn, text=change(turn.text), reasoning=change(turn.reasoning)) for turn in turns]


def _tokens(pieces: Iterable[Piece]) -> list[int]:
    return [piece.token.id for piece in pieces if piece.token is not None]


def _unused_characters(texts: Iterable[str]) -> Iterator[str]:
    """Yield private-use characters that no text contains. Raises UsageError if there are none."""
    used = set[str]().union(*texts)
    yield from (c for c in map(chr, itertools.chain(*_PRIVATE_USE)) if c not in used)
    raise UsageError("the text contains every private-use character of Unicode", "remove some of them")
