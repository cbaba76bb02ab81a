"""Tests of the benchmark of model servers: the same text on both sides, and the limits of the differences."""

import shutil

import pytest

from benchmarks.measure import Repeats
from benchmarks.rows import server_overhead
from benchmarks.rows.server_overhead import Answer, Server


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("kind", ["openai", "llama-server"])
def test_both_sides_receive_the_same_text(kind: str) -> None:
    """Neither is faster than the server, which sends 100 tokens at 5 ms each."""
    with server_overhead.paced(kind) as server:
        assert isinstance(server, Server)
        engine, other = server.engine(), server.engine()
        ours, theirs = server_overhead.hermes(server, engine, 1), server_overhead.curl(server, other, 1)
    assert ours.text == theirs.text
    assert len(ours.text) == server_overhead.TOKENS
    for answer in (ours, theirs):
        assert answer.first_ms >= server_overhead.PACE_MS
        assert answer.token_ms >= server_overhead.PACE_MS


def test_the_difference_is_compared_with_its_limit() -> None:
    """3 ms more than curl is within a limit of 5 ms, and 6 ms is not."""
    for ours, verdict in ((13.0, "yes"), (16.0, "no")):
        runs = Repeats({"hermes": [[Answer("a", ours, 1.0)]], "peer": [[Answer("a", 10.0, 1.0)]]}, [])
        _, line = server_overhead._compared("first", runs, lambda answer: answer.first_ms, 5.0, "")
        assert (line.hermes, line.peer, line.verdict) == (ours - 10.0, 5.0, verdict)
