"""What is written inside a block: emphasis, code, links, speech. Inline Markdown in, a styled text out.

Every piece of text is sanitised once more, since an entity such as `&#x202E;` spells a character that the
sanitiser did not see. A link shows where it leads.
"""

import re
from typing import Any

from markdown_it.token import Token
from rich.style import Style
from rich.text import Text

from hermes_cli.screen import theme
from hermes_cli.screen.markdown.blocks import References, parser
from hermes_cli.screen.sanitize import sanitize

_STYLES = {"em": theme.EMPHASIS, "strong": theme.STRONG, "s": theme.STRUCK}
_OPEN = re.compile(r"(?<!\w)_+(?=[^\s_])|\*+(?=[^\s*])|~~(?=[^\s~])|`+|&#?\w*\Z")
"""What may open something that has not been closed, where it is left over in the parsed text."""
_UNFINISHED = " *_`~\n"
_QUOTES = re.compile(r'["“”]')
_HALF_TARGET = re.compile(r"\[[^\[\]]+\]\([^()<>\s]+\Z")
MAX_CLOSERS = 8


def styled(content: str, references: References, *, speech: bool = False, unfinished: bool = False) -> Text:
    """Return inline Markdown as styled text; a line end is kept.

    `unfinished` text may end in the middle: what is open at its end is shown as if it were closed there, so
    that an emphasis looks like one from its first word on. `speech` tells what stands in quotation marks.
    """
    text = _mended(content, references) if unfinished else _parsed(content, references)
    if speech:
        _mark_speech(text)
    return text


def settled_length(content: str, references: References) -> int:
    """Return how many characters of the styled text no further text can change.

    It ends before the first thing that may be the beginning of emphasis, code, an entity, a link, or a link
    definition.
    """
    plain = _parsed(content.rstrip(_UNFINISHED), references).plain
    found = _OPEN.search(plain)
    end = found.start() if found else len(plain)
    brackets: list[int] = []
    for place, character in enumerate(plain):
        if character == "[":
            brackets.append(place)
        elif character == "]" and brackets:
            begin = brackets.pop()
            if _may_go_on(plain, begin, place + 1):
                end = min(end, begin)
    return min(end, *brackets) if brackets else end


def _may_go_on(plain: str, begin: int, place: int) -> bool:
    """Return whether what stands in brackets, up to `place`, may yet become a link."""
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


def _parsed(content: str, references: References) -> Text:
    env: dict[str, Any] = {"references": dict(references)}
    md = parser()
    tokens: list[Token] = []
    md.inline.parse(content, md, env, tokens)
    return _text(tokens)


def _mended(content: str, references: References) -> Text:
    """Return the text with what is open at its end closed there."""
    shown = content.rstrip(_UNFINISHED)
    if _HALF_TARGET.search(shown):  # the link is there, and where it leads grows
        return _mended(f"{shown})", references)[:-1]
    text = _parsed(shown, references)
    opened = [found[0] for found in _OPEN.finditer(text.plain)]
    if not opened or len(opened) > MAX_CLOSERS:
        return text
    for closers in (opened, opened[-1:]):
        closed = _parsed(shown + "".join(reversed(closers)), references)
        if len(_OPEN.findall(closed.plain)) < len(opened):
            return closed
    return text


def _text(tokens: list[Token]) -> Text:
    """Return markdown-it's inline tokens as text. A style holds from its opening to its closing token."""
    text = Text()
    styles: list[Style] = []
    links: list[tuple[str, int]] = []
    for token in tokens:
        base, _, side = token.type.rpartition("_")
        if side == "open" and base in _STYLES:
            styles.append(_STYLES[base])
        elif side == "close" and base in _STYLES:
            styles.pop()
        elif token.type == "link_open":
            links.append((str(token.attrs.get("href", "")), len(text)))
        elif token.type == "link_close":
            _end_link(text, *links.pop())
        elif token.type == "image":
            alt = _text(token.children or []).plain
            _add(text, f"[{alt or 'image'}]", styles)
            _end_link(text, str(token.attrs.get("src", "")), len(text))
        elif token.type in {"softbreak", "hardbreak"}:
            text.append("\n")
        elif token.type == "code_inline":
            _add(text, token.content, [*styles, theme.CODE])
        else:
            _add(text, token.content, styles)
    return text


def _add(text: Text, words: str, styles: list[Style]) -> None:
    text.append(sanitize(words).replace("\t", "    "), Style.combine(styles) if styles else None)


def _end_link(text: Text, target: str, begin: int) -> None:
    """Show where a link leads, unless its text says so."""
    target = sanitize(target)
    if target and text.plain[begin:] not in {target, target.removeprefix("mailto:")}:
        text.append(f" ({target})", theme.TARGET)


def _mark_speech(text: Text) -> None:
    """Give what stands in quotation marks its style, up to the mark that closes it or the end."""
    begin: int | None = None
    code = [span for span in text.spans if span.style == theme.CODE]
    for found in _QUOTES.finditer(text.plain):
        place = found.start()
        if any(span.start <= place < span.end for span in code):
            continue
        if begin is not None and found[0] != "“":
            text.stylize(theme.SPEECH, begin, found.end())
            begin = None
        elif begin is None and _opens(text.plain, place):
            begin = place
    if begin is not None:
        text.stylize(theme.SPEECH, begin)


def _opens(plain: str, place: int) -> bool:
    if plain[place] == "”":
        return False
    before, after = plain[place - 1 : place], plain[place + 1 : place + 2]
    return not before.isalnum() and not after.isspace()
