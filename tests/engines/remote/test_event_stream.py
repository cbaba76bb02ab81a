"""Tests of the decoders for streamed answers. The examples are from the WHATWG HTML standard, section 9.2."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.engines.remote.event_stream import (
    EventDecoder,
    JsonLines,
    ServerSentEvents,
    StreamEvent,
    StreamLimits,
)
from hermes_cli.errors import ServerError

SMALL = StreamLimits(line=20, event=30, total=60)


def decode_all(decoder: EventDecoder, *pieces: bytes) -> list[StreamEvent]:
    """Return the events of a stream that arrives in these pieces."""
    return [event for piece in pieces for event in decoder.decode(piece)] + decoder.flush()


def sse(*pieces: bytes) -> list[StreamEvent]:
    """Return the server-sent events in the pieces."""
    return decode_all(ServerSentEvents(), *pieces)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(
            b"data: This is the first message.\n\n"
            b"data: This is the second message, it\ndata: has two lines.\n\n"
            b"data: This is the third message.\n\n",
            [
                "This is the first message.",
                "This is the second message, it\nhas two lines.",
                "This is the third message.",
            ],
            id="three messages",
        ),
        pytest.param(b"data: YHOO\ndata: +2\ndata: 10\n\n", ["YHOO\n+2\n10"], id="three lines"),
        pytest.param(b"data\n\ndata\ndata\n\ndata:", ["", "\n"], id="empty data, and an incomplete event"),
        pytest.param(b"data:test\n\ndata: test\n\n", ["test", "test"], id="the space is optional"),
        pytest.param(b"data:  two spaces\n\n", [" two spaces"], id="one space is removed"),
        pytest.param(b": test stream\n\n: ping\n\n", [], id="comments"),
        pytest.param(b"event: x\n\n", [], id="no data, no event"),
        pytest.param(b"unknown: x\ndata: y\n\n", ["y"], id="unknown field"),
        pytest.param(b"\xef\xbb\xbfdata: x\n\n", ["x"], id="byte-order mark"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", [], id="only one byte-order mark"),
        pytest.param(b"data: a\r\rdata: b\r\n\r\ndata: c\n\r\n", ["a", "b", "c"], id="line ends"),
        pytest.param(b"data: caf\xc3\xa9 \xff\n\n", ["café �"], id="invalid UTF-8"),
    ],
)
def test_server_sent_events_have_the_data_of_the_standard(stream: bytes, expected: list[str]) -> None:
    """Data lines are joined, comments and unknown fields ignored, and an incomplete event is dropped."""
    assert [event.data for event in sse(stream)] == expected


def test_the_last_id_is_kept_and_an_empty_one_resets_it() -> None:
    """The standard's example: the id "1", then an empty id, then none; the third data is not complete."""
    stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n"
    assert sse(stream) == [StreamEvent("first event", id="1"), StreamEvent("second event")]
    assert sse(b"id: 7\ndata: a\n\ndata: b\n\n")[1].id == "7"
    assert sse(b"id: 7\nid: 8\x00\ndata: a\n\n")[0].id == "7"


def test_an_event_has_its_name_for_one_event() -> None:
    """The standard's example of named events."""
    stream = b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\ndata: 1\n\n"
    assert [event.name for event in sse(stream)] == ["add", "remove", "message"]


def test_a_retry_time_is_a_number_of_milliseconds() -> None:
    """Other values are ignored, as the standard requires."""
    assert sse(b"retry: 1500\ndata: x\n\n")[0].retry_ms == 1500
    assert sse(b"retry: 1.5\ndata: x\n\nretry: -1\ndata: y\n\n")[1].retry_ms is None


def test_done_ends_the_stream() -> None:
    """OpenAI's end marker is no event, and everything after it is ignored."""
    decoder = ServerSentEvents(SMALL)
    assert [event.data for event in decoder.decode(b"data: a\n\ndata: [DONE]\n\ndata: b\n\n")] == ["a"]
    assert decoder.is_done
    assert decoder.decode(b"x" * 1000) == []


def test_json_lines_are_the_lines_that_are_not_blank() -> None:
    """The last line needs no end."""
    assert [
        event.data for event in decode_all(JsonLines(), b'{"a":1}\r\n\n{"b":\r2}\n', b'{"c"', b":3}")
    ] == [
        '{"a":1}',
        '{"b":\r2}',
        '{"c":3}',
    ]


@pytest.mark.parametrize("decoder", [ServerSentEvents, JsonLines])
def test_an_endless_line_is_an_error(decoder: Callable[[StreamLimits], EventDecoder]) -> None:
    """A line within the limit is fine."""
    decoder(SMALL).decode(b"data: " + b"x" * 14 + b"\n")
    with pytest.raises(ServerError, match="a line of more than 20 bytes"):
        decode_all(decoder(SMALL), b"data: ", b"x" * 10, b"x" * 10)
    with pytest.raises(ServerError, match="a line of more than 20 bytes"):
        decoder(SMALL).decode(b"data: " + b"x" * 15 + b"\n")


def test_an_event_of_many_lines_and_an_endless_stream_are_errors() -> None:
    """Each line alone is within the limit of a line."""
    with pytest.raises(ServerError, match="an event of more than 30 bytes"):
        ServerSentEvents(SMALL).decode(b"data: 12345678\n" * 3)
    with pytest.raises(ServerError, match="more than 60 bytes in one answer"):
        ServerSentEvents(SMALL).decode(b": a comment\n\n" * 6)
    with pytest.raises(ServerError, match="more than 60 bytes in one answer"):
        JsonLines(SMALL).decode(b'{"a": 123}\n' * 6)


LINES = st.sampled_from(
    [
        b"data: a",
        b"data",
        b"data:[DONE]",
        b"event: e",
        b"id: 1",
        b"id",
        b"retry: 5",
        b": c",
        b"",
        b"\xef\xbb\xbf",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r\r"])
STREAMS = st.lists(st.tuples(LINES | st.binary(max_size=4), ENDS), max_size=12).map(
    lambda parts: b"".join(line + end for line, end in parts)
)


@given(
    stream=STREAMS, cuts=st.lists(st.integers(0, 100)), kind=st.sampled_from([ServerSentEvents, JsonLines])
)
def test_the_events_do_not_depend_on_the_pieces(
    stream: bytes, cuts: list[int], kind: Callable[[StreamLimits], EventDecoder]
) -> None:
    """The same holds for the error of a stream that is too long."""
    ends = sorted({*(cut for cut in cuts if cut < len(stream)), len(stream)})
    pieces = [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert b"".join(pieces) == stream
    assert _outcome(kind(SMALL), [stream]) == _outcome(kind(SMALL), pieces)
    assert _outcome(kind(StreamLimits()), [stream]) == _outcome(kind(StreamLimits()), pieces)


def _outcome(decoder: EventDecoder, pieces: list[bytes]) -> list[StreamEvent] | str:
    try:
        return decode_all(decoder, *pieces)
    except ServerError as error:
        return error.message
