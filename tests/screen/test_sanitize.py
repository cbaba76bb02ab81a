# ruff: noqa: RUF001 - the tests need other alphabets
"""Sanitizing removes all characters that can control a terminal and changes no ordinary text."""

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.screen.sanitize import sanitize, sanitize_line

any_text = st.text(st.characters())  # lone surrogates and noncharacters included

ATTACKS = [
    "\x1b[2J\x1b[H",  # clear the screen
    "\x1b]0;owned\x07",  # set the window title
    "\x1b]52;c;cm0gLXJm\x07",  # write the clipboard
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",  # a link to elsewhere
    "\x9b31m",  # 8-bit CSI
    "\x90q\x9c",  # 8-bit DCS
    "\x1bP+q544e\x1b\\",
    "safe\rEVIL",
    "abc\b\b\bxyz",
    "user\u202egpj.exe",  # right-to-left override
    "\u2066\u2069\u200e\u200f\u061c",
    "hidden\U000e0069\U000e0067\U000e006e",  # invisible tag characters
    "\ufeff\ufff9a\ufffab\ufffb",
    "\ud800\udfff",
    "\ufdd0\uffff\U0010ffff",
    "\u2028\u2029\x85\x0b\x0c\x00\x7f",
    "\x0e\x0f",  # shift to the line-drawing character set
]

ORDINARY = [
    "plain ASCII, with\ttabs\nand lines\n",
    "Grüße, naïve façade, Ærøskøbing, İstanbul",
    "e\u0301 n\u0303 — combining marks, Việt, Z\u0351\u0343a",
    "Привет, мир; Γειά σου Κόσμε; Բարեւ; გამარჯობა",
    "مرحبا بالعالم، می\u200cخواهم",  # ZWNJ belongs to Persian spelling
    "שלום עולם",
    "नमस्ते क्\u200dष, বাংলা, தமிழ், ไทย\u200bภาษา, ខ្មែរ, မြန်မာ",  # ZWJ and ZWSP
    "日本語、中文、한국어、葛\U000e0100",  # an ideographic variation sequence
    "👩\u200d👩\u200d👧\u200d👦 ❤\ufe0f 👍🏽 🇩🇪 1\ufe0f\u20e3 🏳\ufe0f\u200d🌈",
    "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋ √2 ½ €£¥ “quotes” … – soft\u00adhyphen no\u00a0break\u202fspace",
    "├── tree │ └── ▓▒░ ⠿ \ue0b0",
]


def dangerous(text: str) -> list[str]:
    """Return the characters that Unicode's tables call control, surrogate, noncharacter or reordering."""
    bidi = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return [
        c
        for c in text
        if (unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} and c not in "\n\t")
        or unicodedata.bidirectional(c) in bidi
        or c in "\u200e\u200f\u061c\ufeff"
        or 0xE0000 <= ord(c) <= 0xE007F
        or ord(c) & 0xFFFE == 0xFFFE
    ]


@pytest.mark.parametrize("attack", ATTACKS)
def test_known_attacks_are_made_harmless(attack: str) -> None:
    """The sanitized text of a known attack holds no dangerous character."""
    assert dangerous(sanitize(attack)) == []


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_unchanged(text: str) -> None:
    """Ordinary text in any language, with emoji, is unchanged."""
    assert sanitize(text) == text


def test_hostile_texts_in_random_chunks_are_made_harmless() -> None:
    """10,000 hostile texts in random chunks are sanitized as in one piece, with no dangerous character."""
    rng = random.Random(20261101)
    harmful = [chr(c) for c in range(0x110000) if dangerous(chr(c))]
    for _ in range(10_000):
        parts = rng.choices(ATTACKS, k=2) + rng.choices(ORDINARY, k=1) + rng.choices(harmful, k=6)
        rng.shuffle(parts)
        text = "".join(parts)
        cuts = sorted(rng.choices(range(len(text) + 1), k=rng.randrange(8)))
        chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        shown = "".join(map(sanitize, chunks))
        assert shown == sanitize(text)
        assert dangerous(shown) == []


@given(any_text, any_text)
def test_any_chunking_gives_the_same_text(a: str, b: str) -> None:
    """The result does not depend on how the text is cut into chunks."""
    assert sanitize(a) + sanitize(b) == sanitize(a + b)


@given(any_text)
def test_sanitizing_is_idempotent_and_gives_valid_utf_8(text: str) -> None:
    """Sanitized text is unchanged by sanitizing again and can be encoded as UTF-8."""
    once = sanitize(text)
    assert sanitize(once) == once
    once.encode("utf-8")


def test_control_characters_become_visible_symbols() -> None:
    """Visible symbols replace control characters; carriage returns and direction marks are removed."""
    assert sanitize("\x1b[0m\x07\x00\x7f") == "\u241b[0m\u2407\u2400\u2421"
    assert sanitize("\x9b1m") == "\ufffd1m"
    assert sanitize("a\r\nb\rc") == "a\nbc"
    assert sanitize("a\u2028b") == "a\nb"
    assert sanitize("\u202eabc\u202c") == "abc"


@given(any_text, st.integers(1, 200))
def test_a_sanitized_line_is_one_line_of_limited_length(text: str, limit: int) -> None:
    """A sanitized line is one line, within its limit, without dangerous characters."""
    line = sanitize_line(text, limit)
    assert len(line) <= limit
    assert not set(line) & {"\n", "\t"}
    assert dangerous(line) == []


def test_a_long_line_ends_with_an_ellipsis() -> None:
    """A line that is longer than the limit is cut and ends with an ellipsis."""
    assert sanitize_line("a\tb\nc") == "a b c"
    assert sanitize_line("x" * 10, 10) == "x" * 10
    assert sanitize_line("x" * 11, 10) == "x" * 9 + "\u2026"


def test_a_notice_hides_no_zero_width_space() -> None:
    """Zero-width spaces and word joiners are removed from one-line notices, but not from text."""
    hidden = "--de\u200bbu\u2060g"
    assert sanitize_line(hidden) == "--debug"
    assert sanitize(hidden) == hidden
