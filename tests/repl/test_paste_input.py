"""The keyboard parser: it reads pastes in linear time and leaves other keys to prompt_toolkit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

from hermes_cli.repl.paste_input import BEGIN, END, MAX_NUMBERS, PasteParser

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
LONG = "\x1b[" + "9;" * 20
chaos = st.lists(st.sampled_from([*KEYS, *PIECES, END, LONG, f"{LONG}R", "12"]), max_size=14).map("".join)


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
    return [(str(press.key), press.data) for press in keys_]


def prompt_toolkit_keys(text: str) -> Pressed:
    """Return the keys that prompt_toolkit's parser reports."""
    reported: list[KeyPress] = []
    Vt100Parser(reported.append).feed_and_flush(text)
    return pressed(reported)


def cut(text: str, data: st.DataObject) -> list[str]:
    """Return a text in pieces, cut at any places."""
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@given(st.one_of(streams, chaos), st.data())
def test_any_chunking_gives_the_same_keys(text: str, data: st.DataObject) -> None:
    """How the input is cut into reads changes neither the keys nor the refused pastes."""
    whole, pieces = Recorder(limit=7), Recorder(limit=7)
    whole.feed(text)
    pieces.feed(*cut(text, data))
    whole.parser.flush()
    pieces.parser.flush()
    assert pressed(pieces.keys) == pressed(whole.keys)
    assert pieces.refused == whole.refused


@given(streams, st.data())
def test_keys_and_pastes_equal_those_of_prompt_toolkit(text: str, data: st.DataObject) -> None:
    """The parser changes only the speed."""
    recorder = Recorder()
    recorder.feed(*cut(text, data))
    recorder.parser.flush()
    assert pressed(recorder.keys) == prompt_toolkit_keys(text)


@pytest.mark.parametrize("before", ["\x1b", "\x1b[2"])
def test_a_key_before_a_paste_is_reported_before_it(before: str) -> None:
    """The key is an Escape or an incomplete sequence."""
    text = f"{before}{BEGIN}pasted{END}i"
    recorder = Recorder()
    recorder.feed(text)
    assert pressed(recorder.keys) == prompt_toolkit_keys(text)


@pytest.mark.parametrize("place", range(1, len(BEGIN) + len(END) + 4))
def test_a_paste_mark_may_be_split_over_two_reads(place: int) -> None:
    """The kernel returns a kilobyte at a time."""
    text = f"{BEGIN}one{END}x"
    assert Recorder().feed(text[:place], text[place:]) == [(str(Keys.BracketedPaste), "one"), ("x", "x")]


def test_a_paste_may_arrive_one_character_at_a_time() -> None:
    """The characters are one paste."""
    assert Recorder().feed(*f"a{BEGIN}\x1b[20{END}b") == [
        ("a", "a"),
        (str(Keys.BracketedPaste), "\x1b[20"),
        ("b", "b"),
    ]


def test_a_lone_escape_is_reported_at_the_flush() -> None:
    """The next key is a separate key."""
    recorder = Recorder()
    assert recorder.feed("\x1b") == []
    recorder.parser.flush()
    assert pressed(recorder.keys) == [(str(Keys.Escape), "\x1b")]
    assert recorder.feed("x")[1:] == [("x", "x")]


@pytest.mark.parametrize("incomplete", [BEGIN[:size] for size in range(2, len(BEGIN))])
def test_an_incomplete_mark_is_reported_as_keys_at_the_flush(incomplete: str) -> None:
    """The keys are those that prompt_toolkit's parser reports."""
    recorder = Recorder()
    recorder.feed(incomplete)
    recorder.parser.flush()
    assert pressed(recorder.keys) == prompt_toolkit_keys(incomplete)


