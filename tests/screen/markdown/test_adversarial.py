"""The cost of Markdown that is written to be slow."""

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from unittest.mock import patch

import pytest
from rich.text import Text

from benchmarks.rows.markdown_adversarial import LIMIT_MS, SHAPES, adversarial_text, cpu_ms
from hermes_cli.screen.cells import wrap
from hermes_cli.screen.markdown.block_structure import LeafKind, parse
from hermes_cli.screen.markdown.inline import render_partial_inline
from tests.screen.markdown.examples import render, streamed

BUSY = 3
"""How much slower a busy machine may be."""


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_cost_of_an_adversarial_text_is_bounded(shape: str) -> None:
    """100 kB of any shape take at most a second of CPU time, or three on a busy machine."""
    assert cpu_ms(adversarial_text(shape)) < BUSY * LIMIT_MS


@contextmanager
def observed_calls(on_call: Callable[[], None]) -> Iterator[None]:
    """Call `on_call` at each call of a function, also of one that is written in C, in this thread."""

    def observe(_frame: FrameType, event: str, _argument: object) -> None:
        if event in {"call", "c_call"}:
            on_call()

    previous = sys.getprofile()
    sys.setprofile(observe)
    try:
        yield
    finally:
        sys.setprofile(previous)


def call_count(text: str) -> int:
    """Return the number of function calls that rendering the text takes."""
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    with observed_calls(count):
        render(text, 80, speech=True)
    return calls


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_for_an_adversarial_text_is_linear(shape: str) -> None:
    """Without a limit, twice the text takes at most 2.3 times as many calls."""
    render(adversarial_text(shape, 100), 80, speech=True)  # fills the caches
    assert call_count(adversarial_text(shape, 8000)) <= 2.3 * call_count(adversarial_text(shape, 4000)) + 100


def test_ctrl_c_ends_rendering() -> None:
    """The exception of Ctrl-C leaves the renderer wherever it is raised."""
    calls = 0

    def interrupt() -> None:
        nonlocal calls
        calls += 1
        if calls == 5000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), observed_calls(interrupt):
        render(adversarial_text("list items"), 80, speech=True)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_no_single_call_takes_long(shape: str) -> None:
    """Python handles a signal between two calls, so none may take more than 0.3 s of CPU time.

    The garbage collector is off: it runs inside a call, and its time depends on the whole test run.
    """
    longest_s, last_s = 0.0, time.thread_time()

    def measure() -> None:
        nonlocal longest_s, last_s
        now_s = time.thread_time()
        longest_s, last_s = max(longest_s, now_s - last_s), now_s

    text = adversarial_text(shape, 16_000)
    gc.disable()
    try:
        last_s = time.thread_time()
        with observed_calls(measure):
            render(text, 80, speech=True)
    finally:
        gc.enable()
    assert longest_s < 0.3


def test_short_rows_of_a_wide_table_are_not_filled_without_a_limit() -> None:
    """A wide header and many short lines make at most three cells for each cell of the text."""
    text = "|" + "a|" * 200 + "\n|" + "-|" * 200 + "\n" + "b\n" * 1000
    leaves = parse(text).leaves
    assert [leaf.kind for leaf in leaves] == [LeafKind.TABLE, LeafKind.PARAGRAPH]
    assert 400 < sum(map(len, leaves[0].table)) < 800
    rows = [row.plain for row in render(text, 80)]
    assert [row.plain for row in streamed(list(text), 80)] == rows
    assert sum(row.count("b") for row in rows) == 1000


def test_some_short_rows_of_a_table_are_filled() -> None:
    """A table with a row for each name, and a paragraph of ten lines below it, remain one table."""
    text = "|a|b|c|d|\n|-|-|-|-|\n|1|2|3|4|\n" + "name\n" * 10
    (leaf,) = parse(text).leaves
    assert leaf.kind is LeafKind.TABLE
    assert len(leaf.table) == 12


def test_many_definitions_are_resolved_in_linear_time() -> None:
    """Thousands of definitions and of links to them take seconds at most, not minutes."""
    text = "".join(f"[a{n}]: /x{n}\n\n[a{n}] [a{n + 1}]\n\n" for n in range(2500))
    began = time.thread_time()
    rows = [row.plain for row in render(text, 80)]
    assert time.thread_time() - began < 4
    assert rows[1] == "a0 (/x0) [a1]"
    assert "[a1]: /x1" in rows


@pytest.mark.parametrize("text", ["*" * 20_000 + " a", '`a`"b" ' * 3000, "[a](" * 8000])
def test_the_end_of_incomplete_markup_is_found_in_linear_time(text: str) -> None:
    """A long run of markers, many quotes and code, and many open links take little time."""
    began = time.thread_time()
    render_partial_inline(text, {}, speech=True)
    assert time.thread_time() - began < 4


def test_styled_text_is_divided_into_rows_once() -> None:
    """Text with many styles is divided once, not once for each row."""
    text = Text("ab " * 3000)
    for start in range(0, len(text), 3):
        text.stylize("bold", start, start + 2)
    with patch.object(Text, "divide", autospec=True, side_effect=Text.divide) as divide:
        rows = wrap(text, 30)
    assert len(rows) == 300
    assert divide.call_count == 1
    assert [row.plain for row, _ in rows] == ["ab ab ab ab ab ab ab ab ab ab"] * 300
    assert all(len(row.spans) == 10 for row, _ in rows)
