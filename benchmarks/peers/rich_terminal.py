"""rich's console on a terminal of 256 colors, as most have, and rich's output for a whole Markdown text."""

import io

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.peers.streaming import COLUMNS, ROWS, Sink


class _Text(io.TextIOWrapper):
    def close(self) -> None:
        """Leave the sink open, since its bytes are counted after the console is closed."""


def console(sink: Sink) -> Console:
    """Return a console that writes to the sink."""
    text = _Text(sink, encoding="utf-8", write_through=True)
    return Console(file=text, force_terminal=True, color_system="256", width=COLUMNS, height=ROWS)


def picture(sink: Sink, text: str) -> None:
    """Print the text once."""
    console(sink).print(Markdown(text))
