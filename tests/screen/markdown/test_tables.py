"""Tables are drawn with columns if these fit, and nothing of a table is cut off."""

import pytest

from hermes_cli.screen.cells import cell_count
from tests.screen.markdown.examples import render

WIDE = """
| Name | What it is for | Cost |
|:-----|:--------------:|-----:|
| first | something with many words in it | 1 |
| second | x | 22 |
"""
TITLES, CELLS = [f" col{n} " for n in range(12)], [f" v{n} " for n in range(12)]
MANY = "\n".join("|".join(["", *cells, ""]) for cells in (TITLES, ["--"] * 12, CELLS))


def shown(text: str, width: int) -> list[str]:
    """Return the rows of a text that are not empty."""
    return [row.plain for row in render(text, width) if row.plain]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """Columns are as wide as their widest cell, and cells are aligned as requested."""
    assert shown(WIDE, 80) == [
        "Name   │         What it is for          │ Cost",
        "───────┼─────────────────────────────────┼─────",
        "first  │ something with many words in it │    1",
        "second │                x                │   22",
    ]


@pytest.mark.parametrize("width", [8, 12, 20, 33, 40, 80])
@pytest.mark.parametrize("text", [WIDE, MANY])
def test_every_short_word_is_shown_and_no_row_is_too_wide(text: str, width: int) -> None:
    """At every width all short words are shown and no row is too wide."""
    rows = shown(text, width)
    assert all(cell_count(row) <= width for row in rows)
    together = "".join("".join(rows).split())
    words = [word for word in text.replace("|", " ").split() if word.isalnum()]
    assert [word for word in words if len(word) <= 6 and word not in together] == []


def test_a_table_with_too_many_columns_is_drawn_as_a_list() -> None:
    """A table with too many columns for the width is drawn as a list."""
    assert shown(MANY, 40)[:2] == ["col0: v0", "col1: v1"]
