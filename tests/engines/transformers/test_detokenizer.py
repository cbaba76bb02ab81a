"""Tests of detokenizing: text comes as whole characters, and no id is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.engines.detokenizer import Detokenizer
from hermes_cli.engines.tokenizer_json import Vocabulary

BYTES = [f"<0x{b:02X}>" for b in range(256)]


def spelled(speller: Detokenizer, ids: list[int]) -> tuple[str, list[int]]:
    """Return the text of all pieces and their ids."""
    found = [piece for token in ids if (piece := speller.feed(token))]
    return "".join(piece.text for piece in found), [i for piece in found for i in piece.ids]


@given(st.text())
def test_bytes_become_their_text(text: str) -> None:
    """Byte tokens of any text give that text and all ids."""
    ids = list(text.encode())
    assert spelled(Detokenizer(BYTES, byte_level=False), ids) == (text, ids)


@given(st.binary())
def test_broken_bytes_are_replaced_and_never_fail(data: bytes) -> None:
    """Invalid UTF-8 gives replacement characters, as `bytes.decode` does, and all ids."""
    text, ids = spelled(Detokenizer(BYTES, byte_level=False), [*data, ord(".")])
    assert text == (data + b".").decode("utf-8", "replace")
    assert ids == [*data, ord(".")]


def test_a_character_is_shown_with_its_last_byte() -> None:
    """A character is returned with its last byte, not earlier or later."""
    speller = Detokenizer(BYTES, byte_level=False)
    pieces = [speller.feed(b) for b in "é!".encode()]
    assert [piece and piece.text for piece in pieces] == [None, "é", "!"]


def test_an_id_beyond_the_vocabulary_spells_nothing() -> None:
    """An id outside of the vocabulary gives no text and is kept among the ids."""
    assert spelled(Detokenizer(["a"], byte_level=True), [0, 99, 0]) == ("aa", [0, 99, 0])


@pytest.mark.parametrize("text", ["Grüße aus Tokio: 東京 🚢", "  two  spaces\n\ttab"])
def test_the_real_vocabulary_spells_what_it_encoded(mistral_vocabulary: Vocabulary, text: str) -> None:
    """The ids of a text under OpenHermes 2's vocabulary give the text back."""
    ids = mistral_vocabulary.chatml.encode_after_newline(text)
    speller = Detokenizer(mistral_vocabulary.entries, byte_level=mistral_vocabulary.byte_level)
    assert spelled(speller, ids) == (text, ids)
