"""Write the vocabulary of a tokenizer.json into a GGUF."""

import json
from pathlib import Path
from typing import Any

from tests.prompts.chat_templates import Family
from tests.vocab import BYTE, CONTROL, mistral_pieces

NORMAL = 1


def add_vocabulary(writer: Any, folder: Path, family: Family, pre_tokenizer: str) -> None:
    """Add the vocabulary and the template of a folder to a GGUF.

    `pre_tokenizer` is llama.cpp's name of the pre-tokenizer of a byte-level vocabulary.
    """
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ids = dict(spec["model"]["vocab"])
    added = {token["content"]: token["id"] for token in spec["added_tokens"]}
    texts = {i: text for text, i in {**ids, **added}.items()}
    tokens = [texts[i] for i in range(max(texts) + 1)]
    is_sentencepiece = spec["model"]["byte_fallback"]
    kinds = {piece: kind for piece, _, kind in mistral_pieces()} if is_sentencepiece else {}
    writer.add_tokenizer_model("llama" if is_sentencepiece else "gpt2")
    if is_sentencepiece:
        scores = {piece: score for piece, score, _ in mistral_pieces()}
        writer.add_token_scores([scores.get(token, -1000.0) for token in tokens])
        writer.add_unk_token_id(0)
    else:
        writer.add_tokenizer_pre(pre_tokenizer)
        writer.add_token_merges([" ".join(merge) for merge in spec["model"]["merges"]])
    writer.add_token_list(tokens)
    types = [CONTROL if token in added else kinds.get(token, NORMAL) for token in tokens]
    assert not is_sentencepiece or BYTE in types
    writer.add_token_types(types)
    if family.bos:
        writer.add_bos_token_id(added[family.bos])
    writer.add_eos_token_id(added[family.eos])
    writer.add_add_bos_token(value=False)
    writer.add_chat_template(family.template)
