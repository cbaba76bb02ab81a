"""The keyboard parser: it reads pastes in linear time and leaves other keys to prompt_toolkit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

from hermes_cli.repl.paste_input import BEGIN, END, PasteParser

Pressed = list[tuple[str, str]]

KEYS = [
    "a",
    "é",
    "\r",
    "\n",
    "\x03",
    "\x1b[A",
    "\x1b[1;3C",
    "\x1b\r",
    "\x1b[3~",
    "\x1b[20~",
    "\x1b[5;7R",
    "~",
]
PIECES = ["a", "\n", "日", "\x1b", "\x1b[", "\x1b[2", "\x1b[20", "\x1b[200", "\x1b[201", "~", "\x1b[A", BEGIN]
keys = st.sampled_from(KEYS)
pastes = (
    st.lists(st.sampled_from(PIECES), max_size=6)
    .map(lambda parts: f"{BEGIN}{''.join(parts)}{END}")
    .filter(lambda text: text.count(END) == 1)
)
streams = st.lists(st.one_of(keys, pastes), max_size=8).map("".join)
chaos = st.lists(st.sampled_from([*KEYS, *PIECES, END]), max_size=14).map("".join)


class Recorder:
    """A parser with the keys and the refused pastes that it reported."""

    def __init__(self, limit: int = 1000) -> None:
        self.keys: list[KeyPress] = []
        self.refused: list[int] = []
        self.parser = PasteParser(self.keys.append, limit, self.refused.append)

    def feed(self, *chunks: str) -> Pressed:
        """Feed the chunks and return all keys so far."""
        for chunk in chunks:
            self.parser.feed(chunk)
        return pressed(self.keys)


def pressed(keys_: list[KeyPress]) -> Pressed:
    """Return keys as values that can be compared."""
    return [(str(one.key), one.data) for one in keys_]


def prompt_toolkits(text: str) -> Pressed:
    """Return the keys that prompt_toolkit's parser reports."""
    found: list[KeyPress] = []
    Vt100Parser(found.append).feed_and_flush(text)
    return pressed(found)


def cut(text: str, data: st.DataObject) -> list[str]:
    """Return a text in pieces, cut at any places."""
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@given(st.one_of(streams, chaos), st.data())
def test_any_chunking_gives_the_same_keys(text: str, data: st.DataObject) -> None:
    """Keys and refused pastes do not depend on how the input is cut into reads."""
    whole, pieces = Recorder(limit=7), Recorder(limit=7)
    whole.feed(text)
    pieces.feed(*cut(text, data))
    whole.parser.flush()
    pieces.parser.flush()
    assert pressed(pieces.keys) == pressed(whole.keys)
    assert pieces.refused == whole.refused


@given(streams, st.data())
def test_the_keys_are_prompt_toolkits_own(text: str, data: st.DataObject) -> None:
    """Keys and pastes are those that prompt_toolkit's parser reports."""
    here = Recorder()
    here.feed(*cut(text, data))
    here.parser.flush()
    assert pressed(here.keys) == prompt_toolkits(text)


@pytest.mark.parametrize("before", ["\x1b", "\x1b[2"])
def test_a_key_that_came_before_a_paste_stays_before_it(before: str) -> None:
    """An Escape or an incomplete sequence directly before a paste is reported before it."""
    text = f"{before}{BEGIN}pasted{END}i"
    here = Recorder()
    here.feed(text)
    assert pressed(here.keys) == prompt_toolkits(text)


@pytest.mark.parametrize("place", range(1, len(BEGIN) + len(END) + 4))
def test_a_mark_may_be_split_over_reads(place: int) -> None:
    """A paste's marks may be split over two reads: the kernel returns a kilobyte at a time."""
    text = f"{BEGIN}one{END}x"
    assert Recorder().feed(text[:place], text[place:]) == [(str(Keys.BracketedPaste), "one"), ("x", "x")]


