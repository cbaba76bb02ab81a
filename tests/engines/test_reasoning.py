"""Tests of models that reason, on both engines, with tiny models that always write the same answer.

The models have the vocabulary and the chat template of a family. In each, the last token alone determines the
next one, so that the answer is known.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hermes_cli.engines.base import Cancel, Completion, Engine, FinishReason
from hermes_cli.messages import Message, Role
from hermes_cli.models.gguf.model import read_header
from hermes_cli.options import GenerationOptions
from tests.engines.plans import plan_for
from tests.engines.test_chat_templates import open_gguf, write_family_gguf
from tests.gguf_models import chain_matrices
from tests.prompts.chat_templates import FAMILIES, family_tokenizer_json

QUESTION = [Message(Role.USER, "Hi")]
END = {"gpt-oss": "<|return|>", "gemma-4": "<turn|>"}
ANSWERS = {
    "deepseek-v3": ["<think>", "▁Let", "▁me", "</think>", "▁Five", "▁men"],
    "deepseek-r1": ["▁Let", "▁me", "</think>", "▁Five", "▁men"],
    "magistral": ["[THINK]", "▁Let", "▁me", "[/THINK]", "▁Five", "▁men"],
    "gpt-oss": [
        *("<|channel|>", "analysis", "<|message|>", "▁Let", "▁me", "<|end|>", "▁Five", "▁men"),
    ],
    "gemma-4": [],  # in its form, a newline has two successors
}
"""The tokens of an answer by family. Its reasoning is "Let me", and its text "Five men"."""
WRITING = [name for name, answer in ANSWERS.items() if answer]


def successors_of(vocabulary: Sequence[str], last: int, answer: Sequence[str]) -> dict[int, int]:
    """Return the successor of each token of the prompt's last one and the answer.

    "Five" follows the newline with which hermes ends a reasoning, unless a newline ends the prompt.
    """
    ids = [last, *(vocabulary.index(piece) for piece in answer)]
    newline = {vocabulary.index("<0x0A>"): vocabulary.index("▁Five")}
    return newline | dict(itertools.pairwise(ids))


def gguf_engine(tmp_path: Path, name: str, answer: Sequence[str]) -> Engine:
    """Return a llama.cpp engine that gives this answer."""
    path = write_family_gguf(tmp_path / "model.gguf", name)
    engine = open_gguf(path)
    last = engine.prompt_tokens(QUESTION)[-1].id
    engine.close()
    successors = successors_of(read_header(path).tokens, last, answer)
    return open_gguf(write_family_gguf(path, name, successors=successors))


def folder_engine(tmp_path: Path, name: str, answer: Sequence[str]) -> Engine:
    """Return a transformers engine that gives this answer."""
    pytest.importorskip("torch")
    from hermes_cli.engines.tokenizer_json import read_vocabulary
    from hermes_cli.engines.transformers.engine import TransformersEngine

    family = FAMILIES[name]
    (tmp_path / "tokenizer.json").write_text(family_tokenizer_json(name, "sentencepiece-bpe"))
    settings = {"bos_token": family.bos, "eos_token": family.eos, "chat_template": family.template}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    vocabulary = read_vocabulary(tmp_path)
    last = vocabulary.prompt_tokens(QUESTION)[-1].id
    write_chain_folder(tmp_path, len(vocabulary.entries), successors_of(vocabulary.entries, last, answer))
    return TransformersEngine.open(plan_for(tmp_path, context_size=512))


def write_chain_folder(folder: Path, vocabulary_size: int, successors: Mapping[int, int]) -> None:
    """Write the weights of a Mistral in which each token has one successor."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    size = -(-vocabulary_size // 8) * 8
    shape = MistralConfig(
        vocab_size=size,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=512,
    )
    model = MistralForCausalLM(shape)
    embeddings, output = chain_matrices(size, 64, successors)
    block = model.model.layers[0]
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.from_numpy(embeddings))
        model.lm_head.weight.copy_(torch.from_numpy(output))
        block.self_attn.o_proj.weight.zero_()
        block.mlp.down_proj.weight.zero_()
    model.bfloat16().save_pretrained(folder)


ENGINES = {"llama.cpp": gguf_engine, "transformers": folder_engine}


