"""Folded pastes: what is sent is what was pasted, whatever the texts are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.repl.pasted import MANY_CHARACTERS, MANY_LINES, Pastes

LONG = "\n".join(f"line {n}" for n in range(MANY_LINES + 1))
MARK = "[pasted 9 lines]"

short = st.text("ab[\n", max_size=6)
large = st.lists(st.text("ab[", max_size=3), min_size=MANY_LINES, max_size=MANY_LINES + 3).map(
    lambda lines: "\n".join([*lines, "x"])
)


@pytest.mark.parametrize("text", ["", "one", "\n" * 8, "a\n" * 8, "x" * MANY_CHARACTERS])
def test_a_small_paste_stands_in_the_line(text: str) -> None:
    """A pasted word could not be read, or changed."""
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
    """It would fill the screen, or not say how much it is."""
    pastes = Pastes()
    assert pastes.fold(text) == mark
    assert pastes.unfold(mark) == text


@given(st.lists(st.tuples(short, st.one_of(large, short)), max_size=5))
def test_what_is_sent_is_what_was_pasted(pieces: list[tuple[str, str]]) -> None:
    """A text would lose its end, or another one's stand in its place."""
    pastes = Pastes()
    line = "".join(typed + pastes.fold(pasted) for typed, pasted in pieces)
    assert pastes.unfold(line) == "".join(typed + pasted for typed, pasted in pieces)


@given(st.lists(st.one_of(large, large.map(lambda text: f"{MARK}\n{text}\n{MARK}")), min_size=2, max_size=5))
def test_a_folded_text_that_spells_a_mark_is_no_mark(texts: list[str]) -> None:
    """Who pastes a log of hermes would send one paste inside the other."""
    pastes = Pastes()
    marks = [pastes.fold(text) for text in texts]
    assert len(set(marks)) == len(texts)
    assert pastes.unfold(" ".join(marks)) == " ".join(texts)


@pytest.mark.parametrize("texts", [(LONG, MARK), (MARK, LONG), (LONG, f"see {MARK}", LONG)])
def test_a_short_text_that_spells_a_mark_is_no_mark(texts: tuple[str, ...]) -> None:
    """Who pastes a line about a paste would send the paste once more."""
    pastes = Pastes()
    line = " ".join(pastes.fold(text) for text in texts)
    assert pastes.unfold(line) == " ".join(texts)


def test_the_same_paste_twice_is_two_marks() -> None:
    """Two pastes of as many lines would both become the first."""
    pastes, other = Pastes(), LONG.replace("line", "row")
    marks = [pastes.fold(text) for text in (LONG, other, LONG)]
    assert marks == [MARK, "[pasted 9 lines #2]", "[pasted 9 lines #3]"]
    assert pastes.unfold(f"{marks[2]}, {marks[1]}.") == f"{LONG}, {other}."


def test_a_mark_that_was_taken_out_leaves_the_others() -> None:
    """What was deleted would be sent, or take its neighbour along."""
    pastes, other = Pastes(), LONG.replace("line", "row")
    pastes.fold(LONG)
    kept = pastes.fold(other)
    assert pastes.unfold(f"only {kept}") == f"only {other}"


def test_the_mark_behind_which_the_cursor_stands() -> None:
    """Backspace would break a mark open, and send its rest as text."""
    pastes = Pastes()
    first, second = pastes.fold(LONG), pastes.fold(LONG)
    assert pastes.mark_before(f"x {first}") == first
    assert pastes.mark_before(f"{first}{second}") == second
    for text in ("", "x", f"{first} ", first[:-1], "[pasted 10 lines]"):
        assert pastes.mark_before(text) == ""


def test_nothing_of_one_line_is_left_in_the_next() -> None:
    """A mark that somebody types would bring back an old text."""
    pastes = Pastes()
    pastes.fold(LONG)
    pastes.clear()
    assert pastes.unfold(MARK) == MARK
    assert pastes.mark_before(MARK) == ""
    assert pastes.fold(LONG) == MARK
