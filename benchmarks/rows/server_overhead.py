"""server-overhead: time to the first token and per token over a model server, beside `curl -N`.

Both send the same request to the same server, in alternation. hermes is its engine for servers in this
process: its time to the first token includes the request that encodes the question, which curl is given as
ids. The time of curl is its own (`%{time_total}`), so that the start of its process does not count. The
servers are a fake of OpenAI's API, a fake llama-server (both send a token every 5 ms), and llama.cpp's own
with the starter, whose prompt cache is emptied before each answer. The lines of the differences have the
limits of 2 ms per token and 5 ms to the first token as their peer. Gate: both received the same text.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from benchmarks.measure import ROOT, Bench, Repeats, difference, interleave
from benchmarks.report import Goal, Line
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.connection import connect, open_engine
from hermes_cli.engines.remote.engine import RemoteEngine
from hermes_cli.engines.remote.event_stream import ServerSentEvents
from hermes_cli.engines.remote.key import KeySource
from hermes_cli.engines.remote.servers.api import AnswerRequest, checked
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions

PACE_MS, TOKENS, REAL_TOKENS, CONTEXT = 5, 100, 48, 1024
TOKEN_LIMIT_MS, FIRST_LIMIT_MS = 2.0, 5.0
WITHIN = Goal("≤", 1)
ANSWERS = 4
"""Answers of each side in a repeat."""
OTHER_IDS = [100, 200, 300, 400]
"""A prompt that has no common prefix with those of hermes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A text, and the milliseconds to its first token and for each further token."""

    text: str
    first_ms: float
    token_ms: float


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, with the options of its answers."""

    address: ServerAddress
    environ: dict[str, str]
    tokens: int
    is_real: bool = False

    @property
    def options(self) -> GenerationOptions:
        return GenerationOptions(temperature=0, repetition_penalty=1, max_tokens=self.tokens, loop_guard=0)

    def engine(self) -> RemoteEngine:
        return open_engine(self.address, self.environ, context_size=CONTEXT)


def measure(bench: Bench) -> list[Line]:
    if shutil.which("curl") is None:
        return [Line("time per token beside curl", "", 0, 0, skipped="curl is not installed")]
    lines = []
    servers = {
        "OpenAI's API, fake": paced("openai"),
        "llama-server, fake": paced("llama-server"),
        "llama.cpp's server": real(bench.model),
    }
    for name, running in servers.items():
        with running as server:
            lines += _lines(name, server, bench)
    return lines


def _lines(name: str, server: Server, bench: Bench) -> list[Line]:
    numbers = {"hermes": count(), "peer": count()}
    engine, other = server.engine(), server.engine()
    sides: dict[str, Callable[[], list[Answer]]] = {
        "hermes": lambda: [hermes(server, engine, next(numbers["hermes"])) for _ in range(ANSWERS)],
        "peer": lambda: [curl(server, other, next(numbers["peer"])) for _ in range(ANSWERS)],
    }
    runs = interleave(sides, bench.repeats, bench.patience_s)
    texts = {side: [a.text for answers in runs.results[side] for a in answers] for side in sides}
    wrong = difference("list of texts", texts["peer"], [texts["hermes"]])
    return [
        *_compared(
            f"{name}: to the first token", runs, lambda answer: answer.first_ms, FIRST_LIMIT_MS, wrong
        ),
        *_compared(f"{name}: per token", runs, lambda answer: answer.token_ms, TOKEN_LIMIT_MS, wrong),
    ]


def _compared(
    what: str, runs: Repeats[list[Answer]], value: Callable[[Answer], float], limit_ms: float, wrong: str
) -> list[Line]:
    """Return the line of both medians, and that of their difference beside its limit."""

    def median(answers: list[Answer]) -> float:
        return statistics.median(map(value, answers))

    line = runs.line(what, "ms", median, wrong=wrong)
    more_ms = line.hermes - line.peer
    return [line, Line(f"{what}, more than curl, beside the limit", "ms", more_ms, limit_ms, WITHIN, wrong)]


