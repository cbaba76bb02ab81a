"""Tests of stop strings in a stream of text."""

from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.engines.stop_strings import StopScanner

LETTERS = st.text(alphabet="abc", max_size=30)


def run(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    """Return the text that is shown, and whether a stop string was found."""
    scanner = StopScanner(stops)
    shown = "".join(scanner.feed(piece) for piece in pieces)
    return shown + scanner.flush(), scanner.found


@given(
    text=LETTERS, stops=st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=3), data=st.data()
)
def test_any_chunking_gives_the_same_text(text: str, stops: list[str], data: st.DataObject) -> None:
    """However the text is cut into pieces, the same text is shown and the same stops are found."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert run(pieces, stops) == run([text], stops)


@given(text=LETTERS, stop=st.text(alphabet="abc", min_size=1, max_size=4))
def test_one_stop_cuts_where_the_text_first_holds_it(text: str, stop: str) -> None:
    """The shown text ends before the first occurrence of the stop, as `str.partition` finds it."""
    before, found, _ = text.partition(stop)
    assert run(list(text), [stop]) == (before, bool(found))


def test_nothing_is_held_back_that_cannot_become_a_stop() -> None:
    """Only text that can become a stop string is held back."""
    scanner = StopScanner(["\nUser:"])
    assert scanner.feed("Hello there") == "Hello there"
    assert scanner.feed("\nUs") == ""
    assert scanner.feed("ually") == "\nUsually"
