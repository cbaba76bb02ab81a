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
def test_a_small_paste_is_inserted_as_text(text: str) -> None:
    """A paste with few lines and characters is not folded."""
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
def test_a_large_paste_is_folded_into_a_mark(text: str, mark: str) -> None:
    """The mark shows the number of lines or characters."""
    pastes = Pastes()
    assert pastes.fold(text) == mark
    assert pastes.unfold(mark) == text


@given(st.lists(st.tuples(short, st.one_of(large, short)), max_size=5))
def test_pasted_text_is_sent_unchanged(pieces: list[tuple[str, str]]) -> None:
    """A line with folded and unfolded pastes is sent as it was typed and pasted."""
    pastes = Pastes()
    line = "".join(typed + pastes.fold(pasted) for typed, pasted in pieces)
    assert pastes.unfold(line) == "".join(typed + pasted for typed, pasted in pieces)


@given(st.lists(st.one_of(large, large.map(lambda text: f"{MARK}\n{text}\n{MARK}")), min_size=2, max_size=5))
def test_a_folded_text_that_spells_a_mark_is_sent_unchanged(texts: list[str]) -> None:
    """Only the marks themselves are replaced, not the same spelling inside a folded text."""
    pastes = Pastes()
    marks = [pastes.fold(text) for text in texts]
    assert len(set(marks)) == len(texts)
    assert pastes.unfold(" ".join(marks)) == " ".join(texts)


@pytest.mark.parametrize("texts", [(LONG, MARK), (MARK, LONG), (LONG, f"see {MARK}", LONG)])
def test_a_small_paste_that_spells_a_mark_is_sent_unchanged(texts: tuple[str, ...]) -> None:
    """The spelling of a mark in a small paste is not replaced."""
    pastes = Pastes()
    line = " ".join(pastes.fold(text) for text in texts)
    assert pastes.unfold(line) == " ".join(texts)


def test_pastes_of_equal_length_get_different_marks() -> None:
    """Pastes with the same number of lines get different marks."""
    pastes, other = Pastes(), LONG.replace("line", "row")
    marks = [pastes.fold(text) for text in (LONG, other, LONG)]
    assert marks == [MARK, "[pasted 9 lines #2]", "[pasted 9 lines #3]"]
    assert pastes.unfold(f"{marks[2]}, {marks[1]}.") == f"{LONG}, {other}."


def test_deleting_a_mark_keeps_the_others() -> None:
    """If one mark is deleted, the others are still replaced by their texts."""
    pastes, other = Pastes(), LONG.replace("line", "row")
    pastes.fold(LONG)
    kept = pastes.fold(other)
    assert pastes.unfold(f"only {kept}") == f"only {other}"


def test_mark_before_returns_the_mark_at_the_cursor() -> None:
    """The mark that ends at the cursor is found; an incomplete or unknown mark is not."""
    pastes = Pastes()
    first, second = pastes.fold(LONG), pastes.fold(LONG)
    assert pastes.mark_before(f"x {first}") == first
    assert pastes.mark_before(f"{first}{second}") == second
    for text in ("", "x", f"{first} ", first[:-1], "[pasted 10 lines]"):
        assert pastes.mark_before(text) == ""


def test_clear_discards_the_marks() -> None:
    """After `clear` the marks of the last line are plain text, and numbering starts again."""
    pastes = Pastes()
    pastes.fold(LONG)
    pastes.clear()
    assert pastes.unfold(MARK) == MARK
    assert pastes.mark_before(MARK) == ""
    assert pastes.fold(LONG) == MARK
