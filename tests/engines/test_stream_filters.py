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


def caught_after(ids: list[int], limit: int) -> int | None:
    """Return after how many ids the guard reports a loop, or None if it does not."""
    guard = LoopGuard(limit)
    return next((n for n, token in enumerate(ids, 1) if guard.feed(token)), None)


@pytest.mark.parametrize("period", [1, 2, 5, 37, 150])
def test_a_loop_of_any_length_is_caught(period: int) -> None:
    """A loop of 1 to 150 ids is reported once it has repeated for the limit and for two whole periods."""
    before = list(range(1000, 1100))
    loop = list(islice(cycle(range(period)), 2000))
    found = caught_after(before + loop, 64)
    assert found is not None
    # The first copy repeats nothing; then 64 ids, or two whole copies if they are longer.
    assert found == len(before) + period + max(64, 2 * period)


def test_a_loop_whose_words_repeat_inside_it_is_caught() -> None:
    """A loop is reported although the same words repeat inside it."""
    refrain = [1, 2, 3, 4, 5]
    period = [*refrain, 10, *refrain, 11, *refrain, 12]
    assert caught_after(period * 20, 100) is not None


def test_no_limit_is_no_guard() -> None:
    """With a limit of 0 nothing is reported."""
    assert caught_after([7] * 5000, 0) is None


def test_a_refrain_between_verses_is_no_loop() -> None:
    """A chorus that repeats between different verses is not reported."""
    chorus = list(range(50))
    song = [i for verse in range(20) for i in [*chorus, *range(1000 * verse + 100, 1000 * verse + 140)]]
    assert caught_after(song, 64) is None


@given(st.lists(st.integers(0, 3), max_size=300), st.integers(8, 40))
def test_it_agrees_with_looking_at_all_of_it(ids: list[int], limit: int) -> None:
    """What is reported is a repeat by the plain definition, computed over all ids."""
    found = caught_after(ids, limit)
    if found is not None:
        said = ids[:found]
        runs = [
            next((n for n in range(found - p) if said[found - 1 - n] != said[found - 1 - n - p]), found - p)
            for p in range(1, found)
        ]
        assert any(run >= max(limit, 2 * p) for p, run in enumerate(runs, 1))


def pieces(*texts: str) -> list[Piece]:
    """Return pieces of one id each."""
    return [Piece(text, (number,)) for number, text in enumerate(texts)]


def test_a_phrase_over_several_tokens_is_unsaid_from_its_first() -> None:
    """A phrase over several pieces is taken back from its first piece, and no part of it is shown."""
    ban = PhraseBan(["shivers down"])
    said = pieces("It sent", " sh", "IVERS", " do", "wn")
    shown = [ban.feed(piece) for piece in said[:-1]]
    assert shown == [([said[0]], []), ([], []), ([], []), ([], [])]
    assert ban.feed(said[-1]) == ([], said[1:])
    assert ban.flush() == []


def test_what_only_began_like_it_is_shown() -> None:
    """Text that only begins like a phrase is shown as soon as it differs."""
    ban = PhraseBan(["abc"])
    one, two, three = pieces("xa", "b", "d")
    assert ban.feed(one) == ([], [])
    assert ban.feed(two) == ([], [])
    assert ban.feed(three) == ([one, two, three], [])


def test_the_end_gives_back_what_was_held() -> None:
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
def test_however_the_text_is_cut(text: str, cuts: list[int], phrase: str) -> None:
    """A phrase is caught however the text is cut into pieces, and other text is shown unchanged."""
    folded = text.replace("A", "a").replace("B", "b")
    ban = PhraseBan([phrase])
    shown, at, number = "", 0, 0
    while at < len(text):
        size = cuts[number % len(cuts)]
        good, unsaid = ban.feed(Piece(text[at : at + size], (number,)))
        shown += "".join(piece.text for piece in good)
        at, number = at + size, number + 1
        if unsaid:
            assert phrase in folded[: min(at, len(text))]
            break
    else:
        shown += "".join(piece.text for piece in ban.flush())
        assert phrase not in folded
        assert shown == text
    assert phrase not in shown.replace("A", "a").replace("B", "b")


def test_an_engine_that_cannot_take_back_refuses() -> None:
    """`reject_ban` raises a UsageError if the options have a ban."""
    reject_ban(GenerationOptions(), "x")
    with pytest.raises(UsageError, match="'ban'"):
        reject_ban(GenerationOptions(ban=("a",)), "x")
