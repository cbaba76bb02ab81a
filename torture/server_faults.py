"""The ways in which the fakes of model servers fail in `torture.remote`."""

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat
from typing import Any, Final

from tests.engines.remote.fakes.http_server import Fault, Reply, gzip_bomb

Random = random.Random
Rewrite = Callable[[Iterator[bytes]], Iterator[bytes]]

KEY: Final = "sk-torture-0123456789"
"""The key of the fakes. Some of their errors repeat it."""
ESCAPE: Final = "\x1b]0;title\x07\u202e"
SLOW: Final = 0.004
"""Seconds between the pieces of an answer that something is to happen to."""
_NUMBER: Final = re.compile(rb'("(?:prompt_tokens|prompt_eval_count|tokens_evaluated|cached_tokens)": )\d+')
_TEXT: Final = re.compile(rb'("(?:content|text)": )"[^"]+"')
_IDS: Final = re.compile(rb'("(?:tokens|token_ids)": )\[\d+\]')
_LIES: Final = (b"3", b"-1", b"1e999", b'"many"', b"9" * 30, b"null", b"[1]", b"true", b"1.5")
_NOT_TEXT: Final = (b"7", b"[]", b"{}", b"true", b'"\\ud800"', b'"\\u0000\\u001b[31m"')
_NOT_IDS: Final = (b"[-1]", b'["a"]', b"[9999999999999]", b"[1.5]", b'{"a": 1}', b"[1]", b"[0, 0, 0]")


@dataclass(frozen=True, slots=True)
class ServerFault:
    """A fault of a server, for a random moment.

    `make` returns the fault of its responses. If the fault `is_harmless`, the answer is complete; if it
    `changes_text`, the text can differ from that of the model. `on_answers` is true for faults of answers
    only; others can hit any request. With `stalls`, the server stops sending and keeps the connection.
    """

    make: Callable[[Random], Fault]
    is_harmless: bool = False
    changes_text: bool = False
    on_answers: bool = True
    stalls: bool = False


def _events(text: bytes) -> bytes:
    """Return data that both decoders read as an event: a field of an SSE stream, or a line of JSON."""
    return b"data: " + text + b"\n\n"


def _status(chance: Random) -> Fault:
    status = chance.choice((400, 401, 403, 404, 405, 418, 429, 500, 502, 503))
    message = chance.choice(("no", f"no access with {KEY}", ESCAPE, "x" * 100_000, ["a"], {"b": 1}, 7, None))
    body: Any = chance.choice(
        ({"error": {"message": message}}, {"error": message}, {"detail": message}, message)
    )
    headers = (
        {"Retry-After": chance.choice(("9999", "soon", "-1", "0", "9" * 400))}
        if chance.getrandbits(1)
        else {}
    )
    return Fault(reply=Reply(body, status, headers=headers))


def _busy_once(chance: Random) -> Fault:
    status = chance.choice((429, 503))
    return Fault(reply=Reply({"error": "busy"}, status, headers={"Retry-After": "0"}), times=1)


def _redirect(chance: Random) -> Fault:
    target = chance.choice(
        ("http://192.0.2.1/", "/v1/chat/completions", "file:///etc/passwd", ESCAPE[1:6], KEY)
    )
    return Fault(reply=Reply(b"", chance.choice((301, 302, 307, 308)), headers={"Location": target}))


def _web_page(chance: Random) -> Fault:
    return Fault(reply=Reply(b"<html>" * 100, chance.choice((200, 404, 500)), "text/html"))


def _bomb(chance: Random) -> Fault:
    return Fault(reply=replace(gzip_bomb(chance.choice((1, 64)) << 20), kind="text/event-stream"))


def _raw(chance: Random) -> Fault:
    begin = b"HTTP/1.1 200 OK\r\n"
    raws = (
        *(b"", chance.randbytes(300), b"HTTP/1.1 200 OK", b"HTTP/9.9 999 \r\n\r\n"),
        begin + b"X-Long: " + b"a" * 200_000 + b"\r\n\r\n",
        begin + b"X-A: b\r\n" * 20_000 + b"\r\n",
        begin + b"Content-Length: 50\r\n\r\nshort",
        begin + b"Content-Length: -1\r\n\r\n{}",
        begin + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        begin + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    )
    return Fault(raw=chance.choice(raws))


def _endless_line(_chance: Random) -> Fault:
    return Fault(reply=Reply(kind="text/event-stream", pieces=islice(repeat(b"a" * 65_536), 2_000)))


def _body(chance: Random) -> Fault:
    bodies = (
        b"",
        b"\xff" * 50,
        b"[" * 50_000,
        b"null",
        b"[]",
        b'{"error": {"message": "boom"}}',
        b"{}",
        b"7",
    )
    return Fault(reply=Reply(chance.choice(bodies)))


