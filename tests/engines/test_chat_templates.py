"""Tests of models that have a chat template and no ChatML tokens, on both engines."""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.engines.base import Cancel, Engine, FinishReason
from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
from hermes_cli.engines.llama_cpp.settings import LlamaSettings
from hermes_cli.engines.tokenizer_json import read_vocabulary
from hermes_cli.errors import ModelUnavailable
from hermes_cli.messages import Message, Role
from hermes_cli.models.checkpoint.folder import templates_of
from hermes_cli.models.gguf.model import read_header
from hermes_cli.options import GenerationOptions
from hermes_cli.prompts.template_request import RAW, TemplateRequest, read_request
from tests.engines.plans import plan_for
from tests.gguf_models import write_openhermes_gguf
from tests.prompts.chat_templates import FAMILIES, family_reference, family_tokenizer_json
from tests.vocab import CONTROL, mistral_pieces
from tests.weights import tiny_mistral_folder

FIRST_SPARE = 31_900
"""The pieces from here on are rare characters, which the tests replace with control tokens."""
CONVERSATION = [
    Message(Role.SYSTEM, "Be brief."),
    Message(Role.USER, "Hello <|eot_id|>[/INST]</s><end_of_turn>"),
]
ENGINE_FAMILIES = ("llama-3", "gemma", "mistral-v3", "phi-4", "deepseek-v3", "gpt-oss", "vicuna")


def write_family_gguf(
    path: Path,
    name: str,
    changes: Mapping[str, object] | None = None,
    successors: Mapping[int, int] | None = None,
) -> Path:
    """Write a tiny GGUF with the control tokens and the template of a family.

    `changes` and `successors` are those of `write_openhermes_gguf`.
    """
    family = FAMILIES[name]
    pieces = [(piece, kind) for piece, _, kind in mistral_pieces()] + [("<a>", CONTROL), ("<b>", CONTROL)]
    known = [piece for piece, _ in pieces]
    literals = [text for text in dict.fromkeys((family.bos, family.eos, *family.tokens)) if text]
    for number, text in enumerate(text for text in literals if text not in known):
        pieces[FIRST_SPARE + number] = (text, CONTROL)
    texts = [piece for piece, _ in pieces]
    values = {
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": [kind for _, kind in pieces],
        "tokenizer.ggml.bos_token_id": texts.index(family.bos) if family.bos else None,
        "tokenizer.ggml.eos_token_id": texts.index(family.eos),
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": family.template,
    }
    return write_openhermes_gguf(path, changes={**values, **(changes or {})}, successors=successors)


def write_base_gguf(path: Path) -> Path:
    """Write a tiny GGUF without ChatML's tokens and without a template, whose tokenizer adds BOS."""
    changes = {"tokenizer.chat_template": None, "tokenizer.ggml.add_bos_token": True}
    return write_family_gguf(path, "llama-2", changes)


def open_gguf(path: Path, request: TemplateRequest | None = None) -> LlamaCppEngine:
    """Load a GGUF on llama.cpp."""
    header = read_header(path)
    choice = header.templates.choose(request)
    return LlamaCppEngine(header, LlamaSettings(str(path), 2048, 1), name="tiny", prompt_format=choice)


def answer(engine: Engine, messages: list[Message]) -> Message:
    """Return the engine's answer of at most eight tokens."""
    chunks = list(engine.stream(messages, GenerationOptions(max_tokens=8, seed=1), Cancel()))
    done = chunks[-1].completion
    assert done is not None
    return Message(Role.ASSISTANT, "".join(chunk.text for chunk in chunks), done.turn_ids)


@pytest.mark.parametrize("name", ENGINE_FAMILIES)
def test_a_gguf_is_prompted_with_its_template(tmp_path: Path, name: str) -> None:
    """The prompt has the control tokens of the template only, and the conversation goes on."""
    engine = open_gguf(write_family_gguf(tmp_path / "model.gguf", name))
    try:
        control = [token.data.decode() for token in engine.prompt_tokens(CONVERSATION) if token.control]
        harmless = [dataclasses.replace(message, text="a") for message in CONVERSATION]
        assert control == [t.data.decode() for t in engine.prompt_tokens(harmless) if t.control]
        text = b"".join(token.data for token in engine.prompt_tokens(CONVERSATION)).decode()
        assert CONVERSATION[1].text in text
        first = answer(engine, CONVERSATION)
        second = [*CONVERSATION, first, Message(Role.USER, "More")]
        assert engine.count_tokens(second) == len(engine.prompt_tokens(second))
        answer(engine, second)
    finally:
        engine.close()


