"""Real vocabularies as tokenizer.json texts, and the reference that renders ChatML with them.

Mistral's 32,000 tokens come from mistral-common, with ChatML's two added as OpenHermes 2 adds them; the
starter's come from its own GGUF. The reference is transformers' tokenizer with its chat template: it shares
no code with hermes.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from hermes_cli.engines.tokenizer_json import Vocabulary
from hermes_cli.messages import Message, Role
from hermes_cli.prompts.chatml import ChatML

IM_START, IM_END = "<|im_start|>", "<|im_end|>"
CHATML_TEMPLATE = (
    "{% for m in messages %}"
    "{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)
UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6  # SentencePiece's types, and llama.cpp's


@functools.cache
def mistral_pieces(file: str = "tokenizer.model.v1") -> list[tuple[str, float, int]]:
    """Return (spelling, score, type) of a vocabulary in mistral-common, in the order of the ids."""
    import mistral_common

    model = import_module("transformers.convert_slow_tokenizer").import_protobuf().ModelProto()
    model.ParseFromString((Path(mistral_common.__file__).parent / "data" / file).read_bytes())
    return [(piece.piece, piece.score, piece.type) for piece in model.pieces]


@functools.cache
def mistral_tokenizer_json() -> str:
    """Return OpenHermes 2's tokenizer.json: <|im_end|> 32000 is special, <|im_start|> 32001 is not."""
    vocab = {piece: i for i, (piece, _, _) in enumerate(mistral_pieces())}
    special = [piece for piece, _, kind in mistral_pieces() if kind in (UNKNOWN, CONTROL)]
    added = [_added(vocab[token], token, special=True) for token in special]
    added += [_added(32000, IM_END, special=True), _added(32001, IM_START, special=False)]
    prepend = {"type": "Prepend", "prepend": "▁"}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    back = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    decoders = [back, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": added,
            "normalizer": {"type": "Sequence", "normalizers": [prepend, replace]},
            "pre_tokenizer": None,
            "post_processor": None,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": sentencepiece_model("tokenizer.model.v1"),
        }
    )


def sentencepiece_model(file: str) -> dict[str, Any]:
    """Return the `model` of the tokenizer.json of a vocabulary in mistral-common."""
    generate_merges = import_module("transformers.convert_slow_tokenizer").generate_merges
    pieces = mistral_pieces(file)
    vocab = {piece: i for i, (piece, _, _) in enumerate(pieces)}
    special = [piece for piece, _, kind in pieces if kind in (UNKNOWN, CONTROL)]
    merges = generate_merges(vocab, {piece: score for piece, score, _ in pieces}, skip_tokens=special)
    return _bpe(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)  # noqa: S106 - a token, not a password


def starter_tokenizer_json(gguf: Path) -> str:
    """Return SmolLM2's tokenizer.json from the metadata of its GGUF."""
    from hermes_cli.models.gguf.model import read_header

    header = read_header(gguf)
    tokens, types = header.tokens, header.token_types
    array: Any = header.metadata["tokenizer.ggml.merges"]
    merges = [tuple(merge.split(" ")) for merge in array.strings]
    digits = {"type": "Digits", "individual_digits": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": [
                _added(i, token, special=True)
                for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
                if kind in (CONTROL, USER_DEFINED)
            ],
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
            "post_processor": None,
            "decoder": byte_level,
            "model": _bpe({token: i for i, token in enumerate(tokens)}, merges),
        }
    )


def _added(number: int, content: str, *, special: bool) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": number, "content": content, **flags, "special": special}


def _bpe(vocab: dict[str, int], merges: Sequence[tuple[str, ...]], **settings: Any) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        **settings,
        "vocab": vocab,
        "merges": merges,
    }


def chatml_of(vocabulary: Vocabulary) -> ChatML:
    """Return the prompt format of a vocabulary, which must be ChatML."""
    assert isinstance(vocabulary.format, ChatML)
    return vocabulary.format


def fingerprint(tokenizer_json: str) -> str:
    """Return the sha256 that golden ids are tied to."""
    return hashlib.sha256(tokenizer_json.encode()).hexdigest()


class Reference:
    """transformers' own rendering of a conversation for one tokenizer.json."""

    def __init__(self, tokenizer_json: str) -> None:
        from tokenizers import Tokenizer
        from transformers import PreTrainedTokenizerFast

        untyped: Any = PreTrainedTokenizerFast
        self.tokenizer: Any = untyped(tokenizer_object=Tokenizer.from_str(tokenizer_json))
        self.tokenizer.chat_template = CHATML_TEMPLATE

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Return apply_chat_template's ids; a last turn of the assistant is left open."""
        turns = [{"role": str(m.role), "content": m.text} for m in messages]
        result: list[int]
        if not messages or messages[-1].role is not Role.ASSISTANT:
            result = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
            return result
        rendered = self.tokenizer.apply_chat_template(turns, tokenize=False)
        result = self.tokenizer(rendered.removesuffix(f"{IM_END}\n"), add_special_tokens=False).input_ids
        return result