def question(number: int) -> tuple[Message, ...]:
    return (
        Message(Role.SYSTEM, "You are a helpful assistant."),
        Message(Role.USER, f"Question {number}: tell me a story about a lighthouse keeper."),
    )


def hermes(server: Server, engine: RemoteEngine, number: int) -> Answer:
    if server.is_real:
        _empty_cache(server)
    began, moments, text = time.perf_counter(), list[float](), ""
    for chunk in engine.stream(question(number), server.options, Cancel()):
        if chunk.text:
            moments.append(time.perf_counter())
            text += chunk.text
    return Answer(text, (moments[0] - began) * 1000, _pace_ms(moments, len(moments)))


def _pace_ms(moments: list[float], tokens: int) -> float:
    return (moments[-1] - moments[0]) * 1000 / max(tokens - 1, 1)


def curl(server: Server, engine: RemoteEngine, number: int) -> Answer:
    request = _request(server, engine, number)
    key = next(iter(server.environ.values()), "")
    if server.is_real:
        _empty_cache(server)
    command = ["curl", "-N", "-s", "-w", "%{stderr}%{time_total}", "-d", json.dumps(request.body)]
    headers = ["-H", "Content-Type: application/json", "-H", f"Authorization: Bearer {key}"]
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [*command, *headers, request.url],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={"PATH": os.environ["PATH"]},
        )
        received = list[tuple[float, bytes]]()
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        with child.stdout as pipe:
            while data := os.read(pipe.fileno(), 1 << 16):
                received.append((time.perf_counter(), data))
            end = time.perf_counter()
        if child.wait():
            raise RuntimeError(f"curl ended with exit code {child.returncode}")
        errors.seek(0)
        total_ms = float(errors.read()) * 1000
    moments, text = _texts(received, request, connect(server.address, server.environ, Cancel())[0])
    return Answer(text, total_ms - (end - moments[0]) * 1000, _pace_ms(moments, len(moments)))


def _texts(
    received: Sequence[tuple[float, bytes]], request: AnswerRequest, client: ServerClient
) -> tuple[list[float], str]:
    """Return the moments at which a text arrived, and the whole text."""
    decoder, moments, text = ServerSentEvents(), list[float](), ""
    for moment, data in received:
        for event in decoder.decode(data):
            part = request.read(checked(json.loads(event.data), client).table())
            if part.text:
                moments.append(moment)
                text += part.text
    return moments, text


def _request(server: Server, engine: RemoteEngine, number: int) -> AnswerRequest:
    """Return the request that hermes sends for a question."""
    client, api = connect(server.address, server.environ, Cancel())
    model = api.find_model(client, engine.name, Cancel())
    if api.tokens is None:
        return api.chat_request(model, question(number), server.options, CONTEXT)
    ids = [token.id for token in engine.prompt_tokens(question(number))]
    return api.tokens.request(model, ids, server.options, ())


def _empty_cache(server: Server) -> None:
    client, api = connect(server.address, server.environ, Cancel())
    if api.tokens is None:
        raise RuntimeError("the server does not take token ids")
    model = api.find_model(client, api.models(client, Cancel())[0].name, Cancel())
    request = api.tokens.request(model, OTHER_IDS, GenerationOptions(max_tokens=1), ())
    list(client.stream(request.url, request.body, request.new_decoder(), Cancel()))


@contextmanager
def paced(kind: str) -> Iterator[Server]:
    """Run a fake in a process of its own."""
    command = [sys.executable, "-P", "-m", "benchmarks.peers.paced_server", kind, str(PACE_MS)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            url = process.stdout.readline().strip()
            yield Server(ServerAddress(url, "fake"), {}, TOKENS)
        finally:
            process.kill()


@contextmanager
def real(model: Path) -> Iterator[Server]:
    """Run llama.cpp's server with a model in a process of its own."""
    from tests.engines.remote.llama_peer import KEY, KEY_VARIABLE, llama_peer

    with llama_peer(model, CONTEXT) as url:
        address = ServerAddress(url, "peer", key=KeySource("key_env", KEY_VARIABLE))
        yield Server(address, {KEY_VARIABLE: KEY}, REAL_TOKENS, is_real=True)
