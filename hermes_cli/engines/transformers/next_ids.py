"""Generates the ids of an answer, ahead of the host if the device can, otherwise step by step."""

from collections.abc import Collection

from hermes_cli.engines.transformers.decode import Decoder
from hermes_cli.engines.transformers.fixed_step import NOT_FINITE
from hermes_cli.engines.transformers.flight import Flight
from hermes_cli.engines.transformers.sampling import History, Sampler
from hermes_cli.engines.transformers.torch_errors import NotFinite


class NextIds:
    """A generator of the ids after `history`. The decoder must hold all ids of it but the last.

    The caller appends each id to `history`. `limit` is the largest number of ids.
    """

    def __init__(self, decoder: Decoder, sampler: Sampler, history: History, limit: int) -> None:
        self._decoder = decoder
        self._sampler = sampler
        self._history = history
        self._end = len(history.ids) + limit
        self._flight: Flight | None = None

    def next(self, banned: Collection[int] = ()) -> int:
        """Return the next id, none of `banned`.

        Raises ResourcesExhausted if memory runs out, and HermesError if the device fails or the logits are
        not finite numbers.
        """
        decoder, sampler, history = self._decoder, self._sampler, self._history
        last = history.ids[-1]
        if self._flight is None and not sampler.needs_words:
            left = self._end - len(history.ids)
            self._flight = decoder.begin_ahead(last, sampler, history, left)
        if self._flight is not None:
            token = self._flight.next()
            if token is not None and token != NOT_FINITE:
                decoder.evaluated(last)
                return token
            self._flight = None
            if token == NOT_FINITE:
                self._evaluate_anew()
        try:
            return sampler.choose(decoder.step(last), history, banned)
        except NotFinite:
            decoder.make_room()  # the cached states are not finite, either
            raise

    def _evaluate_anew(self) -> None:
        """Prefill an empty cache, so that an ordinary step shows whether the logits really are not finite.

        The buffers may have held states that are not finite after the cursor, such as those of a step that
        was never read. An attention mask does not hide NaN.
        """
        self._decoder.make_room()
        for _ in self._decoder.prefill(self._history.ids[:-1]):
            pass
