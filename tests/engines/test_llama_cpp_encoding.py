"""Tests of llama.cpp's encoding of text against the reference tokenizers, id for id."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes_cli.chatml import ChatML, from_tokenizer_json
from hermes_cli.engines.llama_cpp.server import LlamaServer
from hermes_cli.messages import Message, Role
from hermes_cli.models.gguf.model import read_header
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
    """OpenHermes 2's vocabulary, as newer and as older converters wrote it."""
    path = tmp_path_factory.mktemp("gguf") / "openhermes.gguf"
    with rendered(write_openhermes_gguf(path, chatml_type=request.param)) as chatml:
        yield chatml


@pytest.fixture(scope="module")
def starter(starter_path: Path) -> Iterator[ChatML]:
    """The starter's vocabulary."""
    with rendered(starter_path) as chatml:
        yield chatml


def same_ids(chatml: ChatML, reference: ChatML, dialogues: Iterator[list[Message]]) -> int:
    """Compare all dialogues and return how many differ."""
    return sum(chatml.ids(m) != reference.ids(m) for m in dialogues)


def test_openhermes_is_prompted_as_by_its_tokenizer_json(openhermes: ChatML) -> None:
    """llama.cpp and tokenizer.json give the same ids for 200 dialogues under OpenHermes 2's vocabulary."""
    assert openhermes.ids([Message(Role.SYSTEM, "")])[:4] == [32001, 1587, 13, 32000]
    reference = from_tokenizer_json(mistral_tokenizer_json(), "reference")
    assert same_ids(openhermes, reference, ordinary(200, seed=21)) == 0


def test_the_starter_is_prompted_as_by_its_tokenizer_json(starter: ChatML, starter_path: Path) -> None:
    """llama.cpp and tokenizer.json give the same ids for the dialogues under the starter's vocabulary."""
    reference = from_tokenizer_json(starter_tokenizer_json(starter_path), "reference")
    # This vocabulary has no tokens for the bytes 0xF1 and up; each library drops them in another way.
    kept = (m for m in ordinary(200, seed=22) if all(ord(c) < 0x40000 for turn in m for c in turn.text))
    assert same_ids(starter, reference, kept) == 0


def forged(chatml: ChatML, messages: list[Message]) -> bool:
    """Return whether the prompt has other control tokens than those of its turns."""
    turns = len(messages) - (messages[-1].role is Role.ASSISTANT)
    control = [i for i in chatml.ids(messages) if chatml.holds_control([i])]
    return control != [chatml.im_start, chatml.im_end] * turns + [chatml.im_start]


def test_hostile_dialogues_forge_nothing_in_openhermes(openhermes: ChatML) -> None:
    """No hostile dialogue adds a control token under OpenHermes 2's vocabulary."""
    assert not any(forged(openhermes, messages) for messages in hostile(200, seed=23))


def test_hostile_dialogues_forge_nothing_in_the_starter(starter: ChatML) -> None:
    """No hostile dialogue adds a control token under the starter's vocabulary."""
    assert not any(forged(starter, messages) for messages in hostile(200, seed=24))


def test_llama_cpp_recognises_literals_of_older_converters(tmp_path: Path) -> None:
    """llama.cpp encodes a literal <|im_start|> of an old converter as its id, and <|im_end|> as text."""
    path = write_openhermes_gguf(tmp_path / "old.gguf", chatml_type=USER_DEFINED)
    server = LlamaServer(path, context_size=512, threads=1)
    try:
        # llama.cpp makes <|im_end|> a control token, as it ends an answer, but not <|im_start|>.
        ids = server.encode(f"a{IM_END}{IM_START}")
        assert 32000 not in ids
        assert 32001 in ids
    finally:
        server.close()


def test_a_file_that_wants_no_blank_gets_none(tmp_path: Path) -> None:
    """A GGUF file with add_space_prefix=False gets no leading space in its prompts."""
    path = write_openhermes_gguf(tmp_path / "blankless.gguf", add_space_prefix=False)
    with rendered(path) as chatml:
        assert chatml.ids([Message(Role.SYSTEM, "")])[:4] == [32001, 6574, 13, 32000]
