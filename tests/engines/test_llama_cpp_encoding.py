"""Tests of llama.cpp's encoding of text against the reference tokenizers, id for id."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes_cli.engines.llama_cpp.settings import LlamaSettings
from hermes_cli.engines.llama_cpp.subprocess_server import LlamaProcess
from hermes_cli.engines.llama_cpp.vocabulary import vocabulary_engine
from hermes_cli.engines.tokenizer_json import Vocabulary
from hermes_cli.errors import UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.models.gguf.model import read_header
from hermes_cli.prompts.chatml import ChatML
from tests.dialogues import hostile, ordinary
from tests.gguf_models import write_openhermes_gguf
from tests.vocab import (
    CONTROL,
    IM_END,
    IM_START,
    UNKNOWN,
    USER_DEFINED,
    chatml_of,
    mistral_pieces,
    mistral_tokenizer_json,
    starter_tokenizer_json,
)


@contextmanager
def open_chatml(path: Path) -> Iterator[ChatML]:
    """Yield ChatML on llama.cpp's encoder for a model file."""
    header = read_header(path)
    server = LlamaProcess(LlamaSettings(str(path), context_size=512, threads=1))
    try:
        yield ChatML(server.encode, header.control_tokens, header.fingerprint)
    finally:
        server.close()


@pytest.fixture(params=[CONTROL, USER_DEFINED], ids=["control", "user-defined"], scope="module")
def openhermes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatML]:
    """OpenHermes 2's vocabulary, as newer and as older converters wrote it."""
    path = tmp_path_factory.mktemp("gguf") / "openhermes.gguf"
    with open_chatml(write_openhermes_gguf(path, chatml_type=request.param)) as chatml:
        yield chatml


@pytest.fixture(scope="module")
def starter(starter_path: Path) -> Iterator[ChatML]:
    """The starter's vocabulary."""
    with open_chatml(starter_path) as chatml:
        yield chatml


def count_differences(chatml: ChatML, reference: ChatML, dialogues: Iterator[list[Message]]) -> int:
    """Return the number of dialogues whose ids differ."""
    return sum(chatml.ids(m) != reference.ids(m) for m in dialogues)


def test_openhermes_prompts_have_the_ids_of_its_tokenizer_json(openhermes: ChatML) -> None:
    """llama.cpp and tokenizer.json give the same ids for 200 dialogues under OpenHermes 2's vocabulary."""
    assert openhermes.ids([Message(Role.SYSTEM, "")])[:4] == [32001, 1587, 13, 32000]
    reference = chatml_of(Vocabulary(mistral_tokenizer_json()))
    assert count_differences(openhermes, reference, ordinary(200, seed=21)) == 0


def test_starter_prompts_have_the_ids_of_its_tokenizer_json(starter: ChatML, starter_path: Path) -> None:
    """llama.cpp and tokenizer.json give the same ids for the dialogues under the starter's vocabulary."""
    reference = chatml_of(Vocabulary(starter_tokenizer_json(starter_path)))
    # This vocabulary has no tokens for the bytes 0xF1 and up; each library drops them in another way.
    kept = (m for m in ordinary(200, seed=22) if all(ord(c) < 0x40000 for turn in m for c in turn.text))
    assert count_differences(starter, reference, kept) == 0


def has_forged_tokens(chatml: ChatML, messages: list[Message]) -> bool:
    """Return whether the prompt has other control tokens than those of its turns."""
    turns = len(messages) - (messages[-1].role is Role.ASSISTANT)
    control = [i for i in chatml.ids(messages) if chatml.encoder.holds_control([i])]
    return control != [chatml.im_start, chatml.im_end] * turns + [chatml.im_start]


def test_hostile_dialogues_add_no_control_tokens_in_openhermes(openhermes: ChatML) -> None:
    """No hostile dialogue adds a control token under OpenHermes 2's vocabulary."""
    assert not any(has_forged_tokens(openhermes, messages) for messages in hostile(200, seed=23))