def test_a_flush_during_a_paste_changes_nothing() -> None:
    """Nor does a flush during the end mark of a paste."""
    recorder = Recorder()
    for chunk in (BEGIN, "one\x1b[20", "1", "~two"):
        recorder.feed(chunk)
        recorder.parser.flush()
    assert pressed(recorder.keys) == [
        (str(Keys.BracketedPaste), "one"),
        *[(letter, letter) for letter in "two"],
    ]


@pytest.mark.parametrize(("size", "refused"), [(7, []), (8, [8]), (5000, [5000])])
def test_a_paste_above_the_limit_is_refused_with_its_length(size: int, refused: list[int]) -> None:
    """The keys and pastes after it are kept."""
    recorder = Recorder(limit=7)
    recorder.feed(BEGIN, *["x"] * size, f"{END}y{BEGIN}short{END}")
    assert recorder.refused == refused
    first = [] if refused else [(str(Keys.BracketedPaste), "x" * size)]
    assert pressed(recorder.keys) == [*first, ("y", "y"), (str(Keys.BracketedPaste), "short")]


def test_a_paste_above_the_limit_is_not_kept_in_memory() -> None:
    """Only its length is kept."""
    recorder = Recorder(limit=5000)
    recorder.feed(BEGIN)
    for _ in range(1000):
        recorder.feed("x" * 1024)
        assert sum(map(len, recorder.parser._pieces)) <= 5000
    assert recorder.parser._pieces == []
    recorder.feed(END)
    assert (recorder.refused, recorder.keys) == ([1024 * 1000], [])


@pytest.mark.parametrize("kind", ["\x1b[{};1R", "\x1b[<{};1;1M", "\x1b[{};1;1M", "\x1b\x1b[1;{}m"])
def test_a_key_sequence_that_is_too_long_is_dropped(kind: str) -> None:
    """prompt_toolkit would raise an error for the number, and keep each of its beginnings."""
    recorder = Recorder()
    recorder.feed("a", *kind.format("9" * 5000), "b")
    assert {press.data for press in recorder.keys} - {"\x1b"} == {"a", "b"}


def test_the_longest_reports_of_a_terminal_are_kept() -> None:
    """The reports of the mouse and of the cursor at a distant place are keys."""
    for text in ("\x1b[99999;99999R", "\x1b[<255;99999;99999M"):
        assert Recorder().feed(text) == prompt_toolkit_keys(text)


def test_the_parser_keeps_little_of_an_endless_key_sequence() -> None:
    """Only the beginning of a sequence is kept, and the keys after a pause are read again."""
    recorder = Recorder()
    recorder.feed("\x1b[")
    for _ in range(1000):
        recorder.feed("1;" * 512)
        assert len(recorder.parser._begun) <= MAX_NUMBERS
    recorder.parser.flush()
    assert recorder.feed("12") == [("1", "1"), ("2", "2")]


class CountingParser(PasteParser):
    """A parser that counts the characters it examines in pastes: those fed and those held back before."""

    examined = 0
    taken = 0

    def feed(self, data: str) -> None:
        self.examined += len(self._held) + len(data)
        super().feed(data)

    def _take(self, piece: str) -> None:
        self.taken += len(piece)
        super()._take(piece)


@pytest.mark.parametrize("line", ["x" * 1024, "\x1b[201" * 204, "\x1b" * 1024, "a\n" * 512])
@pytest.mark.parametrize("limit", [10_000_000, 1000])
def test_each_character_of_a_5_mb_paste_is_examined_once(line: str, limit: int) -> None:
    """prompt_toolkit's parser searches the whole paste again at each read."""
    reported: list[KeyPress] = []
    refused: list[int] = []
    parser = CountingParser(reported.append, limit, refused.append)
    parser.feed(BEGIN)
    for _ in range(5000):
        parser.feed(line)
        assert len(parser._held) < len(END)
    parser.feed(END)
    size = 5000 * len(line)
    assert parser.taken == size
    assert parser.examined <= size + 5002 * len(END)
    assert [len(press.data) for press in reported] + refused == [size]
