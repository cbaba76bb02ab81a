"""The loop guard, which detects an answer that repeats the same token ids again and again.

Small models fall into such loops, and nothing else ends them before the context window is full. The guard is
incremental, and its cost per token does not grow with the length of the answer.
"""

NGRAM = 4
"""A repeated sequence of this many ids is a possible beginning of a loop."""
MAX_PERIODS = 32
WHOLE_REPEATS = 2
"""Times that a period must be repeated after its first occurrence: a refrain that comes twice is no loop."""


class LoopGuard:
    """A loop detector for one answer. `limit` is how many repeated ids make a loop; 0 disables the guard."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ids: list[int] = []
        self._last_seen: dict[tuple[int, ...], int] = {}
        self._runs: dict[int, int] = {}

    def feed(self, token: int) -> bool:
        """Add the next id and return whether the answer is in a loop."""
        if not self._limit:
            return False
        ids = self._ids
        ids.append(token)
        end = len(ids) - 1
        # By period: the number of ids in a row, up to this one, that equal the id one period earlier.
        self._runs = {p: run + 1 for p, run in self._runs.items() if ids[end - p] == token}
        ngram = tuple(ids[-NGRAM:])
        if len(ngram) == NGRAM:
            before = self._last_seen.get(ngram)
            if before is not None and len(self._runs) < MAX_PERIODS:
                self._runs.setdefault(end - before, NGRAM)
            self._last_seen[ngram] = end
        return any(run >= max(self._limit, WHOLE_REPEATS * period) for period, run in self._runs.items())
