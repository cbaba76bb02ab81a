"""Who answers in a conversation with several characters."""

import pytest

from hermes_cli.chat.members import answering, mentioned, next_after

NAMES = ["Edward Elric", "Alphonse Elric", "The Baker", "白棠"]


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("Hello!", []),
        ("What does edward say?", [0]),
        ("Alphonse, ask Edward.", [1, 0]),
        ("The Elric brothers", [0, 1]),
        ("the bread of the baker", [2]),
        ("Edwards, edwardian and theory", []),
        ("你好白棠你好", [3]),
        ("Edward Elric and Edward", [0, 1]),
        ("", []),
    ],
)
def test_a_name_or_a_word_of_it_mentions_a_character(text: str, indices: list[int]) -> None:
    """Case does not matter, words are whole, and "the" mentions nobody."""
    assert mentioned(text, NAMES) == indices


def test_a_name_that_is_an_expression_is_plain_text() -> None:
    """A name comes from a stranger's file."""
    assert mentioned("A.*B and more", ["A.*B", "(", "C|D"]) == [0]


@pytest.mark.parametrize(("last", "expected"), [(None, 0), (0, 1), (1, 2), (3, 0)])
def test_without_a_mention_the_characters_take_turns(last: int | None, expected: int) -> None:
    """The order is that of the command line."""
    assert answering("Go on.", NAMES, last) == [expected]
    assert next_after(last, 4) == expected


def test_a_mention_comes_before_the_order() -> None:
    """The one who spoke last can be asked again."""
    assert answering("Edward?", NAMES, 0) == [0]
