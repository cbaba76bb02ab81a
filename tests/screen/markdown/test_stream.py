"""The screen after a streamed answer equals the screen after the answer in one piece."""

import html.parser
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.text import Text

from hermes_cli.screen.markdown.stream import MarkdownStream
from tests.screen.markdown.examples import (
    commonmark_rows,
    examples,
    painted,
    painted_at_once,
    pieces,
    render,
    streamed,
)

DEFINED_BELOW = {
    *(23, 33, 205, 206, 216, 220, *range(529, 543), 544, 545, 551, *range(555, 566), *range(567, 574)),
    *(575, 578, 579, *range(584, 592), 593, 594, 595),
}
"""CommonMark's examples in which a link is used above its definition. Printed rows do not change: the link
stays as written, and its definition is printed too, so that the reader has the target."""

ANSWER = '''# Sorting

Use **`sorted()`**, which *never* changes its argument; see [the documentation](https://docs.python.org/3/)
for `key`. It was 5 * 3 = 15, snake_case stays, and so does [this] and a lone ` or *.

1. First:
   ```python
   def by_length(words):
       """Return them.

       The shortest first.
       """
       return sorted(words, key=len)  # comment
   ```
2. Then
   - nested *one*, which is long enough to be wrapped, and wrapped again on a narrow terminal
     - deeper

   still the second

> A quote that goes on for a while.
>
> - in it, a list

| Name | What | Cost |
|:-----|:----:|-----:|
| `sorted` | a **new** list | 12 |
| `sort` | in place | 9 |

*He looks up.* "You *again*," he says. "What?" 日本語の文字 👩‍👧 é ❤️

***
'''


def texts(rows: list[Text]) -> list[str]:
    """Return rows as plain text, without the empty ones at the end."""
    lines = [row.plain.rstrip() for row in rows]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def parts_of(text: str) -> Iterator[list[str]]:
    """Yield a text in single characters, in lines, and in random pieces."""
    yield list(text)
    yield text.splitlines(keepends=True)
    yield pieces(text, random.Random(len(text)))


@pytest.mark.long
@pytest.mark.parametrize("width", [80, 20])
def test_commonmark_examples_have_the_same_rows_if_streamed(width: int) -> None:
    """Every CommonMark example has the same rows streamed and in one piece."""
    different = [
        number
        for number, text in examples().items()
        for parts in parts_of(text)
        if texts(streamed(parts, width)) != texts(render(text, width))
    ]
    assert different == []


def test_only_definitions_below_their_use_differ_from_commonmark() -> None:
    """The rows differ from strict CommonMark only for the examples in DEFINED_BELOW."""
    different = {
        number
        for number, text in examples().items()
        if texts(render(text, 80)) != texts(commonmark_rows(text, 80))
    }
    assert different == DEFINED_BELOW


class _Words(html.parser.HTMLParser):
    """A parser that collects the text of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("number", sorted(examples()))
def test_no_text_of_an_example_is_left_out(number: int) -> None:
    """All characters of the text in markdown-it's HTML, the reference, are shown in order."""
    text = examples()[number]
    words = _Words()
    words.feed(MarkdownIt("commonmark", {"html": False}).render(text))
    shown = iter("".join(row.plain for row in commonmark_rows(text, 80)))
    expected = "".join(words.text.split())
    assert all(character in shown for character in expected.expandtabs(4)), expected


@pytest.mark.long
@pytest.mark.parametrize("width", [80, 20])
def test_commonmark_examples_have_the_same_screen_if_streamed(width: int) -> None:
    """Every CommonMark example has the same screen streamed and in one piece, cell for cell."""
    rng = random.Random(width)
    for number, text in examples().items():
        size = width, 10
        expected = painted_at_once(render(text, width), size)
        assert painted(pieces(text, rng), size, rng) == expected, number


