"""What generated ids spell: bytes become text as soon as they are whole characters."""

import codecs
from collections.abc import Sequence

from hermes_cli.engines.phrases import Piece
from hermes_cli.engines.pieces import notation, piece_bytes


class Speller:
    """Turns ids into pieces of whole characters. `vocabulary` holds each id's notation, see `pieces.py`."""

    def __init__(self, vocabulary: Sequence[str], *, byte_level: bool) -> None:
        self._vocabulary = vocabulary
        self._byte_level = byte_level
        self.forget()

    def forget(self) -> None:
        """Drop what is not a whole character yet."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ids: list[int] = []
        self._text = ""

    def feed(self, token: int) -> Piece | None:
        """Take the next id and return the characters that it completes, with all the ids that spell them.

        None while a character is not whole. An id that ends one character and begins another holds both back:
        they share it.
        """
        self._ids.append(token)
        data = piece_bytes(notation(self._vocabulary, token), byte_level=self._byte_level)
        self._text += self._decoder.decode(data)
        if self._decoder.getstate()[0]:
            return None
        piece = Piece(self._text, tuple(self._ids))
        self._ids, self._text = [], ""
        return piece
