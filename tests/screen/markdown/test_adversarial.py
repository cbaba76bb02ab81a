"""The cost of Markdown that is written to be slow."""

import signal
import time
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


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_cost_of_an_adversarial_text_is_linear(shape: str) -> None:
    """Without a limit, twice the text takes at most 2.3 times as long, apart from 20 ms of noise."""
    single = double = float("inf")
    for _ in range(8):  # other processes slow down single runs
        single = min(single, _cpu_s(adversarial_text(shape, 8000)))
        double = min(double, _cpu_s(adversarial_text(shape, 16_000)))
        if double <= 2.3 * single + 0.02:
            return
    pytest.fail(f"{double:.3f} s for twice the text of {single:.3f} s")


def _cpu_s(text: str) -> float:
    began = time.thread_time()
    render(text, 80, speech=True)
    return time.thread_time() - began


@pytest.mark.slow
def test_a_signal_interrupts_rendering() -> None:
    """Ctrl-C ends the rendering of a long list, without a limit on its cost, within 0.3 s of CPU time."""
    arrived_s: list[float] = []

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        arrived_s.append(time.process_time())
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGPROF, interrupt)
    began = time.process_time()
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the timer ends the rendering
            signal.setitimer(signal.ITIMER_PROF, 0.2)
            render(adversarial_text("list items", 64 * 1024), 80, speech=True)
        assert arrived_s[0] - began < 0.2 + 0.3
        assert time.process_time() - arrived_s[0] < 0.3
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


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
