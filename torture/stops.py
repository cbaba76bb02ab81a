"""Stops what hermes does at a random moment, as Ctrl-C and a signal do."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hermes_cli.engines.base import Cancel
from hermes_cli.errors import Interrupted


@contextmanager
def stopping(how: str, seconds: float) -> Iterator[Cancel]:
    """Yield a Cancel. After some seconds, it is set, or Interrupted is raised, or neither."""
    cancel, is_armed = Cancel(), [how == "interrupt"]
    timer = threading.Timer(seconds, cancel.set)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if is_armed[0]:
            raise Interrupted(signal.SIGTERM)

    signal.signal(signal.SIGALRM, interrupt)
    if how == "interrupt":
        signal.setitimer(signal.ITIMER_REAL, seconds)
    if how == "cancel":
        timer.start()
    try:
        yield cancel
    finally:
        is_armed[0] = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        timer.cancel()
        if timer.ident is not None:
            timer.join()


@contextmanager
def unraisable() -> Iterator[list[BaseException | None]]:
    """Yield a list of the exceptions that Python ignores in the block, because a destructor raised them."""
    ignored: list[BaseException | None] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda problem: ignored.append(problem.exc_value)
    try:
        yield ignored
    finally:
        sys.unraisablehook = before
