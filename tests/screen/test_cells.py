"""No row runs over the edge of a terminal, and none loses a character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text
from wcwidth import wcswidth

from hermes_cli.screen.cells import cell_count, fold, is_certain, wrap

written = st.text(st.sampled_from("ab \né日本👩\u200d👧❤\ufe0f🇩🇪-"), max_size=60)


@pytest.mark.parametrize(
    "text", ["plain", "日本語", "é", "❤\ufe0f", "👩\u200d👩\u200d👧", "🇩🇪", "한국어", "Привет"]
)
def test_no_terminal_takes_more_cells_than_are_counted(text: str) -> None:
    """A row would run over the edge, and every row that is erased later would be the wrong one."""
    by_sequence, by_character = wcswidth(text), sum(max(0, wcswidth(one)) for one in text)
    assert cell_count(text) >= max(by_sequence, by_character)


@given(written, st.integers(2, 30), st.integers(2, 30))
def test_rows_fit_and_hold_all_that_is_written(text: str, width: int, first: int) -> None:
    """A word would be lost where a line is broken, or stand outside of the screen."""
    rows = wrap(Text(text), width, first)
    assert all(cell_count(row.plain) <= (width if place else first) for place, (row, _) in enumerate(rows))
    assert "".join(row.plain for row, _ in rows).replace(" ", "") == text.replace(" ", "").replace("\n", "")
    assert [end for _, end in rows] == sorted(end for _, end in rows)
    assert rows[-1][1] == len(text)


@given(written, st.integers(2, 30))
def test_going_on_where_a_row_ends_gives_the_same_rows(text: str, width: int) -> None:
    """A paragraph whose first rows are out would be broken otherwise from there on."""
    rows = wrap(Text(text), width)
    for place, (_, end) in enumerate(rows[:-1]):
        assert [r.plain for r, _ in wrap(Text(text)[end:], width)] == [r.plain for r, _ in rows[place + 1 :]]


def test_words_stay_whole_where_they_fit() -> None:
    """Text would be broken within words."""
    rows = [row.plain for row, _ in wrap(Text("The quick brown fox\njumps incomprehensibly"), 10)]
    assert rows == ["The quick", "brown fox", "jumps", "incomprehe", "nsibly"]


@given(st.text(st.characters(exclude_categories=["C"]), max_size=40), st.integers(2, 20))
def test_folded_code_is_whole(line: str, width: int) -> None:
    """A long line of code would lose what is beyond the edge."""
    rows = fold(Text(line), width)
    assert "".join(row.plain for row in rows) == line
    assert all(cell_count(row.plain) <= width for row in rows)


def test_terminals_do_not_agree_on_joined_emoji() -> None:
    """The cursor would be moved into the middle of a character."""
    assert is_certain("plain, é as one, 日本語")
    assert not any(map(is_certain, ["👩\u200d👧", "❤\ufe0f", "🇩🇪", "e\u0301"]))
