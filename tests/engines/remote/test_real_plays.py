"""Long conversations with a character over a real llama.cpp server, compared with the local engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes_cli.chat.prompt_settings import Overflow
from hermes_cli.engines.base import Engine
from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
from hermes_cli.engines.llama_cpp.settings import LlamaSettings
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.engines.remote.connection import open_engine
from hermes_cli.engines.remote.key import KeySource
from hermes_cli.engines.remote.servers.api import Level
from hermes_cli.models.gguf.model import read_header
from tests.engines.remote.llama_peer import BATCH, KEY, KEY_VARIABLE, llama_peer
from tests.engines.remote.long_play import QUESTIONS, SYSTEM, LongPlay
from tests.gguf_models import write_openhermes_gguf

pytestmark = pytest.mark.slow
SMALL = 512
"""llama.cpp rounds the size up to a multiple of 256."""


@pytest.fixture(params=["tiny", pytest.param("starter", marks=pytest.mark.long)])
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model with random weights and OpenHermes 2's vocabulary, and the starter."""
    if request.param == "tiny":
        return write_openhermes_gguf(tmp_path / "tiny.gguf")
    path: Path = request.getfixturevalue("starter_path")
    return path


@contextmanager
def local_engine(weights: Path, context_size: int) -> Iterator[Engine]:
    """Yield the engine of this machine, which evaluates as many tokens at a time as the server."""
    settings = LlamaSettings(str(weights), context_size, 2, batch=BATCH)
    engine = LlamaCppEngine(read_header(weights), settings, name="local")
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def remote_engine(weights: Path, context_size: int) -> Iterator[Engine]:
    """Yield the engine of a server with the same model."""
    with llama_peer(weights, context_size) as url:
        address = ServerAddress(url, "peer", key=KeySource("key_env", KEY_VARIABLE))
        engine = open_engine(address, {KEY_VARIABLE: KEY})
        assert engine.level is Level.TOKEN_IDS
        assert engine.context_size == context_size
        yield engine


def text_of(engine: Engine, play: LongPlay) -> str:
    """Return the prompt that an engine makes of the conversation."""
    messages = play.session.next_prompt().messages
    return b"".join(token.data for token in engine.prompt_tokens(messages)).decode()


def test_a_long_play_has_the_ids_and_the_text_of_the_local_engine(weights: Path, tmp_path: Path) -> None:
    """Also while old turns are dropped; as many tokens are reused as by the local engine."""
    plays = []
    for name, open_one in (("local", local_engine), ("remote", remote_engine)):
        with open_one(weights, SMALL) as engine:
            play = LongPlay(engine, tmp_path / f"{name}.db")
            play.play()
            play.close()
            prompt = [token.id for token in engine.prompt_tokens(play.session.next_prompt().messages)]
        ids = [node.generation.turn_ids for node in play.session.tree.nodes]
        plays.append((play, prompt, [turn.ids if turn is not None else None for turn in ids]))
    (local, local_prompt, local_ids), (remote, remote_prompt, remote_ids) = plays
    assert remote.answers == local.answers
    assert remote_ids == local_ids
    assert remote_prompt == local_prompt
    assert any("left out" in remark for remark in remote.remarks)
    # The server does not report the usage of an answer that was stopped here.
    counts = [
        (local_usage, usage)
        for local_usage, usage in zip(local.usages, remote.usages, strict=True)
        if usage.cached_tokens
    ]
    assert len(counts) >= len(QUESTIONS)
    for local_usage, usage in counts:
        assert usage.prompt_tokens == local_usage.prompt_tokens
        assert abs(usage.cached_tokens - local_usage.cached_tokens) <= 1  # the last token of an answer


def test_a_long_play_that_summarizes_old_turns(weights: Path, tmp_path: Path) -> None:
    """The summary replaces them, also after a restart."""
    with remote_engine(weights, SMALL) as engine:
        play = LongPlay(engine, tmp_path / "conversations.db", Overflow.SUMMARISE)
        play.play()
        count = len(play.session.summaries)
        assert count
        play.resume()
        assert len(play.session.summaries) == count
        text = text_of(engine, play)
        play.close()
    assert SYSTEM in text
    assert QUESTIONS[0] not in text
    assert QUESTIONS[-1] in text


def test_a_play_goes_on_with_the_local_engine_and_back(weights: Path, tmp_path: Path) -> None:
    """Both make the same prompt of the conversation."""
    with remote_engine(weights, 1024) as remote, local_engine(weights, 1024) as local:
        play = LongPlay(remote, tmp_path / "conversations.db")
        for number, question in enumerate(QUESTIONS[:6]):
            if number in {2, 4}:
                play.resume(local if number == 2 else remote)
            assert text_of(remote, play) == text_of(local, play)
            play.send(question)
        names = [node.generation.model for node in play.session.tree.nodes if node.generation.model]
        assert names == [remote.name] * 2 + [local.name] * 2 + [remote.name] * 2
        play.close()
