"""The spinner during a wait: it is erased before anything else is written."""

import io
import re
import threading
from collections.abc import Callable

import pyte
import pytest
from wcwidth import wcswidth

from hermes_cli.screen.terminal import Terminal
from hermes_cli.screen.waiting import FRAMES, waiting

PATIENCE_S = 10
"""Seconds that a test waits for something that takes half a second."""


class Stderr(io.StringIO):
    """A standard error that reports each write and draws it on a terminal of 80 columns."""

    def __init__(self) -> None:
        super().__init__()
        self.screen = pyte.Screen(80, 5)
        self._stream = pyte.Stream(self.screen)
        self._frames = threading.Semaphore(0)
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            self._stream.feed(text)
            size = super().write(text)
        self._frames.release()
        return size

    def wait_for_a_frame(self) -> None:
        """Wait for a write that no earlier call has waited for."""
        assert self._frames.acquire(timeout=PATIENCE_S), "nothing was drawn"

    def shown_text(self) -> str:
        """Return the text on the screen."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self.screen.display).rstrip()


def terminal(
    err: io.StringIO, *, out_is_tty: bool = True, err_is_tty: bool = True, obeys: bool = True
) -> Terminal:
    """Return a terminal; its size is unknown, so it has 80 columns."""
    return Terminal(io.BytesIO(), io.BytesIO(), err, False, out_is_tty, err_is_tty, obeys=obeys)  # noqa: FBT003 - see tests/run_hermes.py


def threads() -> list[threading.Thread]:
    """Return the threads of spinners that still run."""
    return [thread for thread in threading.enumerate() if thread.name == "waiting"]


@pytest.mark.parametrize(
    ("out_is_tty", "err_is_tty", "obeys"), [(False, True, True), (True, False, True), (True, True, False)]
)
def test_there_is_no_spinner_without_a_terminal(*, out_is_tty: bool, err_is_tty: bool, obeys: bool) -> None:
    """Without a terminal that supports control sequences there is no spinner."""
    err = Stderr()
    with waiting(
        terminal(err, out_is_tty=out_is_tty, err_is_tty=err_is_tty, obeys=obeys), lambda: "x"
    ) as erase:
        assert threads() == []
        erase()
    assert err.getvalue() == ""


def test_no_spinner_is_drawn_for_an_immediate_answer() -> None:
    """If the answer comes at once, no spinner is drawn."""
    err = Stderr()
    for _ in range(100):
        with waiting(terminal(err), lambda: "x") as erase:
            erase()
    assert err.getvalue() == ""
    assert threads() == []


def test_the_spinner_is_erased_before_the_block_continues() -> None:
    """The yielded function erases the spinner before it returns, and may be called again."""
    err = Stderr()
    with waiting(terminal(err), lambda: "waiting for the first token") as erase:
        err.wait_for_a_frame()
        assert re.fullmatch(rf"[{FRAMES}] waiting for the first token", err.shown_text())
        erase()
        assert err.shown_text() == ""
        assert err.screen.cursor.x == 0
        assert threads() == []
        err.write("An answer")
        erase()  # each chunk may call it again
    assert err.shown_text() == "An answer"


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_the_spinner_is_erased_if_no_answer_came(error: type[BaseException] | None) -> None:
    """The spinner is erased if the block ends or raises without an answer."""
    err = Stderr()

    def wait() -> None:
        with waiting(terminal(err), lambda: "waiting"):
            err.wait_for_a_frame()
            if error is not None:
                raise error

    if error is None:
        wait()
    else:
        with pytest.raises(error):
            wait()
    assert err.shown_text() == ""
    assert threads() == []


def test_each_frame_shows_the_current_text() -> None:
    """Each frame shows the next spinner character and the current text."""
    err = Stderr()
    words = iter(["loading", "waiting"])
    with waiting(terminal(err), lambda: next(words, "late")):
        for _ in range(2):
            err.wait_for_a_frame()
    shown = re.findall(r"\r\x1b\[2m(.*?)\x1b\[0m\x1b\[K", err.getvalue())
    assert shown[:2] == [f"{FRAMES[0]} loading", f"{FRAMES[1]} waiting"]
    assert err.shown_text() == ""


@pytest.mark.parametrize("name", ["m" * 200, "模型" * 30, "two\nlines", "steers\x1b[2J"])
def test_the_spinner_stays_in_one_row(name: str) -> None:
    """A long text or one with control characters stays in one row."""
    err = Stderr()
    with waiting(terminal(err), lambda: f"loading {name} · Ctrl-C cancels the message"):
        err.wait_for_a_frame()
        assert "\n" not in err.shown_text()
        (shown, *_) = re.findall(r"\r\x1b\[2m(.*?)\x1b\[0m\x1b\[K", err.getvalue())
        assert wcswidth(shown) < 80
    assert err.shown_text() == ""


class ClosedTerminal(io.StringIO):
    """A terminal that was closed."""

    def write(self, _text: str) -> int:
        self.tried.set()
        raise OSError(5, "Input/output error")

    def __init__(self, tried: threading.Event) -> None:
        super().__init__()
        self.tried = tried


def test_a_closed_terminal_raises_no_exception() -> None:
    """If the terminal is closed, the block goes on without an exception."""
    tried = threading.Event()
    texts: list[str] = []
    keep: Callable[[str], None] = texts.append
    with waiting(terminal(ClosedTerminal(tried)), lambda: "x"):
        assert tried.wait(PATIENCE_S)
        keep("an answer")
    assert texts == ["an answer"]
    assert threads() == []
