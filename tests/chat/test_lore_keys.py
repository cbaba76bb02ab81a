"""The size of a regular expression is limited before it is compiled."""

import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import regex

from hermes_cli.chat.lore import LoreMatcher
from hermes_cli.chat.lore_keys import MAX_GROUPS, MAX_SIZE, expression_size
from hermes_cli.messages import Message, Role
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.personas.macros import Macros

A_TURN = [Message(Role.USER, "a word")]


def matcher(*keys: str) -> LoreMatcher:
    """Return the matcher of a book with one entry."""
    return LoreMatcher([Lorebook((LoreEntry("x", keys),))], Macros("", ""))


@pytest.mark.parametrize(
    "pattern",
    [
        "(?:(?:(?:(?:a{99}){99}){99}){99})",
        "(?:(?:(?:a{99,}?){99,}){99,}+){99,}",
        "a{10001}",
        "a{0000000000010001}",
        "(?:a{99}){99}" * 2,
        "(?:a{99}(?#a comment with \\) in it)){99}(?:b{99}){99}",
        "(?:[](]{99}){999}",
        "(?:[^]()]{99}){999}",
        "(?:\\({99}){999}",
        "(?:a{9999}[[:^alpha:](]){99}",
        "(?:[[:(:](?:a{99})]{99}){99}",
        "(?=(?:b{99}){999})",
        "(?:" + "a" * 1000 + "){11}",
        "(?x)(?:(?:a{99} # )\n){99}){99}",
        "(?i-x:a)",
        "(?V1)[[a]()]",
        "(" * (MAX_GROUPS + 1) + ")" * (MAX_GROUPS + 1),
        "a" * 2001,
        "a{99999999999999999999}",
    ],
)
def test_a_large_expression_is_never_compiled(pattern: str) -> None:
    """An expression whose compiled form would be large is reported without a call of `regex.compile`."""
    lore = matcher(f"/{pattern}/")
    with patch("regex.compile", side_effect=AssertionError("compiled")):
        assert lore.fires(A_TURN, {}) == {}
    assert list(lore.disabled_keys) == [f"/{pattern}/"]


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("abc", 3),
        ("a{20}", 20),
        ("a{20,}b", 21),
        (".{0,500}", 1),
        ("[(){}]{3}", 3),
        ("\\{{3}", 3),
        ("a{x}", 4),
        ("dra+gon|wyrm*", 10),
        ("[[:alpha:](]", 1),
        ("[[:script=Latin:](]", 1),
    ],
)
def test_the_size_of_an_expression(pattern: str, size: int) -> None:
    """The size counts each character, class and escape as often as it is copied."""
    assert expression_size(pattern) == size
    regex.compile(pattern, regex.V0)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?:\W+\w+){0,10}?\W+dragon",
        r"\b(?:king|queen)(?:'s)?\b.{0,200}\bthrone\b",
        r"(?<!\w)(?P<n>[A-Z]\w{2,30})(?!\w)",
        r"\d{4}-\d{2}-\d{2}",
    ],
)
def test_an_ordinary_expression_is_small(pattern: str) -> None:
    """Ordinary expressions have at most a hundredth of the limit."""
    assert expression_size(pattern) <= MAX_SIZE // 100


def test_the_expressions_of_a_conversation_are_limited_in_total() -> None:
    """Of 100 expressions with 9,801 nodes each, 20 fit in the limit; the others are reported."""
    keys = [f"/(?:a{{97}}){{99}}{number}/" for number in range(100)]
    lore = matcher(*keys, "word")
    assert lore.fires(A_TURN, {}) == {0: "word"}
    assert list(lore.disabled_keys) == keys[20:]
    assert set(lore.disabled_keys.values()) == {
        "the regular expressions of these books are too large in total"
    }


LIMITED = """
import resource
import sys

import regex

from hermes_cli.chat.lore import LoreMatcher
from hermes_cli.messages import Message, Role
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.personas.macros import Macros

pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
lore = LoreMatcher([Lorebook((LoreEntry("x", (sys.argv[1], "word")),))], Macros("", ""))
print(lore.fires([Message(Role.USER, "ab" * 100_000 + " word")], {}))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the size of the process from /proc")
@pytest.mark.parametrize(
    "key",
    [
        "/(?:(?:(?:(?:a{99}){99}){99}){99})/",
        "/(?:(?:(?:a{0,99}){0,99}){0,99}){0,99}c/",
        "/(?P<x>(?:a|b|ab)*)(?P=x)*$/",
        "/(a|(?1)b)*$/",
    ],
)
def test_an_entry_with_a_hostile_expression_fires_with_64_mib(key: str) -> None:
    """In a process with 64 MiB more than it needs, the entry fires by its other key.

    The expression is refused for its size, or its search ends by its time limit or for lack of memory.
    """
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, key], capture_output=True, text=True, check=False, timeout=60
    )
    assert (result.stdout, result.stderr) == ("{0: 'word'}\n", "")
