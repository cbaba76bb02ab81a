"""Tests of detokenizing: text comes as whole characters, and no id is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.engines.detokenizer import Detokenizer
from hermes_cli.engines.tokenizer_json import Vocabulary

BYTES = [f"<0x{b:02X}>" for b in range(256)]


def detokenized(detokenizer: Detokenizer, ids: list[int]) -> tuple[str, list[int]]:
    """Return the text of all pieces and their ids."""
    pieces = [piece for token in ids if (piece := detokenizer.feed(token))]
    return "".join(piece.text for piece in pieces), [i for piece in pieces for i in piece.ids]


@given(st.text())
def test_byte_tokens_become_their_text(text: str) -> None:
    """Byte tokens of any text give that text and all ids."""
    ids = list(text.encode())
    assert detokenized(Detokenizer(BYTES, byte_level=False), ids) == (text, ids)


@given(st.binary())
def test_invalid_utf_8_is_replaced(data: bytes) -> None:
    """Invalid UTF-8 gives replacement characters, as `bytes.decode` does, and all ids."""
    text, ids = detokenized(Detokenizer(BYTES, byte_level=False), [*data, ord(".")])
    assert text == (data + b".").decode("utf-8", "replace")
    assert ids == [*data, ord(".")]


def test_a_character_is_returned_with_its_last_byte() -> None:
    """A character is returned with its last byte, not earlier or later."""
    detokenizer = Detokenizer(BYTES, byte_level=False)
    pieces = [detokenizer.feed(b) for b in "é!".encode()]
    assert [piece and piece.text for piece in pieces] == [None, "é", "!"]


def test_an_id_beyond_the_vocabulary_has_no_text() -> None:
    """An id outside of the vocabulary gives no text and is kept among the ids."""
    assert detokenized(Detokenizer(["a"], byte_level=True), [0, 99, 0]) == ("aa", [0, 99, 0])


@pytest.mark.parametrize("text", ["Grüße aus Tokio: 東京 🚢", "  two  spaces\n\ttab"])
def test_encoded_text_is_detokenized_unchanged(mistral_vocabulary: Vocabulary, text: str) -> None:
    """The ids of a text under OpenHermes 2's vocabulary give the text back."""
    ids = mistral_vocabulary.format.encoder.encode_after_newline(text)
    detokenizer = Detokenizer(mistral_vocabulary.entries, byte_level=mistral_vocabulary.byte_level)
    assert detokenized(detokenizer, ids) == (text, ids)
