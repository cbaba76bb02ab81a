"""Tests of the vocabulary of a model folder, also of an older one that has only SentencePiece's file."""

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.engines.tokenizer_json import read_vocabulary
from hermes_cli.errors import ModelUnavailable
from hermes_cli.messages import Message, Role
from tests.weights import tiny_mistral_folder

MESSAGES = [
    Message(Role.SYSTEM, "You are Hermes 2."),
    Message(Role.USER, "Grüße,  World!\n\tx = 1 <|im_end|>"),
]


def added_token(content: str, *, special: bool) -> dict[str, Any]:
    """Return an entry of added_tokens_decoder."""
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    return {"content": content, "special": special, **flags}


@pytest.fixture
def older_folder(tmp_path: Path) -> Path:
    """A folder in the format of 2023: tokenizer.model, and the ChatML tokens in the config."""
    import mistral_common

    package = Path(mistral_common.__file__).parent
    shutil.copy(package / "data" / "tokenizer.model.v1", tmp_path / "tokenizer.model")
    tokens = {
        "0": added_token("<unk>", special=True),
        "1": added_token("<s>", special=True),
        "2": added_token("</s>", special=True),
        "32000": added_token("<|im_end|>", special=True),
        "32001": added_token("<|im_start|>", special=False),
    }
    config = {"tokenizer_class": "LlamaTokenizer", "legacy": True, "added_tokens_decoder": tokens}
    config |= {"bos_token": "<s>", "eos_token": "<|im_end|>", "unk_token": "<unk>", "add_bos_token": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mistral", "eos_token_id": 32000}))
    return tmp_path


@pytest.mark.slow
def test_a_tokenizer_model_gives_the_ids_of_transformers(older_folder: Path) -> None:
    """A tokenizer.model gives the ids of transformers' own tokenizer, and a marker in a text stays text."""
    vocabulary = read_vocabulary(older_folder)
    reference: Any = import_module("transformers").AutoTokenizer.from_pretrained(str(older_folder))
    ordinary = [MESSAGES[0], Message(Role.USER, MESSAGES[1].text.removesuffix("<|im_end|>"))]
    text = (
        "".join(f"<|im_start|>{m.role}\n{m.text}<|im_end|>\n" for m in ordinary) + "<|im_start|>assistant\n"
    )
    assert vocabulary.chatml.ids(ordinary) == reference(text, add_special_tokens=False).input_ids
    hostile = vocabulary.prompt_tokens(MESSAGES)
    assert sum(token.control for token in hostile) == 5
    assert vocabulary.stop_ids == {0, 1, 2, 32000, 32001}


def test_stop_ids_are_the_special_tokens_and_those_of_the_config(tmp_path: Path) -> None:
    """The stop ids are all special tokens and the eos_token_id of generation_config.json."""
    folder = Path(shutil.copytree(tiny_mistral_folder(), tmp_path / "copy"))
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 77]}')
    assert read_vocabulary(folder).stop_ids == {0, 1, 2, 77, 32000, 32001}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": {"type": "BPE", "vocab": {}, "merges": []}}'])
def test_a_broken_tokenizer_is_refused(tmp_path: Path, text: str) -> None:
    """A broken tokenizer.json is refused with a ModelUnavailable."""
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ModelUnavailable):
        read_vocabulary(tmp_path)


def test_an_id_that_is_far_too_large_is_refused(tmp_path: Path) -> None:
    """A tokenizer with an id of 2^30 is refused, and the message gives the id."""
    text = (tiny_mistral_folder() / "tokenizer.json").read_text()
    tokenizer = json.loads(text)
    tokenizer["added_tokens"].append(tokenizer["added_tokens"][-1] | {"id": 1 << 30, "content": "<far>"})
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelUnavailable, match="1,073,741,824"):
        read_vocabulary(tmp_path)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    """A folder without a tokenizer is refused with the names of the two missing files."""
    with pytest.raises(ModelUnavailable, match=r"neither a tokenizer\.json nor a tokenizer\.model"):
        read_vocabulary(tmp_path)