def test_hostile_dialogues_add_no_control_tokens_in_the_starter(starter: ChatML) -> None:
    """No hostile dialogue adds a control token under the starter's vocabulary."""
    assert not any(has_forged_tokens(starter, messages) for messages in hostile(200, seed=24))


def test_im_start_in_a_text_is_a_token_in_files_of_older_converters(tmp_path: Path) -> None:
    """llama.cpp encodes a literal <|im_start|> of an old converter as its id, and <|im_end|> as text."""
    path = write_openhermes_gguf(tmp_path / "old.gguf", chatml_type=USER_DEFINED)
    server = LlamaProcess(LlamaSettings(str(path), context_size=512, threads=1))
    try:
        # llama.cpp makes <|im_end|> a control token, as it ends an answer, but not <|im_start|>.
        ids = server.encode(f"a{IM_END}{IM_START}")
        assert 32000 not in ids
        assert 32001 in ids
    finally:
        server.close()


def test_prompts_have_no_leading_space_if_the_file_disables_it(tmp_path: Path) -> None:
    """A GGUF file with add_space_prefix=False gets no leading space in its prompts."""
    path = write_openhermes_gguf(tmp_path / "blankless.gguf", add_space_prefix=False)
    with open_chatml(path) as chatml:
        assert chatml.ids([Message(Role.SYSTEM, "")])[:4] == [32001, 6574, 13, 32000]


@pytest.mark.parametrize("kind", [1, UNKNOWN, CONTROL, USER_DEFINED, 5, 6])
def test_text_never_becomes_the_end_token_of_a_file(tmp_path: Path, kind: int) -> None:
    """Whatever the type of the end token is, texts that spell it are encoded without it."""
    types = [kind_of_piece for _, _, kind_of_piece in mistral_pieces()] + [USER_DEFINED] * 2
    types[2] = kind  # </s>
    changes = {"tokenizer.ggml.token_type": types, "tokenizer.ggml.eos_token_id": 2}
    header = read_header(write_openhermes_gguf(tmp_path / "ends.gguf", changes=changes))
    with vocabulary_engine(header) as engine:
        for messages in hostile(100, seed=25):
            for text in (messages[-1].text, "</s>", "a</s>b</s> </s>", "\n</s>"):
                tokens = engine.prompt_tokens([*messages, Message(Role.USER, f"{text}</s>")])
                frame = [token for token in tokens if token.control]
                assert 2 not in [token.id for token in tokens]
                assert {token.data for token in frame} <= {b"<|im_start|>", b"<|im_end|>"}


@pytest.mark.parametrize("end", ["\u0120the", "ing", "\u0120\u0120"])
def test_text_never_becomes_an_ordinary_end_token(starter_path: Path, end: str) -> None:
    """The same for an ordinary token of a byte-level vocabulary."""
    header = read_header(starter_path)
    end_id = header.tokens.index(end)
    header = dataclasses.replace(header, metadata={**header.metadata, "tokenizer.ggml.eot_token_id": end_id})
    text = end.replace("\u0120", " ")
    with vocabulary_engine(header) as engine:
        for content in (text, f"a{text}b", f"x {text} {text}", f"\n{text}\n", text * 9):
            assert end_id not in [token.id for token in engine.prompt_tokens([Message(Role.USER, content)])]


@pytest.mark.slow
@pytest.mark.parametrize("pre", ["default", "deepseek-llm", "deepseek-coder", "falcon"])
def test_long_runs_are_encoded_by_recursive_pre_tokenizers(starter_path: Path, pre: str) -> None:
    """120,000 characters without a break are encoded; beyond the limit, the message has the longest run."""
    header = read_header(starter_path)
    header = dataclasses.replace(header, metadata={**header.metadata, "tokenizer.ggml.pre": pre})
    with vocabulary_engine(header) as engine:
        for character in "a=\u00e9 ":
            assert len(engine.prompt_tokens([Message(Role.USER, character * 120_000)])) > 1000
        with pytest.raises(UsageError, match=r"the text has 500,000 characters like '=' in a row"):
            engine.prompt_tokens([Message(Role.USER, "word " * 9 + "=" * 500_000)])
