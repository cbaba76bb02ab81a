"""llama.cpp's own encoding of text, held against the reference tokenizers id for id."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes_cli.chatml import ChatML, from_tokenizer_json
from hermes_cli.engines.llama_cpp.server import LlamaServer
from hermes_cli.messages import Message, Role
from hermes_cli.models.gguf import read_header
from tests.dialogues import hostile, ordinary
from tests.gguf_models import write_openhermes_gguf
from tests.vocab import (
    CONTROL,
    IM_END,
    IM_START,
    USER_DEFINED,
    mistral_tokenizer_json,
    starter_tokenizer_json,
)


@contextmanager
def rendered(path: Path) -> Iterator[ChatML]:
    """Yield ChatML on llama.cpp's encoder for a model file."""
    header = read_header(path)
    server = LlamaServer(path, context_size=512, threads=1)
    try:
        yield ChatML(server.encode, header.control_tokens, header.fingerprint)
    finally:
        server.close()


@pytest.fixture(params=[CONTROL, USER_DEFINED], ids=["control", "user-defined"], scope="module")
def openhermes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatML]:
    """Yield OpenHermes 2's vocabulary, as newer and as older converters wrote it."""
    path = tmp_path_factory.mktemp("gguf") / "openhermes.gguf"
    with rendered(write_openhermes_gguf(path, chatml_type=request.param)) as chatml:
        yield chatml


@pytest.fixture(scope="module")
def starter(starter_path: Path) -> Iterator[ChatML]:
    """Yield the starter."""
    with rendered(starter_path) as chatml:
        yield chatml


def same_ids(chatml: ChatML, reference: ChatML, dialogues: Iterator[list[Message]]) -> int:
    """Compare all dialogues and return how many differ."""
    return sum(chatml.ids(m) != reference.ids(m) for m in dialogues)


def test_openhermes_is_prompted_as_by_its_tokenizer_json(openhermes: ChatML) -> None:
    """If this failed, the GGUF and the safetensors of one model would see different prompts."""
    assert openhermes.ids([Message(Role.SYSTEM, "")])[:4] == [32001, 1587, 13, 32000]
    reference = from_tokenizer_json(mistral_tokenizer_json(), "reference")
    assert same_ids(openhermes, reference, ordinary(200, seed=21)) == 0


def test_the_starter_is_prompted_as_by_its_tokenizer_json(starter: ChatML, starter_path: Path) -> None:
    """If this failed, the starter would be worse than it is, and nobody would see why."""
    reference = from_tokenizer_json(starter_tokenizer_json(starter_path), "reference")
    # For the bytes 0xF1 and up this vocabulary has no tokens; each library drops them in its own way.
    kept = (m for m in ordinary(200, seed=22) if all(ord(c) < 0x40000 for turn in m for c in turn.text))
    assert same_ids(starter, reference, kept) == 0


def forged(chatml: ChatML, messages: list[Message]) -> bool:
    """Whether the prompt holds other control tokens than two a finished turn and one for the open one."""
    turns = len(messages) - (messages[-1].role is Role.ASSISTANT)
    control = [i for i in chatml.ids(messages) if chatml.holds_control([i])]
    return control != [chatml.im_start, chatml.im_end] * turns + [chatml.im_start]


def test_hostile_dialogues_forge_nothing_in_openhermes(openhermes: ChatML) -> None:
    """If this failed, a text could speak as the system to the engine that most people will use."""
    assert not any(forged(openhermes, messages) for messages in hostile(200, seed=23))


def test_hostile_dialogues_forge_nothing_in_the_starter(starter: ChatML) -> None:
    """If this failed, the same could be done to the model that a bare machine gets."""
    assert not any(forged(starter, messages) for messages in hostile(200, seed=24))


def test_llama_cpp_recognises_literals_of_older_converters(tmp_path: Path) -> None:
    """If this failed, the flag alone would be safe by now, and cutting the literals needless."""
    path = write_openhermes_gguf(tmp_path / "old.gguf", chatml_type=USER_DEFINED)
    server = LlamaServer(path, context_size=512, threads=1)
    try:
        # <|im_end|> it makes a control token by itself, as the end of an answer; <|im_start|> it does not.
        ids = server.encode(f"a{IM_END}{IM_START}")
        assert 32000 not in ids
        assert 32001 in ids
    finally:
        server.close()


def test_a_file_that_wants_no_blank_gets_none(tmp_path: Path) -> None:
    """If this failed, a model whose converter turned the blank off would be prompted with one."""
    path = write_openhermes_gguf(tmp_path / "blankless.gguf", add_space_prefix=False)
    with rendered(path) as chatml:
        assert chatml.ids([Message(Role.SYSTEM, "")])[:4] == [32001, 6574, 13, 32000]
