"""The width of text in cells, and wrapping: no row is too wide, and no character is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text
from wcwidth import wcswidth

from hermes_cli.screen.cells import cell_count, fold, is_certain, wrap

texts = st.text(st.sampled_from("ab \né日本👩\u200d👧❤\ufe0f🇩🇪-"), max_size=60)


@pytest.mark.parametrize(
    "text", ["plain", "日本語", "é", "❤\ufe0f", "👩\u200d👩\u200d👧", "🇩🇪", "한국어", "Привет"]
)
def test_the_cell_count_is_an_upper_bound_of_the_width(text: str) -> None:
    """The count is at least the width by sequences and the sum of the characters' widths."""
    by_sequence, by_character = wcswidth(text), sum(max(0, wcswidth(character)) for character in text)
    assert cell_count(text) >= max(by_sequence, by_character)


@given(texts, st.integers(2, 30))
def test_wrapped_rows_fit_and_keep_every_character(text: str, width: int) -> None:
    """Wrapped rows fit the width and hold every character but blanks and newlines."""
    rows = wrap(Text(text), width)
    assert all(cell_count(row.plain) <= width for row, _ in rows)
    assert "".join(row.plain for row, _ in rows).replace(" ", "") == text.replace(" ", "").replace("\n", "")
    assert [end for _, end in rows] == sorted(end for _, end in rows)
    assert rows[-1][1] == len(text)


@given(texts, st.integers(2, 30))
def test_wrapping_from_the_end_of_a_row_gives_the_same_rows(text: str, width: int) -> None:
    """Wrapping the text that follows a row gives the same rows again."""
    rows = wrap(Text(text), width)
    for place, (_, end) in enumerate(rows[:-1]):
        assert [r.plain for r, _ in wrap(Text(text)[end:], width)] == [r.plain for r, _ in rows[place + 1 :]]


def test_a_word_is_broken_only_if_it_does_not_fit() -> None:
    """A word is broken only if it is wider than a row."""
    rows = [row.plain for row, _ in wrap(Text("The quick brown fox\njumps incomprehensibly"), 10)]
    assert rows == ["The quick", "brown fox", "jumps", "incomprehe", "nsibly"]


@given(st.text(st.characters(exclude_categories=["C"]), max_size=40), st.integers(2, 20))
def test_folded_code_fits_and_keeps_every_character(line: str, width: int) -> None:
    """Folded code fits the width and keeps every character."""
    rows = fold(Text(line), width)
    assert "".join(row.plain for row in rows) == line
    assert all(cell_count(row.plain) <= width for row in rows)


def test_the_width_of_joined_emoji_is_not_certain() -> None:
    """The width of joined, variant and combined characters and of flags is not certain."""
    assert is_certain("plain, é as one, 日本語")
    assert not any(map(is_certain, ["👩\u200d👧", "❤\ufe0f", "🇩🇪", "e\u0301"]))
