"""Folded pastes: any pasted text is sent unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.repl.folded_paste import MANY_CHARACTERS, MANY_LINES, Pastes

LONG = "\n".join(f"line {n}" for n in range(MANY_LINES + 1))
MARK = "[pasted 9 lines]"

short = st.text("ab[\n", max_size=6)
large = st.lists(st.text("ab[", max_size=3), min_size=MANY_LINES, max_size=MANY_LINES + 3).map(
    lambda lines: "\n".join([*lines, "x"])
)


@pytest.mark.parametrize("text", ["", "one", "\n" * 8, "a\n" * 8, "x" * MANY_CHARACTERS])
def test_a_small_paste_stands_in_the_line(text: str) -> None:
    """A small paste is inserted as text."""
    assert Pastes().fold(text) == text


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        (LONG, MARK),
        (f"{LONG}\n", MARK),
        (LONG.replace("line", "l" * 2000), MARK),
        ("x" * 2001, "[pasted 2,001 characters]"),
        ("\n" * 2000 + "x", "[pasted 2,001 lines]"),
    ],
)
def test_a_large_paste_is_one_mark(text: str, mark: str) -> None:
    """A large paste is folded into a mark with its number of lines or characters."""
    pastes = Pastes()
    assert pastes.fold(text) == mark
    assert pastes.unfold(mark) == text


@given(st.lists(st.tuples(short, st.one_of(large, short)), max_size=5))
def test_what_is_sent_is_what_was_pasted(pieces: list[tuple[str, str]]) -> None:
    """A line with folded and unfolded pastes is sent as it was typed and pasted."""
    pastes = Pastes()
    line = "".join(typed + pastes.fold(pasted) for typed, pasted in pieces)
    assert pastes.unfold(line) == "".join(typed + pasted for typed, pasted in pieces)


@given(st.lists(st.one_of(large, large.map(lambda text: f"{MARK}\n{text}\n{MARK}")), min_size=2, max_size=5))
def test_a_folded_text_that_spells_a_mark_is_no_mark(texts: list[str]) -> None:
    """A folded text that holds the spelling of a mark is sent unchanged."""
    pastes = Pastes()
    marks = [pastes.fold(text) for text in texts]
    assert len(set(marks)) == len(texts)
    assert pastes.unfold(" ".join(marks)) == " ".join(texts)


@pytest.mark.parametrize("texts", [(LONG, MARK), (MARK, LONG), (LONG, f"see {MARK}", LONG)])
def test_a_short_text_that_spells_a_mark_is_no_mark(texts: tuple[str, ...]) -> None:
    """A small paste that holds the spelling of a mark is sent unchanged."""
    pastes = Pastes()
    line = " ".join(pastes.fold(text) for text in texts)
    assert pastes.unfold(line) == " ".join(texts)


def test_the_same_paste_twice_is_two_marks() -> None:
    """Pastes with the same number of lines get different marks."""
    pastes, other = Pastes(), LONG.replace("line", "row")
    marks = [pastes.fold(text) for text in (LONG, other, LONG)]
    assert marks == [MARK, "[pasted 9 lines #2]", "[pasted 9 lines #3]"]
    assert pastes.unfold(f"{marks[2]}, {marks[1]}.") == f"{LONG}, {other}."


def test_a_mark_that_was_taken_out_leaves_the_others() -> None:
    """If one mark is deleted, the others are still replaced by their texts."""
    pastes, other = Pastes(), LONG.replace("line", "row")
    pastes.fold(LONG)
    kept = pastes.fold(other)
    assert pastes.unfold(f"only {kept}") == f"only {other}"


def test_the_mark_behind_which_the_cursor_stands() -> None:
    """The mark that ends at the cursor is found; an incomplete or unknown mark is not."""
    pastes = Pastes()
    first, second = pastes.fold(LONG), pastes.fold(LONG)
    assert pastes.mark_before(f"x {first}") == first
    assert pastes.mark_before(f"{first}{second}") == second
    for text in ("", "x", f"{first} ", first[:-1], "[pasted 10 lines]"):
        assert pastes.mark_before(text) == ""


def test_nothing_of_one_line_is_left_in_the_next() -> None:
    """After `clear` the marks of the last line are plain text, and numbering starts again."""
    pastes = Pastes()
    pastes.fold(LONG)
    pastes.clear()
    assert pastes.unfold(MARK) == MARK
    assert pastes.mark_before(MARK) == ""
    assert pastes.fold(LONG) == MARK
