"""Tests of the filters for generated text: stop strings, loop guard, banned phrases."""

from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.engines.stream_filters import LoopGuard, PhraseBan, Piece, StopScanner, reject_ban
from hermes_cli.errors import UsageError
from hermes_cli.options import GenerationOptions

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
def test_the_text_ends_before_the_first_stop_string(text: str, stop: str) -> None:
    """The shown text ends before the first occurrence of the stop, as `str.partition` finds it."""
    before, found, _ = text.partition(stop)
    assert run(list(text), [stop]) == (before, bool(found))


def test_only_a_possible_stop_string_is_held_back() -> None:
    """Only text that can become a stop string is held back."""
    scanner = StopScanner(["\nUser:"])
    assert scanner.feed("Hello there") == "Hello there"
    assert scanner.feed("\nUs") == ""
    assert scanner.feed("ually") == "\nUsually"


def reported_after(ids: list[int], limit: int) -> int | None:
    """Return after how many ids the guard reports a loop, or None if it does not."""
    guard = LoopGuard(limit)
    return next((n for n, token in enumerate(ids, 1) if guard.feed(token)), None)


@pytest.mark.parametrize("period", [1, 2, 5, 37, 150])
def test_a_loop_of_any_length_is_reported(period: int) -> None:
    """A loop of 1 to 150 ids is reported once it has repeated for the limit and for two whole periods."""
    before = list(range(1000, 1100))
    loop = list(islice(cycle(range(period)), 2000))
    length = reported_after(before + loop, 64)
    assert length is not None
    # The first copy repeats nothing; then 64 ids, or two whole copies if they are longer.
    assert length == len(before) + period + max(64, 2 * period)


def test_a_loop_with_repeats_inside_it_is_reported() -> None:
    """A loop is reported although the same words repeat inside it."""
    refrain = [1, 2, 3, 4, 5]
    period = [*refrain, 10, *refrain, 11, *refrain, 12]
    assert reported_after(period * 20, 100) is not None


def test_a_limit_of_zero_disables_the_guard() -> None:
    """With a limit of 0 nothing is reported."""
    assert reported_after([7] * 5000, 0) is None


def test_a_chorus_between_verses_is_not_reported() -> None:
    """A chorus that repeats between different verses is not reported."""
    chorus = list(range(50))
    song = [i for verse in range(20) for i in [*chorus, *range(1000 * verse + 100, 1000 * verse + 140)]]
    assert reported_after(song, 64) is None


@given(st.lists(st.integers(0, 3), max_size=300), st.integers(8, 40))
def test_a_reported_loop_is_a_repeat_by_definition(ids: list[int], limit: int) -> None:
    """Every reported loop is a repeat by the plain definition, computed over all ids."""
    length = reported_after(ids, limit)
    if length is not None:
        seen = ids[:length]
        runs = [
            next(
                (n for n in range(length - p) if seen[length - 1 - n] != seen[length - 1 - n - p]), length - p
            )
            for p in range(1, length)
        ]
        assert any(run >= max(limit, 2 * p) for p, run in enumerate(runs, 1))


def pieces(*texts: str) -> list[Piece]:
    """Return pieces of one id each."""
    return [Piece(text, (number,)) for number, text in enumerate(texts)]


def test_a_phrase_is_removed_from_its_first_piece_on() -> None:
    """A phrase over several pieces is removed from its first piece on, and no part of it is shown."""
    ban = PhraseBan(["shivers down"])
    parts = pieces("It sent", " sh", "IVERS", " do", "wn")
    shown = [ban.feed(piece) for piece in parts[:-1]]
    assert shown == [([parts[0]], []), ([], []), ([], []), ([], [])]
    assert ban.feed(parts[-1]) == ([], parts[1:])
    assert ban.flush() == []


def test_text_that_only_begins_like_a_phrase_is_shown() -> None:
    """Text that only begins like a phrase is shown as soon as it differs."""
    ban = PhraseBan(["abc"])
    one, two, three = pieces("xa", "b", "d")
    assert ban.feed(one) == ([], [])
    assert ban.feed(two) == ([], [])
    assert ban.feed(three) == ([one, two, three], [])


def test_flush_returns_the_text_that_was_held_back() -> None:
    """`flush` returns the text that was held back as a possible beginning of a phrase."""
    ban = PhraseBan(["abc"])
    (one,) = pieces("ab")
    ban.feed(one)
    assert ban.flush() == [one]


@given(
    st.text("aAbBİß ", max_size=40),
    st.lists(st.integers(1, 5), min_size=1, max_size=20),
    st.text("abİ", min_size=1),
)
def test_a_phrase_is_caught_however_the_text_is_cut(text: str, cuts: list[int], phrase: str) -> None:
    """A phrase is caught however the text is cut into pieces, and other text is shown unchanged."""
    folded = text.replace("A", "a").replace("B", "b")
    ban = PhraseBan([phrase])
    shown, at, number = "", 0, 0
    while at < len(text):
        size = cuts[number % len(cuts)]
        ready, removed = ban.feed(Piece(text[at : at + size], (number,)))
        shown += "".join(piece.text for piece in ready)
        at, number = at + size, number + 1
        if removed:
            assert phrase in folded[: min(at, len(text))]
            break
    else:
        shown += "".join(piece.text for piece in ban.flush())
        assert phrase not in folded
        assert shown == text
    assert phrase not in shown.replace("A", "a").replace("B", "b")


def test_reject_ban_raises_if_the_options_have_a_ban() -> None:
    """The hint is a whole sentence."""
    reject_ban(GenerationOptions(), "x")
    with pytest.raises(UsageError, match="'ban'") as caught:
        reject_ban(GenerationOptions(ban=("a",)), "x")
    assert caught.value.hint == "unset 'ban', or use a model on this machine"
