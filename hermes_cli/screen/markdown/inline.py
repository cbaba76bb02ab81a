"""Inline Markdown (emphasis, code, links, speech) as styled text.

Every piece of text is sanitized again, since an entity such as `&#x202E;` is decoded only after the text was
first sanitized. The target of a link is shown after it.
"""

import re
from collections import deque
from collections.abc import Mapping
from os.path import commonprefix
from typing import Any

from markdown_it.token import Token
from rich.style import Style
from rich.text import Span, Text

from hermes_cli.screen import theme
from hermes_cli.screen.markdown.block_structure import References, parser
from hermes_cli.screen.sanitize import sanitize

Extent = tuple[int, int]
"""The begin and end offsets of a part of the text with markup."""
_STYLES = {"em_open": theme.EMPHASIS, "strong_open": theme.STRONG, "s_open": theme.STRUCK}
_OPEN = re.compile(r"(?<!\w)_+(?=[^\s_])|(?<!\*)\*+(?=[^\s*])|~~(?=[^\s~])|`+|&#?\w*\Z")
"""A marker left in the parsed text that may open markup that is not closed yet."""
_OPEN_AUTOLINK = re.compile(r"<[^\s<>]*\Z")
"""The beginning of an address between angle brackets, which are not shown once the address is complete."""
_UNFINISHED = " *_`~\n"
_QUOTES = re.compile(r'["“”]')
_INCOMPLETE_TARGET = re.compile(r"\[[^\[\]]+\]\([^()<>\s]+\Z")
_PLAIN = re.compile(r"[^\n\\`*_~\[<&]*")
"""Text without markup. (Only `](` and `![` use the other markers, and both need a bracket.)"""
MAX_CLOSERS = 8


def render_inline(content: str, references: References, *, speech: bool = False) -> Text:
    """Return inline Markdown as styled text with line breaks. `speech` highlights quoted speech."""
    text = _parsed(content, references)
    if speech:
        _mark_speech(text)
    return text


def render_partial_inline(content: str, references: References, *, speech: bool = False) -> tuple[Text, int]:
    """Return incomplete inline Markdown as styled text, and the number of final characters.

    Markup that is open at the end is shown as if it were closed there, so that emphasis is visible from its
    first word on. The final characters end where emphasis, code, an entity, a link or a link definition may
    begin.
    """
    content = content.rstrip(_UNFINISHED)
    extents: list[Extent] = []
    strict = _parsed(content, references, extents)
    settled = _settled(strict.plain, extents)
    text = _with_markup_closed(content, strict, references)
    if text is not strict:
        settled = min(settled, len(commonprefix([text.plain, strict.plain])))  # noqa: RUF071 - not paths
    if speech:
        _mark_speech(text)
    return text, settled


def _settled(plain: str, extents: list[Extent]) -> int:
    opened = (_OPEN.search(plain), _OPEN_AUTOLINK.search(plain))
    end = min(*(found.start() if found else len(plain) for found in opened), _open_bracket(plain))
    # Markup that begins there may include the closing marker of markup that began before it.
    for begin, extent_end in sorted(extents, reverse=True):
        if begin < end < extent_end:
            end = begin
    return end


def _open_bracket(plain: str) -> int:
    """Return the offset of the first bracket that may still begin a link, or the length of the text."""
    brackets: list[int] = []
    end = len(plain)
    last = {closing: plain.rfind(closing) for closing in ")]"}
    for place, character in enumerate(plain):
        if character == "[":
            brackets.append(place)
        elif character == "]" and brackets:
            begin = brackets.pop()
            if _may_become_link(plain, begin, place + 1, last):
                end = min(end, begin)
    return min([end, *brackets])


def _may_become_link(plain: str, begin: int, place: int, last: Mapping[str, int]) -> bool:
    """Return whether the text in brackets from `begin` to `place` may still become a link.

    `last` holds the offsets of the last closing parenthesis and of the last closing bracket.
    """
    match plain[place : place + 1]:
        case "":
            return True
        case "(":
            return last[")"] < place
        case "[":
            return last["]"] < place
        case ":":
            return begin == 0
    return False


def _parsed(content: str, references: References, extents: list[Extent] | None = None) -> Text:
    """Return inline Markdown as text, and add the extent of each part with markup to `extents`."""
    if _PLAIN.fullmatch(content):
        return Text(_printable(content))
    env: dict[str, Any] = {"references": references}
    md = parser()
    tokens: list[Token] = []
    md.inline.parse(content, md, env, tokens)
    return _text(tokens, [] if extents is None else extents)