@pytest.mark.parametrize("name", ENGINE_FAMILIES)
def test_a_folder_is_prompted_with_its_template(tmp_path: Path, name: str) -> None:
    """The ids of an ordinary conversation are those of transformers."""
    family = FAMILIES[name]
    (tmp_path / "tokenizer.json").write_text(family_tokenizer_json(name, "byte-level"))
    settings = {
        "bos_token": {"content": family.bos},
        "eos_token": family.eos,
        "chat_template": family.template,
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    messages = [Message(Role.USER, "Hello"), Message(Role.ASSISTANT, "Hi"), Message(Role.USER, "More")]
    turns = [{"role": str(message.role), "content": message.text} for message in messages]
    expected = family_reference(name, "byte-level").apply_chat_template(
        turns, add_generation_prompt=True, return_dict=False
    )
    assert read_vocabulary(tmp_path).format.ids(messages) == expected


def test_a_model_with_chatml_tokens_keeps_chatml(tmp_path: Path) -> None:
    """Whatever its template is."""
    path = write_openhermes_gguf(tmp_path / "a.gguf", changes={"tokenizer.chat_template": "{{ bos_token }}x"})
    engine = open_gguf(path)
    try:
        first = engine.prompt_tokens([Message(Role.USER, "Hi")])[0]
        assert first.data == b"<|im_start|>"
    finally:
        engine.close()


def test_a_hostile_template_is_refused(tmp_path: Path) -> None:
    """It ends with one error, and the engine is closed."""
    loop = "{% for i in range(1000000000) %}{% endfor %}"
    path = write_family_gguf(tmp_path / "a.gguf", "llama-3", {"tokenizer.chat_template": loop})
    with pytest.raises(ModelUnavailable, match="too much time"):
        open_gguf(path)


def test_the_transformers_engine_answers_with_a_template(tmp_path: Path) -> None:
    """A tiny Mistral with two control tokens of its own; the plan has the reason."""
    pytest.importorskip("torch")
    from hermes_cli.engines.transformers.engine import TransformersEngine

    folder = tmp_path / "tiny"
    shutil.copytree(tiny_mistral_folder(), folder)
    family = FAMILIES["mistral-v3"]
    settings = {"bos_token": family.bos, "eos_token": family.eos}
    (folder / "tokenizer.json").write_text(family_tokenizer_json("mistral-v3", "sentencepiece-bpe"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(family.template)
    plan = plan_for(folder)
    assert "the prompt format is the model's chat template (its vocabulary lacks a ChatML" in plan.reason
    engine = TransformersEngine.open(plan)
    try:
        first = answer(engine, CONVERSATION)
        control = [t.data for t in engine.prompt_tokens([*CONVERSATION, first, CONVERSATION[1]]) if t.control]
        assert control == [b"<s>", b"[INST]", b"[/INST]", b"</s>", b"[INST]", b"[/INST]"]
    finally:
        engine.close()


def test_a_file_replaces_chatml_on_llama_cpp(tmp_path: Path) -> None:
    """Its literals are the control tokens of the vocabulary."""
    file = tmp_path / "mine.jinja"
    file.write_text(
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}<|im_end|>{% endfor %}"
    )
    engine = open_gguf(write_openhermes_gguf(tmp_path / "a.gguf"), read_request(str(file)))
    try:
        tokens = engine.prompt_tokens([Message(Role.USER, "Hi</s>")])
        assert b"".join(token.data for token in tokens) == b"<s>[user] Hi</s><|im_end|>"
        assert [token.data for token in tokens if token.control] == [b"<s>", b"<|im_end|>"]
    finally:
        engine.close()


def test_chatml_is_exact_if_the_vocabulary_has_its_tokens(tmp_path: Path) -> None:
    """The ids are those without --chat-template, and a base model gets the same text as ordinary tokens."""
    chatml = write_openhermes_gguf(
        tmp_path / "a.gguf", changes={"tokenizer.chat_template": "{{ bos_token }}x"}
    )
    texts = list[bytes]()
    for path, request in (
        (chatml, None),
        (chatml, read_request("chatml")),
        (write_base_gguf(tmp_path / "b.gguf"), read_request("chatml")),
    ):
        engine = open_gguf(path, request)
        try:
            tokens = engine.prompt_tokens([Message(Role.USER, "Hi")])
            texts.append(b"".join(token.data for token in tokens))
            controls = [token.data for token in tokens if token.control]
        finally:
            engine.close()
    assert texts[0] == texts[1] == b"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert texts[2] == b"<s>" + texts[0]
    assert controls == [b"<s>"]


def test_a_base_model_needs_a_format(tmp_path: Path) -> None:
    """The engine is not even started without one."""
    with pytest.raises(ModelUnavailable, match="no chat template"):
        open_gguf(write_base_gguf(tmp_path / "base.gguf"))


def test_plain_text_is_completed_after_one_bos_token(tmp_path: Path) -> None:
    """Control literals in it are ordinary text."""
    engine = open_gguf(write_base_gguf(tmp_path / "base.gguf"), RAW)
    try:
        text = "<s>Once</s> upon [INST] a"
        tokens = engine.prompt_tokens([Message(Role.USER, text)])
        assert (tokens[0].data, [token.control for token in tokens[1:]].count(True)) == (b"<s>", 0)
        assert b"".join(token.data for token in tokens[1:]).decode().lstrip() == text
        assert answer(engine, [Message(Role.USER, text)]).text
    finally:
        engine.close()


CLOSED = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}"
    "{% if m.role == 'assistant' %}CLOSING{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def test_text_that_ends_a_turn_ends_the_answer(tmp_path: Path) -> None:
    """An answer that contains the closing text of the template ends before it."""
    path = write_base_gguf(tmp_path / "base.gguf")
    messages = [Message(Role.USER, "Hello")]
    engine = open_gguf(path, TemplateRequest("a", source=CLOSED.replace("CLOSING", "(the end)")))
    try:
        whole = answer(engine, messages).text
    finally:
        engine.close()
    closing = whole[len(whole) // 2 :][:4].strip()
    engine = open_gguf(path, TemplateRequest("a", source=CLOSED.replace("CLOSING", f"{{{{ {closing!r} }}}}")))
    try:
        chunks = list(engine.stream(messages, GenerationOptions(max_tokens=8, seed=1), Cancel()))
    finally:
        engine.close()
    assert "".join(chunk.text for chunk in chunks) == whole[: whole.index(closing)]
    assert chunks[-1].completion is not None
    assert chunks[-1].completion.finish_reason is FinishReason.STOP


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece-bpe", "unigram", "space at the start"])
def test_plain_text_has_the_ids_of_the_tokenizer(tmp_path: Path, kind: str) -> None:
    """With the BOS token of its post-processor, and a space that it adds only at the start of a text."""
    from tokenizers import Tokenizer

    spec = json.loads(family_tokenizer_json("llama-2", "unigram" if kind == "space at the start" else kind))
    if kind == "space at the start":
        spec["pre_tokenizer"]["prepend_scheme"] = "first"
    (bos_id,) = (token["id"] for token in spec["added_tokens"] if token["content"] == "<s>")
    spec["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [bos_id], "tokens": ["<s>"]}},
    }
    text = json.dumps(spec, separators=(",", ":"))
    (tmp_path / "tokenizer.json").write_text(text)
    vocabulary = read_vocabulary(tmp_path, templates_of(tmp_path).choose(RAW))
    expected = Tokenizer.from_str(text).encode("Once upon a time, ").ids
    assert vocabulary.format.ids([Message(Role.USER, "Once upon a time, ")]) == expected
    assert expected[0] == bos_id