def run(
    engine: Engine, messages: Sequence[Message], *, max_tokens: int = 24, budget: int | None = None
) -> tuple[str, str, Completion]:
    """Return the reasoning and the text of an answer, and its completion."""
    settings = GenerationOptions(
        temperature=0, repetition_penalty=1, max_tokens=max_tokens, thinking_budget=budget
    )
    chunks = list(engine.stream(messages, settings, Cancel()))
    done = chunks[-1].completion
    assert done is not None
    return "".join(c.reasoning for c in chunks), "".join(c.text for c in chunks), done


def each(names: Iterable[str]) -> pytest.MarkDecorator:
    """Run a test on both engines, with each of these families."""
    return pytest.mark.parametrize("case", [*itertools.product(ENGINES, names)], ids="-".join, indirect=True)


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Engine, str]]:
    """An engine with the answer of a family, and the name of the family."""
    kind, name = request.param
    end = END.get(name, FAMILIES[name].eos)
    engine = ENGINES[kind](tmp_path, name, [*ANSWERS[name], end])
    yield engine, name
    engine.close()


@pytest.mark.slow
@each(WRITING)
def test_the_reasoning_is_separated_from_the_answer(case: tuple[Engine, str]) -> None:
    """It is not in the next prompt, in which the ids of the answer are those that were generated."""
    engine, _ = case
    reasoning, text, done = run(engine, QUESTION)
    assert (reasoning.strip(), text.strip(), done.finish_reason) == ("Let me", "Five men", FinishReason.STOP)
    assert done.usage.reasoning_tokens == len(["▁Let", "▁me", "the mark"])
    assert done.turn_ids is not None
    answer = Message(Role.ASSISTANT, text, done.turn_ids, reasoning=reasoning)
    tokens = engine.prompt_tokens([*QUESTION, answer, Message(Role.USER, "More")])
    assert b"Let me" not in b"".join(token.data for token in tokens)
    ids = [token.id for token in tokens]
    generated = done.turn_ids.ids[-2:]
    assert any(tuple(ids[i : i + 2]) == generated for i in range(len(ids)))


@pytest.mark.slow
@each(WRITING)
def test_a_budget_ends_the_reasoning(case: tuple[Engine, str]) -> None:
    """The model reads the text that ends it, and what follows the last token of that is the answer."""
    engine, name = case
    reasoning, text, done = run(engine, QUESTION, budget=1)
    assert reasoning.strip() == "Let"
    expected = {"deepseek-r1": "Let me Five men", "gpt-oss": "Let me"}  # the first tokens, up to the mark
    assert text.strip() == expected.get(name, "Five men")
    assert done.usage.reasoning_tokens == 1
    assert done.usage.prompt_tokens == len(engine.prompt_tokens(QUESTION))
    assert done.usage.cached_tokens == 0


@pytest.mark.slow
@each(ANSWERS)
def test_a_prompt_can_exclude_the_reasoning(case: tuple[Engine, str]) -> None:
    """The reasoning in the prompt is empty and closed; its tokens are counted."""
    engine, name = case
    messages = [*QUESTION, Message(Role.ASSISTANT, "", reasoning="")]
    tokens = engine.prompt_tokens(messages)
    assert engine.count_tokens(messages) == len(tokens)
    end = b"".join(token.data for token in tokens[-8:]).decode().replace("\n", "").replace(" ", "")
    expected = {
        "deepseek-v3": "<think></think>",
        "deepseek-r1": "<think></think>",
        "magistral": "[THINK][/THINK]",
        "gemma-4": "<|channel>thought<channel|>",
        "gpt-oss": "<|start|>assistant<|channel|>final<|message|>",
    }
    assert end.endswith(expected[name])
    plain = engine.prompt_tokens(QUESTION)
    assert [token.id for token in tokens[: len(plain)]] == [token.id for token in plain]


@pytest.mark.slow
@each(ANSWERS)
def test_a_continued_answer_has_no_new_reasoning(case: tuple[Engine, str]) -> None:
    """The prompt ends with the answer, and its text is continued."""
    engine, _ = case
    answer = Message(Role.ASSISTANT, "So", reasoning="Let me")
    data = b"".join(token.data for token in engine.prompt_tokens([*QUESTION, answer])).decode()
    assert data.endswith("So")
    reasoning, _, _ = run(engine, [*QUESTION, replace(answer, reasoning=None)], max_tokens=2)
    assert reasoning == ""
