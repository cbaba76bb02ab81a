"""Tokenizers of each kind, as the parts of a tokenizer.json without its added tokens."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from tests.vocab import mistral_tokenizer_json, sentencepiece_model

TEKKEN_TOKENS = 8_000
"""The tokens of Tekken in small vocabularies. Each is made of two earlier ones, so they are a BPE, too."""
_ENGLISH = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LETTERS_ANY, _SPACES = r"[^\r\n\p{L}\p{N}]?\p{L}+", r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_FIRST = r"[^\r\n\p{L}\p{N}]?"
_PUNCTUATION = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
EXPRESSIONS: Mapping[str, tuple[str, ...]] = {
    "llama-bpe": (rf"{_ENGLISH}|{_LETTERS_ANY}|\p{{N}}{{1,3}}|{_PUNCTUATION}|{_SPACES}",),
    "qwen2": (rf"{_ENGLISH}|{_LETTERS_ANY}|\p{{N}}|{_PUNCTUATION}|{_SPACES}",),
    "gpt-4o": (
        (
            rf"{_FIRST}{_UPPER}*{_LOWER}+{_ENGLISH}?|{_FIRST}{_UPPER}+{_LOWER}*{_ENGLISH}?"
            rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
        ),
    ),
    "deepseek-v3": (
        r"\p{N}{1,3}",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        (
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
            rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACES}"
        ),
    ),
}
"""The regular expressions of pre-tokenizers, by llama.cpp's names.

Source: the tokenizer.json of Llama 3, Qwen 2, gpt-oss and DeepSeek V3.
"""


def byte_level() -> dict[str, Any]:
    """Return a byte-level BPE tokenizer with a few merges."""
    merges = [["t", "h"], ["th", "e"], ["Ġ", "a"], ["Ċ", "Ċ"], ["<", "|"], ["|", ">"], ["Ġ", "Ġ"]]
    letters = sorted(_byte_letters())
    words = [*letters, *(first + second for first, second in merges)]
    return _byte_level(words, merges, _level(use_regex=True))


def unigram() -> dict[str, Any]:
    """Return a Unigram tokenizer with SentencePiece's prefix space."""
    spec = json.loads(mistral_tokenizer_json())
    pieces = sorted(spec["model"]["vocab"], key=spec["model"]["vocab"].__getitem__)
    vocab = [[piece, -float(index) / 1000] for index, piece in enumerate(pieces)]
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    model = {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": True}
    return {"normalizer": None, "pre_tokenizer": space, "decoder": space, "model": model}


def word_piece() -> dict[str, Any]:
    """Return a WordPiece tokenizer of lower-case letters, as BERT's without upper case."""
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    words = ["[UNK]", "the", "quick", "hello", "##ing", "user", "assistant", *characters]
    words += [f"##{character}" for character in characters]
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {word: i for i, word in enumerate(words)},
    }
    flags = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    return {
        "normalizer": {"type": "BertNormalizer", **flags},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": model,
    }


def tekken(pre_tokenizer: str) -> dict[str, Any]:
    """Return a byte-level BPE tokenizer of Tekken's first tokens, with another model's pre-tokenizer."""
    words, merges = tekken_merges("tekken_240718.json", TEKKEN_TOKENS)
    return _byte_level(words, merges, _pre_tokenizer(EXPRESSIONS[pre_tokenizer]))


@cache
def tekken_merges(name: str, count: int | None = None) -> tuple[list[str], list[list[str]]]:
    """Return the tokens and the merges of a file of mistral-common, of which `count` are read."""
    spec = _tekken_file(name)
    count = count or spec["config"]["default_vocab_size"] - spec["config"]["default_num_special_tokens"]
    tokens = [base64.b64decode(entry["token_bytes"]) for entry in spec["vocab"][:count]]
    ranks = {token: rank for rank, token in enumerate(tokens)}
    letters = _byte_letters()
    texts = ["".join(letters[byte] for byte in token) for token in tokens]
    merges = list[list[str]]()
    for rank, token in enumerate(tokens):
        if len(token) > 1:
            left, right = _last_merge(token, rank, ranks)
            merges.append([texts[left], texts[right]])
    return texts, merges


def tekken_tokenizer(name: str) -> dict[str, Any]:
    """Return a whole tokenizer of mistral-common, with its own pre-tokenizer."""
    words, merges = tekken_merges(name)
    return _byte_level(words, merges, _pre_tokenizer((_tekken_file(name)["config"]["pattern"],)))


def sentencepiece(file: str) -> dict[str, Any]:
    """Return a SentencePiece tokenizer of mistral-common."""
    return {"model": sentencepiece_model(file)}


@cache
def _tekken_file(name: str) -> Any:
    import mistral_common

    return json.loads((Path(mistral_common.__file__).parent / "data" / name).read_bytes())


def _last_merge(token: bytes, rank: int, ranks: Mapping[bytes, int]) -> tuple[int, int]:
    """Return the ranks of the two tokens that a token is made of."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [(ranks.get(parts[i] + parts[i + 1], rank), i) for i in range(len(parts) - 1)]
        best, position = min(pairs)
        assert best < rank
        parts[position : position + 2] = [parts[position] + parts[position + 1]]
    return ranks[parts[0]], ranks[parts[1]]


@cache
def _byte_letters() -> list[str]:
    """Return the letter that stands for each byte in a byte-level tokenizer."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters: Mapping[int, str] = bytes_to_unicode()
    return [letters[byte] for byte in range(256)]


def _level(*, use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def _pre_tokenizer(expressions: Iterable[str]) -> dict[str, Any]:
    splits = [
        {"type": "Split", "pattern": {"Regex": text}, "behavior": "Isolated", "invert": False}
        for text in expressions
    ]
    return {"type": "Sequence", "pretokenizers": [*splits, _level(use_regex=False)]}


def _byte_level(words: list[str], merges: list[list[str]], pre_tokenizer: dict[str, Any]) -> dict[str, Any]:
    settings = {"dropout": None, "unk_token": None, "fuse_unk": False, "byte_fallback": False}
    affixes = {"continuing_subword_prefix": None, "end_of_word_suffix": None, "ignore_merges": True}
    model = {"type": "BPE", "vocab": {word: i for i, word in enumerate(words)}, "merges": merges}
    return {
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "decoder": _level(use_regex=True),
        "model": {**model, **settings, **affixes},
    }


Kind = Callable[[], dict[str, Any]]
KINDS: Mapping[str, Kind] = {
    "sentencepiece-bpe": dict,
    "byte-level": byte_level,
    "unigram": unigram,
    "wordpiece": word_piece,
    "odd-tokens": byte_level,
}
"""The kinds with which the template of each family is tested; see `tokenizer_json_of` for "odd-tokens"."""
PRE_TOKENIZERS: Mapping[str, Kind] = {name: partial(tekken, name) for name in EXPRESSIONS}
PACKAGED_TEKKEN = ("tekken_240718.json", "tekken_240911.json")
PACKAGED_SENTENCEPIECE = tuple(
    f"mistral_instruct_tokenizer_{name}" for name in ("240216.model.v2", "240323.model.v3", "241114.model.v7")
)
PACKAGED: Mapping[str, Kind] = {
    **{file: partial(tekken_tokenizer, file) for file in PACKAGED_TEKKEN},
    **{file: partial(sentencepiece, file) for file in PACKAGED_SENTENCEPIECE},
}
"""Whole vocabularies of mistral-common."""
