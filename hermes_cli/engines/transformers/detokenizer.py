"""Incremental detokenization: bytes become text as soon as they are whole characters."""

import codecs
from collections.abc import Sequence

from hermes_cli.engines.stream_filters import Piece
from hermes_cli.engines.token_bytes import notation, piece_bytes


class Detokenizer:
    """An incremental detokenizer. `vocabulary` holds the notation of each id, see `pieces.py`."""

    def __init__(self, vocabulary: Sequence[str], *, byte_level: bool) -> None:
        self._vocabulary = vocabulary
        self._byte_level = byte_level
        self.forget()

    def forget(self) -> None:
        """Drop the bytes that are not a whole character yet."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ids: list[int] = []
        self._text = ""

    def feed(self, token: int) -> Piece | None:
        """Add the next id and return the characters that it completes, with all of their ids.

        Return None while a character is incomplete. If an id ends one character and begins another, both are
        held back, because they share that id.
        """
        self._ids.append(token)
        data = piece_bytes(notation(self._vocabulary, token), byte_level=self._byte_level)
        self._text += self._decoder.decode(data)
        if self._decoder.getstate()[0]:
            return None
        piece = Piece(self._text, tuple(self._ids))
        self._ids, self._text = [], ""
        return piece
