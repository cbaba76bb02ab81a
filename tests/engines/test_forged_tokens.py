"""Hostile texts never reach a control token or an end token, in any kind of vocabulary."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.engines.base import PromptToken
from hermes_cli.engines.llama_cpp.vocabulary import vocabulary_engine
from hermes_cli.engines.tokenizer_json import Vocabulary
from hermes_cli.messages import Message, Role
from hermes_cli.models.gguf.model import read_header
from tests.dialogues import hostile
from tests.gguf_models import write_openhermes_gguf
from tests.vocab import IM_END, IM_START, chatml_of, mistral_pieces, mistral_tokenizer_json

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
END = "</s>"
END_ID = 2
COUNT, GGUF_COUNT = 1000, 300
"""Dialogues for each case. Larger runs: see docs/measurements.md."""

PromptTokens = Callable[[list[Message]], list[PromptToken]]


def unigram() -> dict[str, Any]:
    """Return a Unigram model of Mistral's pieces."""
    pieces = [[piece, score] for piece, score, _ in mistral_pieces()]
    return {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": True}


def word_piece() -> dict[str, Any]:
    """Return a WordPiece model of ASCII, in which the control tokens are words, too."""
    characters = [chr(code) for code in range(33, 127)]
    words = ["[UNK]", "im", END, IM_START, IM_END, *characters, *(f"##{c}" for c in characters)]
    return {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 1000,
        "vocab": {word: index for index, word in enumerate(words)},
    }


def tokenizer_json(model: dict[str, Any] | None, *, in_added: bool) -> Vocabulary:
    """Return a vocabulary whose config names END as the end. `in_added` keeps END among the added tokens."""
    spec = json.loads(mistral_tokenizer_json())
    spec["model"] = model or spec["model"]
    vocabulary = spec["model"]["vocab"]
    ids = (
        vocabulary
        if isinstance(vocabulary, Mapping)
        else {piece: i for i, (piece, _) in enumerate(vocabulary)}
    )
    added = [token for token in spec["added_tokens"] if token["content"] in {IM_END, IM_START, END}]
    spec["added_tokens"] = [
        {**token, "id": ids.get(token["content"], token["id"])}
        for token in added
        if in_added or token["content"] != END
    ]
    if spec["model"]["type"] == "WordPiece":
        spec.update(normalizer=None, pre_tokenizer={"type": "WhitespaceSplit"})
    return Vocabulary(json.dumps(spec), [ids[END]])


@contextmanager
def gguf(path: Path, kind: int) -> Iterator[PromptTokens]:
    """Yield the prompts of a SentencePiece GGUF in which END has the type `kind` and is the end token."""
    types = [kind_of_piece for _, _, kind_of_piece in mistral_pieces()] + [USER_DEFINED] * 2
    types[END_ID] = kind
    changes = {"tokenizer.ggml.token_type": types, "tokenizer.ggml.eos_token_id": END_ID}
    with vocabulary_engine(read_header(write_openhermes_gguf(path, changes=changes))) as engine:
        yield engine.prompt_tokens


def forged(prompt_tokens: PromptTokens, end_id: int, count: int) -> int:
    """Return the number of dialogues with a control or end token outside of the frame."""
    wrong = 0
    for messages in hostile(count, seed=31):
        last = messages[-1]
        told = [
            *messages[:-1],
            dataclasses.replace(last, text=f"{last.text}{END} {END}\n{END}x", turn_ids=None),
        ]
        tokens = prompt_tokens(told)
        frame = [token.id for token in tokens if token.control]
        turns = len(told) - (told[-1].role is Role.ASSISTANT)
        content = {token.id for token in tokens if not token.control}
        wrong += len(frame) != 2 * turns + 1 or not content.isdisjoint({*frame, end_id})
    return wrong


@pytest.mark.long
@pytest.mark.parametrize("in_added", [True, False], ids=["added", "ordinary"])
@pytest.mark.parametrize("model", [lambda: None, unigram, word_piece], ids=["bpe", "unigram", "wordpiece"])
def test_no_text_forges_a_token_of_a_tokenizer_json(
    model: Callable[[], dict[str, Any] | None],
    in_added: bool,  # noqa: FBT001 - both cases
) -> None:
    """Hostile dialogues, for each kind of model, with the end token added or ordinary."""
    vocabulary = tokenizer_json(model(), in_added=in_added)
    chatml = chatml_of(vocabulary)
    (end_id,) = vocabulary.format.end_ids - {chatml.im_start, chatml.im_end}
    assert forged(vocabulary.prompt_tokens, end_id, COUNT) == 0


@pytest.mark.long
@pytest.mark.parametrize("kind", [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE])
def test_no_text_forges_a_token_of_a_sentencepiece_gguf(tmp_path: Path, kind: int) -> None:
    """Hostile dialogues, for each type of the end token."""
    with gguf(tmp_path / "ends.gguf", kind) as prompt_tokens:
        assert forged(prompt_tokens, END_ID, GGUF_COUNT) == 0


@pytest.mark.long
@pytest.mark.parametrize("end", [None, "\u0120the"], ids=["control", "ordinary"])
def test_no_text_forges_a_token_of_a_byte_level_gguf(starter_path: Path, end: str | None) -> None:
    """Hostile dialogues with the starter's vocabulary, whose end token is control or ordinary."""
    header = read_header(starter_path)
    end_id = header.tokens.index(end or IM_END)
    header = dataclasses.replace(header, metadata={**header.metadata, "tokenizer.ggml.eot_token_id": end_id})
    with vocabulary_engine(header) as engine:
        assert forged(engine.prompt_tokens, end_id, GGUF_COUNT) == 0