def test_one_letter_at_a_time() -> None:
    """A paste that arrives one character at a time is one paste."""
    assert Recorder().feed(*f"a{BEGIN}\x1b[20{END}b") == [
        ("a", "a"),
        (str(Keys.BracketedPaste), "\x1b[20"),
        ("b", "b"),
    ]


def test_escape_alone_comes_with_the_flush() -> None:
    """A lone Escape is reported at the flush, and the next key is a key by itself."""
    here = Recorder()
    assert here.feed("\x1b") == []
    here.parser.flush()
    assert pressed(here.keys) == [(str(Keys.Escape), "\x1b")]
    assert here.feed("x")[1:] == [("x", "x")]


@pytest.mark.parametrize("begun", [BEGIN[:size] for size in range(2, len(BEGIN))])
def test_what_only_begins_as_a_mark_comes_with_the_flush(begun: str) -> None:
    """An incomplete paste mark is reported as keys at the flush."""
    here = Recorder()
    here.feed(begun)
    here.parser.flush()
    assert pressed(here.keys) == prompt_toolkits(begun)


def test_a_flush_in_a_paste_takes_nothing_out_of_it() -> None:
    """A flush during a paste, or during its end mark, changes nothing."""
    here = Recorder()
    for chunk in (BEGIN, "one\x1b[20", "1", "~two"):
        here.feed(chunk)
        here.parser.flush()
    assert pressed(here.keys) == [
        (str(Keys.BracketedPaste), "one"),
        *[(letter, letter) for letter in "two"],
    ]


@pytest.mark.parametrize(("size", "refused"), [(7, []), (8, [8]), (5000, [5000])])
def test_a_paste_that_is_too_long_is_refused_by_its_length(size: int, refused: list[int]) -> None:
    """A paste above the limit is dropped and its length reported; what follows it is kept."""
    here = Recorder(limit=7)
    here.feed(BEGIN, *["x"] * size, f"{END}y{BEGIN}short{END}")
    assert here.refused == refused
    first = [] if refused else [(str(Keys.BracketedPaste), "x" * size)]
    assert pressed(here.keys) == [*first, ("y", "y"), (str(Keys.BracketedPaste), "short")]


def test_of_a_paste_that_is_too_long_only_the_length_is_kept() -> None:
    """Of a paste above the limit only the length stays in memory."""
    here = Recorder(limit=5000)
    here.feed(BEGIN)
    for _ in range(1000):
        here.feed("x" * 1024)
        assert sum(map(len, here.parser._pieces)) <= 5000
    assert here.parser._pieces == []
    here.feed(END)
    assert (here.refused, here.keys) == ([1024 * 1000], [])


class Counted(PasteParser):
    """A parser that counts the characters it examines in pastes: those fed and those held back before."""

    looked_at = 0
    taken = 0

    def feed(self, data: str) -> None:
        self.looked_at += len(self._held) + len(data)
        super().feed(data)

    def _take(self, piece: str) -> None:
        self.taken += len(piece)
        super()._take(piece)


@pytest.mark.parametrize("line", ["x" * 1024, "\x1b[201" * 204, "\x1b" * 1024, "a\n" * 512])
@pytest.mark.parametrize("limit", [10_000_000, 1000])
def test_five_megabytes_in_kilobytes_are_looked_at_once(line: str, limit: int) -> None:
    """Each character of a 5 MB paste is examined once; prompt_toolkit searches the whole for each read."""
    found: list[KeyPress] = []
    refused: list[int] = []
    parser = Counted(found.append, limit, refused.append)
    parser.feed(BEGIN)
    for _ in range(5000):
        parser.feed(line)
        assert len(parser._held) < len(END)
    parser.feed(END)
    size = 5000 * len(line)
    assert parser.taken == size
    assert parser.looked_at <= size + 5002 * len(END)
    assert [len(one.data) for one in found] + refused == [size]
