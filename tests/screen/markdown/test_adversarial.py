"""The cost of Markdown that is written to be slow."""

import time
from unittest.mock import patch

import pytest
from rich.text import Text

from hermes_cli.screen.cells import wrap
from tests.screen.markdown.examples import render

LENGTH = 100_000
SHAPES = {
    "emphasis": "*a",
    "emphasis and spaces": "*a ",
    "strong": "**a_b ",
    "struck": "~~a",
    "links": "[a](b)",
    "open brackets": "[",
    "images": "![a](",
    "brackets": "[a]",
    "references": "[a][b] ",
    "ticks": "`a``b```c",
    "quotes": '"a" ',
    "nested quotes": "> ",
    "entities": "&amp;",
    "table": "|c|d|\n",
    "nested lists": "- ",
    "list items": "- a\n",
    "HTML": "<a ",
    "addresses": "<http://a>",
    "escapes": "\\*",
    "lines": "a\n",
    "one word": "a",
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_cost_of_an_adversarial_text_is_bounded(shape: str) -> None:
    """100 kB of any shape take less than 10 s of CPU time on a busy machine."""
    text = SHAPES[shape] * (LENGTH // len(SHAPES[shape]))
    head = "|a|b|\n|-|-|\n" if shape == "table" else ""
    began = time.thread_time()
    render(head + text, 80, speech=True)
    elapsed_s = time.thread_time() - began
    print(f"{shape}: {elapsed_s * 1000:.0f} ms")  # noqa: T201 - the figures of docs/measurements/screen.md
    assert elapsed_s < 10


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
