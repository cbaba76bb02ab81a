"""The loop guard: notices an answer that says the same thing again and again, word for word.

Small models fall into such loops, and nothing else ends them before the context window is full. Pure and
incremental; the cost of a token does not grow with the length of the answer.
"""

NGRAM = 4
"""A sequence of so many ids that comes again is taken for the possible beginning of a loop."""
MAX_PERIODS = 32
WHOLE_REPEATS = 2
"""A loop has said its period at least once more than this: a refrain that comes twice is none."""


class LoopGuard:
    """Follows the ids of an answer. `limit` is how many repeated ids are one too many; 0 for no limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ids: list[int] = []
        self._last_seen: dict[tuple[int, ...], int] = {}
        self._runs: dict[int, int] = {}

    def feed(self, token: int) -> bool:
        """Take the next id and return whether the answer is caught in a loop."""
        if not self._limit:
            return False
        ids = self._ids
        ids.append(token)
        end = len(ids) - 1
        # By period: how many ids, up to this one, were each the same as the one a period before.
        self._runs = {p: run + 1 for p, run in self._runs.items() if ids[end - p] == token}
        ngram = tuple(ids[-NGRAM:])
        if len(ngram) == NGRAM:
            before = self._last_seen.get(ngram)
            if before is not None and len(self._runs) < MAX_PERIODS:
                self._runs.setdefault(end - before, NGRAM)
            self._last_seen[ngram] = end
        return any(run >= max(self._limit, WHOLE_REPEATS * period) for period, run in self._runs.items())
