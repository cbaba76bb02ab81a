"""Tests of banned phrases: they are found across pieces, in any case, and never shown in part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.engines.banned_phrases import PhraseBan, Piece, refuse_ban
from hermes_cli.errors import UsageError
from hermes_cli.options import GenerationOptions


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
    """`refuse_ban` raises a UsageError if the options have a ban."""
    refuse_ban(GenerationOptions(), "x")
    with pytest.raises(UsageError, match="'ban'"):
        refuse_ban(GenerationOptions(ban=("a",)), "x")