@pytest.mark.parametrize("width", [20, 33, 40])
@pytest.mark.parametrize(
    "address", ["https://example.org/" + "long/path/" * 8, "a.very.long.name@" + "example." * 9]
)
def test_an_address_longer_than_a_row_has_the_same_rows_if_streamed(address: str, width: int) -> None:
    """The brackets around a complete address are not shown; around anything else, they are."""
    for text in (
        f"See <{address}> for more.",
        f"See the page <{address[:30]}> and\n<{address} so on.",
        f"<{address}",
    ):
        assert texts(streamed(list(text), width)) == texts(render(text, width))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_random_texts_in_random_pieces_have_the_same_screen(seed: int) -> None:
    """2,000 random texts in random pieces have the same screen as in one piece."""
    rng = random.Random(seed)
    known = list(examples().values())
    for _ in range(100):
        text = "".join(rng.choice(known) + rng.choice(["", "\n"]) for _ in range(rng.randrange(1, 8)))
        if rng.random() < 0.2:
            text += ANSWER
        size, speech = (rng.choice([20, 33, 80, 120]), rng.choice([4, 10, 24])), rng.random() < 0.5
        expected = painted_at_once(render(text, size[0], speech=speech), size)
        assert painted(pieces(text, rng), size, rng, speech=speech) == expected, text


@given(st.data(), st.sampled_from([12, 20, 40, 80]))
def test_an_answer_has_the_same_rows_in_any_pieces(data: st.DataObject, width: int) -> None:
    """An answer has the same rows in any pieces."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(ANSWER) - 1), max_size=30)))
    parts = [ANSWER[a:b] for a, b in zip([0, *cuts], [*cuts, len(ANSWER)], strict=True)]
    assert texts(streamed(parts, width, speech=True)) == texts(render(ANSWER, width, speech=True))


def test_rows_become_final_early() -> None:
    """Rows become final early: at most 10 stay live."""
    stream, live, final = MarkdownStream(), 0, 0
    for part in pieces(ANSWER * 4, random.Random(1)):
        stream.feed(part)
        rows, tail = stream.rows(60)
        final += len(rows)
        live = max(live, len(tail))
    assert live <= 10, "the longest that stays open is the table"
    assert final > 100


def test_rows_of_a_growing_paragraph_become_final() -> None:
    """The rows of a paragraph become final while it grows: at most 4 stay live."""
    stream, live = MarkdownStream(), 0
    words = "Once there was a *small* boat, `made` of paper, which sailed. "
    for part in pieces(words * 40, random.Random(2)):
        stream.feed(part)
        live = max(live, len(stream.rows(40)[1]))
    assert live <= 4


@pytest.mark.parametrize(
    ("half", "shown"),
    [
        ("This is **bo", "This is bo"),
        ("This is **bold*", "This is bold"),
        ("*He looks", "He looks"),
        ("Use `sor", "Use sor"),
        ("See [the docs](https://a.b/c", "See the docs (https://a.b/c"),
        ("Text\n- ", "Text"),
        ("Text\n``", "Text"),
        ("Text\n#", "Text"),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n| 3", "a │ b\n──┼──\n1 │ 2"),
    ],
)
def test_incomplete_markdown_is_shown_as_if_it_were_complete(half: str, shown: str) -> None:
    """Incomplete Markdown is shown as it looks once it is complete."""
    stream = MarkdownStream()
    stream.feed(half)
    final, live = stream.rows(80)
    assert "\n".join(row.plain for row in [*final, *live]) == shown


def test_a_single_line_break_is_kept() -> None:
    """A single line break in the text stays a line break."""
    assert texts(render("Roses are red,\nviolets are blue.", 80)) == ["Roses are red,", "violets are blue."]


def test_a_streamed_list_keeps_counting() -> None:
    """A streamed list keeps counting after its first items are final."""
    text = "".join(f"1. item {n}\n\n" for n in range(12))
    assert texts(streamed(list(text), 40))[-1] == "12. item 11"


def test_a_link_is_shown_with_its_target() -> None:
    """A link or an image is shown with its target, a bare address once."""
    rows = texts(render("[good](http://evil.example) <http://a.example> ![x](y.png)", 80))
    assert rows == ["good (http://evil.example) http://a.example [x] (y.png)"]


def test_html_is_shown_as_text() -> None:
    """HTML is shown as text."""
    assert texts(render("Use <div> and\n\n<script>alert(1)</script>", 80)) == [
        "Use <div> and",
        "",
        "<script>alert(1)</script>",
    ]
