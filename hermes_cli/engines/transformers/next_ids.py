"""Id after id of an answer: the device goes ahead where it can, else a step is taken at a time."""

from collections.abc import Collection

from hermes_cli.engines.transformers.decode import Decoder
from hermes_cli.engines.transformers.faults import NotFinite
from hermes_cli.engines.transformers.fixed_step import NOT_FINITE
from hermes_cli.engines.transformers.flight import Flight
from hermes_cli.engines.transformers.sampling import History, Sampler


class NextIds:
    """What comes behind `history`, of which the decoder holds all but the last id. Whoever asks appends it.

    `limit` is how many ids may come at most.
    """

    def __init__(self, decoder: Decoder, sampler: Sampler, history: History, limit: int) -> None:
        self._decoder = decoder
        self._sampler = sampler
        self._history = history
        self._end = len(history.ids) + limit
        self._flight: Flight | None = None

    def next(self, banned: Collection[int] = ()) -> int:
        """Return the next id, none of `banned`.

        Raises ResourcesExhausted where the memory runs out, and HermesError where the device fails or the
        logits are no numbers.
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
            decoder.make_room()  # the states are no numbers, either
            raise

    def _evaluate_anew(self) -> None:
        """Have an empty cache, and let a step by itself decide whether the logits are numbers.

        What lay behind the cursor may have been none, such as the states of a step that nobody read: a mask
        does not hide those.
        """
        self._decoder.make_room()
        for _ in self._decoder.prefill(self._history.ids[:-1]):
            pass
