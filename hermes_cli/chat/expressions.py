"""Runs the regular expressions of strangers: those in lore keys and in regex scripts."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeVar

REGEX_LIMIT_S: Final = 0.05
"""Time limit of one search."""
SLOW_S: Final = 0.005
SLOW_TIMES: Final = 3
PATIENCE_S: Final = 0.5
"""An expression whose search takes SLOW_S or longer is disabled after SLOW_TIMES such searches. If slow
searches take more than PATIENCE_S in total, all expressions are disabled."""

_Result = TypeVar("_Result")


class Expressions:
    """Regular expressions such as `/dra+gon/i`, with limits on their size and on the time of each search.

    `disabled` maps each disabled expression to the reason: it is invalid, too large or too slow, or its
    search ran out of memory. `origin` is the part of such a reason that says where the expressions are from.
    """

    def __init__(self, origin: str, disabled: dict[str, str] | None = None) -> None:
        self.disabled: dict[str, str] = {} if disabled is None else disabled
        self._origin = origin
        self._patterns = dict[str, Any]()
        self._size = 0
        self._slow_s = 0.0
        self._slow = Counter[str]()

    def __len__(self) -> int:
        """Return the number of expressions that have been compiled."""
        return len(self._patterns)

    def run(self, expression: str, search: Callable[[Any], _Result]) -> _Result | None:
        """Return `search(pattern)`, or None if the expression is disabled or this search disables it.

        `search` must pass `timeout=REGEX_LIMIT_S` to the method of the pattern that it calls.
        """
        if expression not in self._patterns:
            self._patterns[expression] = self._compile(expression)
        pattern = self._patterns[expression]
        if pattern is None or expression in self.disabled:
            return None
        if self._slow_s > PATIENCE_S:
            self.disabled[expression] = f"the regular expressions of {self._origin} take too long in total"
            return None
        started_at = time.thread_time()  # CPU time: a busy machine must not disable an expression
        found = None
        try:
            found = search(pattern)
        except TimeoutError:
            self.disabled[expression] = f"it takes longer than {REGEX_LIMIT_S * 1000:.0f} ms"
        except MemoryError:
            self.disabled[expression] = "there is not enough memory for its search"
        elapsed_s = time.thread_time() - started_at
        if elapsed_s >= SLOW_S:
            self._slow_s += elapsed_s
            self._slow[expression] += 1
            if self._slow[expression] == SLOW_TIMES:
                self.disabled[expression] = f"it took longer than {SLOW_S * 1000:.0f} ms several times"
        return found

    def _compile(self, expression: str) -> Any:
        """Return an expression as a compiled pattern, or None if it is invalid or too large."""
        from hermes_cli.chat import lore_keys

        pattern, flags = lore_keys.parse_key(expression)
        try:
            self._size += lore_keys.expression_size(pattern or "") + lore_keys.FIXED_SIZE
            if self._size <= lore_keys.MAX_TOTAL_SIZE:
                return lore_keys.compile_expression(pattern or "", flags)
            self.disabled[expression] = f"the regular expressions of {self._origin} are too large in total"
        except ValueError as error:
            self.disabled[expression] = str(error)
        return None