def _inserted(chance: Random) -> Fault:
    """Return a fault that inserts an event which is not one of an answer."""
    texts = (
        *(b"{", b"[" * 20_000, b'"a"', b"null", b"\xff\xfe", b'{"choices": 7}', b'{"choices": [7]}'),
        *(b'{"error": "boom"}', json.dumps({"error": {"message": f"{KEY} {ESCAPE}", "code": 503}}).encode()),
        b'{"message": [], "choices": [{"delta": []}], "content": {}}',
        b'{"object": "error", "message": "boom", "code": 401}',
        b'{"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}], "message": {"tool_calls": [1]}}',
    )
    number, text = chance.randint(0, 8), chance.choice(texts)

    def rewrite(pieces: Iterator[bytes]) -> Iterator[bytes]:
        yield from islice(pieces, number)
        yield text + b"\n" if chance.getrandbits(1) else _events(text)
        yield from pieces

    return Fault(rewrite=rewrite)


def _empty_choices(chance: Random) -> Fault:
    """Return a fault that sends events without a choice or with an empty one, and comments."""
    events = [_events(b'{"choices": [], "done": false}'), b"\n", b": a comment\n\n"]
    if chance.randrange(3) == 0:
        return Fault(reply=Reply(kind="text/event-stream", pieces=[events[0]] * 5))
    return Fault(
        rewrite=lambda pieces: chain.from_iterable([event, piece] for piece in pieces for event in (b"\n",))
    )


def _replaced(pattern: re.Pattern[bytes], values: tuple[bytes, ...]) -> Callable[[Random], Fault]:
    def make(chance: Random) -> Fault:
        value, share = chance.choice(values), chance.choice((1, 0.2))

        def change(piece: bytes) -> bytes:
            return pattern.sub(lambda found: found[1] + value, piece) if chance.random() < share else piece

        return Fault(rewrite=lambda pieces: map(change, pieces))

    return make


def _cut(chance: Random, *, in_character: bool = False) -> Fault:
    """Return a fault that closes the connection within an event, and perhaps within a character."""
    number = chance.randint(0, 30)

    def rewrite(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for index, piece in enumerate(pieces):
            wide = next((place for place, byte in enumerate(piece) if byte >= 0xC2), 0)  # noqa: PLR2004 - a lead byte
            if index >= number and (wide or not in_character):
                yield piece[: wide + 1 if wide else chance.randint(1, len(piece) - 1)]
                if chance.getrandbits(1):
                    return
                raise ConnectionAbortedError
            yield piece

    return Fault(rewrite=rewrite, between_s=0.001)


def _split(chance: Random) -> Fault:
    """Return a fault that sends each event in pieces of a few bytes."""
    size = chance.randint(1, 40)

    def rewrite(pieces: Iterator[bytes]) -> Iterator[bytes]:
        data = b"".join(pieces)
        yield from (data[place : place + size] for place in range(0, len(data), size))

    return Fault(rewrite=rewrite)


FAULTS: Final[dict[str, ServerFault]] = {
    "none": ServerFault(lambda _: Fault(), is_harmless=True),
    "slow": ServerFault(lambda _: Fault(before_s=0.05, between_s=0.01), is_harmless=True),
    "split events": ServerFault(_split, is_harmless=True),
    "busy once": ServerFault(_busy_once, is_harmless=True),
    "closed once": ServerFault(lambda _: Fault(raw=b"", times=1), is_harmless=True),
    "content type": ServerFault(lambda _: Fault(kind="application/octet-stream"), is_harmless=True),
    "no answer": ServerFault(lambda _: Fault(before_s=60), on_answers=False, stalls=True),
    "half-open": ServerFault(lambda chance: Fault(silent_after=chance.randint(0, 20)), stalls=True),
    "status": ServerFault(_status, on_answers=False),
    "redirect": ServerFault(_redirect, on_answers=False),
    "web page": ServerFault(_web_page, on_answers=False),
    "gzip bomb": ServerFault(_bomb, on_answers=False),
    "raw bytes": ServerFault(_raw, on_answers=False),
    "endless line": ServerFault(_endless_line, on_answers=False),
    "wrong body": ServerFault(_body, on_answers=False),
    "wrong event": ServerFault(_inserted, changes_text=True),
    "wrong text": ServerFault(_replaced(_TEXT, _NOT_TEXT), changes_text=True),
    "wrong ids": ServerFault(_replaced(_IDS, _NOT_IDS), changes_text=True),
    "wrong counts": ServerFault(_replaced(_NUMBER, _LIES)),
    "empty choices": ServerFault(_empty_choices),
    "cut": ServerFault(lambda chance: Fault(cut_after=chance.randint(0, 30))),
    "cut in an event": ServerFault(_cut),
    "cut in a character": ServerFault(lambda chance: _cut(chance, in_character=True)),
    "no events": ServerFault(lambda _: Fault(reply=Reply(kind="text/event-stream", pieces=[]))),
    "restarted": ServerFault(lambda _: Fault(between_s=SLOW)),
    "not running": ServerFault(lambda _: Fault()),
    "model is gone": ServerFault(lambda _: Fault()),
    "cut prompt": ServerFault(lambda _: Fault()),
    "tool call": ServerFault(lambda _: Fault()),
    "content filter": ServerFault(lambda _: Fault()),
}
"""The faults by name. `torture.remote` changes the server or the model for the last ones."""
