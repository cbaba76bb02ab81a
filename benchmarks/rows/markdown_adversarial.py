"""markdown-adversarial: CPU time of 100 kB of Markdown that is written to be slow, beside one second.

Measured: the minimum over the repeats of the CPU time to show a text at once at 80 columns, with speech, on a
terminal in memory. The renderer shows the beginning of such a text as Markdown, and the rest as plain text.
"""

import io
import time
from collections.abc import Callable, Mapping

from benchmarks.measure import Bench
from benchmarks.report import Goal, Line
from benchmarks.streaming import Sink
from hermes_cli.screen.render import MarkdownRenderer
from hermes_cli.screen.terminal import Terminal

LENGTH = 100_000
LIMIT_MS = 1000.0
REPEATS = 3
SHAPES: Mapping[str, str] = {
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
    "definitions": "[a{}]: /x\n",
    "code": "def f(x): return x\n",
    "code in a string": "def f(x): return x\n",
}
"""By name: the text that is repeated. `{}` is the number of the repetition."""
HEADS = {"table": "|a|b|\n|-|-|\n", "code": "```python\n", "code in a string": '```python\n"""\n'}
"""By name: the text before the repeated one."""


def adversarial_text(shape: str, length: int = LENGTH) -> str:
    """Return a text of about `length` characters."""
    part = SHAPES[shape]
    count = length // len(part)
    repeated = "".join(part.format(n) for n in range(count)) if "{}" in part else part * count
    return HEADS.get(shape, "") + repeated


def cpu_ms(text: str) -> float:
    """Return the CPU time in milliseconds that the renderer takes to show a text at once."""
    terminal = Terminal(io.BytesIO(), Sink(), io.StringIO(), *(True, True, True), obeys=True, colour=True)
    renderer = MarkdownRenderer(terminal, speech=True, clock=lambda: -1.0)  # no repaint before the end
    began = time.thread_time()
    renderer.write(text)
    renderer.end()
    return 1000 * (time.thread_time() - began)


def cpu_of_shapes() -> dict[str, float]:
    return {shape: cpu_ms(adversarial_text(shape)) for shape in SHAPES}


def measure(bench: Bench, function: Callable[[], dict[str, float]] = cpu_of_shapes) -> list[Line]:
    runs = [bench.call(function).value for _ in range(max(REPEATS, bench.repeats))]
    return [
        Line(
            f"CPU per 100 kB, {shape}, beside the limit",
            "ms",
            min(run[shape] for run in runs),
            LIMIT_MS,
            Goal("≤", 1),
            detail={"hermes": [run[shape] for run in runs]},
        )
        for shape in SHAPES
    ]