def _with_markup_closed(content: str, text: Text, references: References) -> Text:
    """Return the text as if all open markup were closed at its end."""
    if _INCOMPLETE_TARGET.search(content):  # a link whose target is incomplete
        closed = f"{content})"
        return _with_markup_closed(closed, _parsed(closed, references), references)[:-1]
    opened = [found[0] for found in _OPEN.finditer(text.plain)]
    if not opened or len(opened) > MAX_CLOSERS:
        return text
    for closers in (opened, opened[-1:]):
        closed_text = _parsed(content + "".join(reversed(closers)), references)
        if len(_OPEN.findall(closed_text.plain)) < len(opened):
            return closed_text
    return text


def _text(tokens: list[Token], extents: list[Extent]) -> Text:
    """Return markdown-it's inline tokens as text, and add the extents of parts with markup to `extents`."""
    text = _StyledParts()
    for token in tokens:
        begin = text.length
        if token.nesting == 1:
            text.open(_STYLES.get(token.type, theme.PLAIN), str(token.attrs.get("href", "")))
        elif token.nesting == -1:
            extents.append((text.close(), text.length))
        else:
            text.add_leaf(token)
            if token.type != "text":
                extents.append((begin, text.length))
    return Text("".join(text.parts), spans=text.spans)


class _StyledParts:
    """The parts of a text that is being built, and its styles; `Text.append` takes longer."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0
        self.spans: list[Span] = []
        self._style = theme.PLAIN
        self._open: list[tuple[int, int, Style, str]] = []

    def open(self, style: Style, target: str) -> None:
        """Begin a part with a style, or with the target of a link."""
        self._open.append((self.length, len(self.parts), self._style, target))
        self._style += style

    def close(self) -> int:
        """End the part that was opened last, and return its begin offset."""
        begin, part, self._style, target = self._open.pop()
        self._end_link(target, begin, part)
        return begin

    def add_leaf(self, token: Token) -> None:
        """Add text, a line break, code or an image."""
        match token.type:
            case "image":
                alt = _text(token.children or [], []).plain
                self._add_untrusted(f"[{alt or 'image'}]", self._style)
                self._end_link(str(token.attrs.get("src", "")), self.length, len(self.parts))
            case "softbreak" | "hardbreak":
                self._add("\n", theme.PLAIN)
            case "code_inline":
                self._add_untrusted(token.content, self._style + theme.CODE)
            case _:
                self._add_untrusted(token.content, self._style)

    def _add_untrusted(self, string: str, style: Style) -> None:
        self._add(_printable(string), style)

    def _add(self, string: str, style: Style) -> None:
        self.parts.append(string)
        end = self.length + len(string)
        if string and style:
            self.spans.append(Span(self.length, end, style))
        self.length = end

    def _end_link(self, target: str, begin: int, part: int) -> None:
        """Append the target of a link, unless the text of the link is already the target."""
        target = sanitize(target)
        if not target:
            return
        is_shorter = self.length - begin <= len(target)
        if not is_shorter or "".join(self.parts[part:]) not in {target, target.removeprefix("mailto:")}:
            self._add(f" ({target})", theme.TARGET)


def _printable(string: str) -> str:
    return string if string.isprintable() else sanitize(string).replace("\t", "    ")


def _mark_speech(text: Text) -> None:
    """Style text in quotation marks, up to the closing mark or the end."""
    begin: int | None = None
    code = deque(span for span in text.spans if span.style == theme.CODE)
    for found in _QUOTES.finditer(text.plain):
        place = found.start()
        while code and code[0].end <= place:
            code.popleft()
        if code and code[0].start <= place:
            continue
        if begin is not None and found[0] != "“":
            text.stylize(theme.SPEECH, begin, found.end())
            begin = None
        elif begin is None and _is_opening_quote(text.plain, place):
            begin = place
    if begin is not None:
        text.stylize(theme.SPEECH, begin)


def _is_opening_quote(plain: str, place: int) -> bool:
    if plain[place] == "”":
        return False
    before, after = plain[place - 1 : place], plain[place + 1 : place + 2]
    return not before.isalnum() and not after.isspace()
