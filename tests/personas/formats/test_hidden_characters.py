"""Counting invisible and direction-changing characters."""

import pytest

from hermes_cli.personas.formats import hidden_characters
from tests.personas.formats.cards import remarks, v2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\ttext\r\n", (0, 0)),
        ("a\u200bb\u2060c\ufeffd", (3, 0)),
        ("soft\u00adhyphen", (1, 0)),
        ("\x1b[0m\x07", (2, 0)),
        ("a\u202eb\u202c \u2067c\u2069 \u200f\u061c", (0, 6)),
        ("\U000e0049\U000e0067\U000e006e", (3, 0)),
        ("a\ufe0fb\ufe01\U000e0100", (3, 0)),
        ("a\u200db", (1, 0)),
        ("\u3164\u115f\uffa0", (3, 0)),
    ],
)
def test_invisible_and_direction_changing_characters_are_counted(
    text: str, expected: tuple[int, int]
) -> None:
    """Invisible characters and direction-changing ones are counted separately."""
    assert hidden_characters.count([text]) == expected


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\u2764\ufe0f\u200d\U0001f525",
        "\U0001f469\U0001f3fd\u200d\U0001f4bb",
        "1\ufe0f\u20e3 \u00a9\ufe0f",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0915\u094d\u200d\u0937",
        "\u845b\U000e0100",
        "10\u00a0000\u2009km\u3000",
    ],
)
def test_characters_that_emoji_and_scripts_need_are_not_counted(text: str) -> None:
    """Characters that emoji, scripts and spacing need are not counted."""
    assert hidden_characters.count([text]) == (0, 0)


def test_the_remark_counts_the_characters_in_all_texts() -> None:
    """The remark counts the characters in all texts of a card and its lorebook."""
    book = {"entries": [{"keys": ["\u200b"], "content": "\u202e", "enabled": True, "extensions": {}}]}
    document = v2(name="A\u200b", alternate_greetings=["\u200bx"], character_book=book)
    assert "3 invisible and 1 direction-changing characters" in remarks(document)
    assert "invisible" not in remarks(v2())


def test_counting_stops_at_a_limit() -> None:
    """A file of invisible characters is not counted to its end, and the remark says so."""
    assert hidden_characters.count(["\u200b" * 300_000, "\u202e"]) == (100_000, 0)
    assert "at least 100,000 invisible" in remarks(v2(description="\u200b" * 300_000))
