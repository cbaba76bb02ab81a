"""Inline Markdown (emphasis, code, links, speech) as styled text.

Every piece of text is sanitized again, since an entity such as `&#x202E;` is decoded only after the text was
first sanitized. The target of a link is shown after it.
"""

import re
from os.path import commonprefix
from typing import Any

from markdown_it.token import Token
from rich.style import Style
from rich.text import Text

from hermes_cli.screen import theme
from hermes_cli.screen.markdown.block_structure import References, parser
from hermes_cli.screen.sanitize import sanitize

Extent = tuple[int, int]
"""The begin and end offsets of a part of the text with markup."""
_STYLES = {"em_open": theme.EMPHASIS, "strong_open": theme.STRONG, "s_open": theme.STRUCK}
_OPEN = re.compile(r"(?<!\w)_+(?=[^\s_])|\*+(?=[^\s*])|~~(?=[^\s~])|`+|&#?\w*\Z")
"""A marker left in the parsed text that may open markup that is not closed yet."""
_UNFINISHED = " *_`~\n"
_QUOTES = re.compile(r'["“”]')
_INCOMPLETE_TARGET = re.compile(r"\[[^\[\]]+\]\([^()<>\s]+\Z")
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
    found = _OPEN.search(plain)
    end = min(found.start() if found else len(plain), _open_bracket(plain))
    # Markup that begins there may include the closing marker of markup that began before it.
    for begin, extent_end in sorted(extents, reverse=True):
        if begin < end < extent_end:
            end = begin
    return end


def _open_bracket(plain: str) -> int:
    """Return the offset of the first bracket that may still begin a link, or the length of the text."""
    brackets: list[int] = []
    end = len(plain)
    for place, character in enumerate(plain):
        if character == "[":
            brackets.append(place)
        elif character == "]" and brackets:
            begin = brackets.pop()
            if _may_become_link(plain, begin, place + 1):
                end = min(end, begin)
    return min([end, *brackets])


def _may_become_link(plain: str, begin: int, place: int) -> bool:
    """Return whether the text in brackets from `begin` to `place` may still become a link."""
    match plain[place : place + 1]:
        case "":
            return True
        case "(":
            return ")" not in plain[place:]
        case "[":
            return "]" not in plain[place:]
        case ":":
            return begin == 0
    return False


def _parsed(content: str, references: References, extents: list[Extent] | None = None) -> Text:
    """Return inline Markdown as text, and add the extent of each part with markup to `extents`."""
    env: dict[str, Any] = {"references": dict(references)}
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
    text = Text()
    begins: list[int] = []
    styles: list[Style] = []
    targets: list[str] = []
    for token in tokens:
        begin = len(text)
        if token.nesting == 1:
            begins.append(begin)
            styles.append(_STYLES.get(token.type, theme.PLAIN))
            targets.append(str(token.attrs.get("href", "")))
        elif token.nesting == -1:
            styles.pop()
            begin = begins.pop()
            _end_link(text, targets.pop(), begin)
            extents.append((begin, len(text)))
        else:
            _add_leaf(text, token, styles)
            if token.type != "text":
                extents.append((begin, len(text)))
    return text


def _add_leaf(text: Text, token: Token, styles: list[Style]) -> None:
    match token.type:
        case "image":
            alt = _text(token.children or [], []).plain
            _add(text, f"[{alt or 'image'}]", styles)
            _end_link(text, str(token.attrs.get("src", "")), len(text))
        case "softbreak" | "hardbreak":
            text.append("\n")
        case "code_inline":
            _add(text, token.content, [*styles, theme.CODE])
        case _:
            _add(text, token.content, styles)


def _add(text: Text, string: str, styles: list[Style]) -> None:
    text.append(sanitize(string).replace("\t", "    "), Style.combine(styles) if styles else None)


def _end_link(text: Text, target: str, begin: int) -> None:
    """Append the target of a link, unless the text of the link is already the target."""
    target = sanitize(target)
    if target and text.plain[begin:] not in {target, target.removeprefix("mailto:")}:
        text.append(f" ({target})", theme.TARGET)


def _mark_speech(text: Text) -> None:
    """Style text in quotation marks, up to the closing mark or the end."""
    begin: int | None = None
    code = [span for span in text.spans if span.style == theme.CODE]
    for found in _QUOTES.finditer(text.plain):
        place = found.start()
        if any(span.start <= place < span.end for span in code):
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
