"""Compare the prompts of a family with those of transformers, and look for forged control tokens."""

import json
import string
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from hermes_cli.engines.llama_cpp.vocabulary import vocabulary_engine
from hermes_cli.messages import Message, Role
from hermes_cli.models.gguf.model import read_header
from hermes_cli.prompts.prompt_format import PromptFormat
from hermes_cli.prompts.template_format import TemplateFormat
from tests.dialogues import hostile, ordinary
from tests.prompts.chat_templates import (
    FAMILIES,
    family_reference,
    family_tokenizer_json,
    family_vocabulary,
    ordinary_added,
)
from tests.prompts.tokenizer_kinds import KINDS, PACKAGED

PAIRS = [*product(FAMILIES, KINDS), *((file, file) for file in PACKAGED)]
"""Each family with each kind of tokenizer, and the vocabularies of mistral-common."""


@cache
def format_of(name: str, kind: str = "byte-level") -> TemplateFormat:
    """Return hermes' format of a family."""
    prompt_format = family_vocabulary(name, kind).format
    assert isinstance(prompt_format, TemplateFormat)
    return prompt_format


@cache
def control_of(name: str, kind: str) -> dict[str, int]:
    """Return the control tokens of a family's tokenizer.json."""
    added = json.loads(family_tokenizer_json(name, kind))["added_tokens"]
    ordinary_texts = {text for text, _ in ordinary_added(kind)}
    return {token["content"]: token["id"] for token in added if token["content"] not in ordinary_texts}


def transformers_ids(reference: Any, messages: Sequence[Message]) -> list[int]:
    """Return apply_chat_template's ids; the model continues a last turn of the assistant."""
    turns = [{"role": str(message.role), "content": message.text} for message in messages]
    is_continued = messages[-1].role is Role.ASSISTANT and bool(messages[-1].text)
    turns = turns[:-1] if messages[-1].role is Role.ASSISTANT and not is_continued else turns
    ids: list[int] = reference.apply_chat_template(
        turns, add_generation_prompt=not is_continued, continue_final_message=is_continued, return_dict=False
    )
    return ids


def differences(name: str, kind: str, count: int, seed: int) -> tuple[int, int]:
    """Return the counts of `compare` for a family and a kind of tokenizer."""
    prompt_format, control = format_of(name, kind), control_of(name, kind)
    return compare(prompt_format, family_reference(name, kind), control, count, seed)


def compare(
    prompt_format: PromptFormat, reference: Any, control: Iterable[str], count: int, seed: int
) -> tuple[int, int]:
    """Return how many of `count` ordinary dialogues have other ids than those of `reference`, and `count`.

    Dialogues that contain a control token, or that transformers cannot continue, do not count.
    """
    wrong = compared = 0
    for messages in ordinary(2 * count, seed):
        if any(text in message.text for text in control for message in messages):
            continue
        adapted = messages
        if isinstance(prompt_format, TemplateFormat):
            adapted = [Message(turn.role, turn.text) for turn in prompt_format._support.adapt(messages)]
        elif messages[-1].text.endswith(tuple(string.whitespace)):
            continue  # transformers strips an answer that is continued, and ChatML keeps it
        if adapted[-1].role is Role.ASSISTANT and not adapted[-1].text.strip():
            continue  # transformers cannot continue white space
        wrong += prompt_format.ids(messages) != transformers_ids(reference, adapted)
        compared += 1
        if compared == count:
            break
    return wrong, compared


def forged(name: str, kind: str, count: int, seed: int) -> int:
    """Return the count of `count_forged` for a family and a kind of tokenizer."""
    return count_forged(format_of(name, kind), control_of(name, kind), count, seed)


def count_forged(prompt_format: PromptFormat, control: Mapping[str, int], count: int, seed: int) -> int:
    """Return the number of hostile dialogues whose control tokens are not those of a harmless dialogue."""
    ids, literals = set(control.values()), sorted(control)
    wrong = 0
    for number, messages in enumerate(hostile(count, seed)):
        literal = literals[number % len(literals)]
        attack = f"x{literal}{literal[:3]}{literal}{literal[3:]} {literal}\n{literal[:-1]}"
        hostile_messages = [Message(m.role, m.text + attack) for m in messages]
        harmless = [Message(m.role, "hi") for m in messages]
        found, expected = (
            [i for i in prompt_format.ids(m) if i in ids] for m in (hostile_messages, harmless)
        )
        wrong += found != expected
    return wrong


def gguf_counts(
    path: Path, folder: Path, ordinary_count: int, hostile_count: int, seeds: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return how many prompts of a GGUF were compared with those of its folder, and how many differ.

    Then, how many hostile dialogues there were, and how many of them forged a control token.
    """
    from transformers import AutoTokenizer

    kind: Any = AutoTokenizer
    with vocabulary_engine(read_header(path)) as engine:
        control = added_tokens(folder)
        reference = kind.from_pretrained(folder)
        wrong, compared = compare(engine._format, reference, control, ordinary_count, seeds[0])
        attacked = count_forged(engine._format, control, hostile_count, seeds[1])
    return compared, wrong, hostile_count, attacked


def added_tokens(folder: Path) -> dict[str, int]:
    """Return the added tokens of the tokenizer.json in a folder."""
    added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    return {token["content"]: token["id"] for token in added}
