"""The keys of lore entries: plain text, or regular expressions of limited size."""

import re
from typing import Any, Final

MAX_LENGTH: Final = 2000
"""Maximum characters of a key."""
MAX_SIZE: Final = 10_000
"""Maximum nodes of a compiled expression, of about 300 bytes each. `regex` copies what `{n}` repeats."""
MAX_GROUPS: Final = 100
MAX_TOTAL_SIZE: Final = 200_000
"""Maximum nodes of all expressions of a conversation, about 60 MB."""
FIXED_SIZE: Final = 20
"""The memory of a compiled expression that does not depend on its length, in nodes."""
_IN_WORD: Final = r"[\p{Latin}\p{M}\p{Nd}_]"
"""The characters that continue a word. Letters of other scripts do not: their words have endings, or no
spaces between them, and SillyTavern looks at ASCII letters only."""
_KEY: Final = re.compile(r"/(.+)/([dgimsuy]*)", re.DOTALL)
_JAVASCRIPT: Final = re.compile(
    r"\\k<(?P<name>\w+)>|\\.|(?P<any>\[\^\])|(?P<none>\[\])|\[(?:\\.|[^\]\\])*(?:\]|\Z)|(?P<end>\$)",
    re.DOTALL,
)
"""What may differ in JavaScript, and what must be skipped: escapes and character sets."""
_CODE_POINT: Final = re.compile(r"\\u\{0*([0-9A-Fa-f]{1,6})\}|\\.", re.DOTALL)
_TOKEN: Final = re.compile(
    r"""\(\?\#(?:\\.|[^\\)])*\)
    |(?P<flags>\(\?[A-Za-z0-9-]*[xV])
    |(?P<open>\()|(?P<close>\))
    |\{(?P<least>\d*)(?:,\d*)?\}
    |[*+?|]
    |(?P<item>\\.|\[\^?\]?(?:\\.|\[:\^?[\w\ &.-]*(?:[:=][\w\ &./-]*)?:\]|[^\]\\])*\]|.)""",
    re.ASCII | re.DOTALL | re.VERBOSE,
)


def parse_key(key: str) -> tuple[str | None, str]:
    """Return the pattern and the flags of a key such as `/dra+gon/i`; None and "" for plain text."""
    found = _KEY.fullmatch(key.strip())
    return (_from_javascript(found[1], found[2]), found[2]) if found else (None, "")


def _from_javascript(pattern: str, flags: str) -> str:
    r"""Return a pattern of JavaScript for `regex`: `[^]`, `[]`, `\k<name>`, `\u{1F600}`, and `$`."""

    def converted(token: re.Match[str]) -> str:
        match token.lastgroup:
            case "name":
                return rf"\g<{token['name']}>"
            case "any":
                return r"[\s\S]"
            case "none":
                return "(?!)"
            case "end" if "m" not in flags:
                return r"\Z"
        return token[0]

    pattern = _JAVASCRIPT.sub(converted, pattern)
    if "u" not in flags:
        return pattern
    return _CODE_POINT.sub(lambda token: rf"\U{int(token[1], 16):08x}" if token[1] else token[0], pattern)


def expression_size(pattern: str) -> int:
    """Return the number of nodes of a pattern after its repetitions are copied, an upper estimate.

    Only the minimum of a repetition is copied, so `.{0,500}` is small and `(?:a{99}){99}` has 9,801 nodes.
    Raises ValueError if the pattern is too large, or if its structure depends on the flags x, V0 or V1.
    """
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"it is longer than {MAX_LENGTH:,} characters")
    if pattern.count("(") > MAX_GROUPS:
        raise ValueError(f"it has more than {MAX_GROUPS} groups")
    sizes = [0]  # of the open groups
    last = 0  # the size of the item that a repetition would apply to
    for token in _TOKEN.finditer(pattern):
        match token.lastgroup:
            case "flags":
                raise ValueError("hermes does not support the flags x, V0 and V1")
            case "open":
                sizes.append(1)
                last = 0
            case "close" if len(sizes) > 1:
                last = sizes.pop()
                sizes[-1] += last
            case "least":
                copies = max(1, int(token["least"] or 0))
                sizes[-1] += last * (copies - 1)
                last *= copies
            case "item":
                last = 1
                sizes[-1] += 1
    if sum(sizes) > MAX_SIZE:
        raise ValueError(f"its repetitions make it larger than {MAX_SIZE:,} characters")
    return sum(sizes)


def compile_plain(word: str, *, case: bool, whole: bool) -> Any:
    """Return a plain key as a compiled pattern. A key of several words is found inside words too."""
    import regex

    literal = regex.escape(word, literal_spaces=True)
    if whole and len(word.split(maxsplit=1)) == 1:
        literal = rf"(?<!{_IN_WORD}){literal}(?!{_IN_WORD})"
    return regex.compile(literal, regex.V0 | (0 if case else regex.IGNORECASE))


def compile_expression(pattern: str, flags: str) -> Any:
    """Return a compiled pattern. Raises ValueError if it is not a regular expression."""
    import regex

    known_flags = {"i": regex.IGNORECASE, "m": regex.MULTILINE, "s": regex.DOTALL}
    try:
        return regex.compile(pattern, regex.V0 | sum(known_flags.get(flag, 0) for flag in set(flags)))
    except (regex.error, RecursionError, OverflowError, MemoryError, ValueError) as error:
        raise ValueError(f"it is not a regular expression: {error}") from error
