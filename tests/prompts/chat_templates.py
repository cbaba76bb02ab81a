# ruff: noqa: E501 - a template is one string
"""Chat templates of model families, written from the public documentation of each format.

Sources: the model cards and documentation of the families. The templates cover the conversation; they have no
tools.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from hermes_cli.engines.tokenizer_json import Vocabulary
from hermes_cli.prompts.chat_template import ChatTemplate
from tests.prompts.tokenizer_kinds import KINDS, PACKAGED, PACKAGED_SENTENCEPIECE, PRE_TOKENIZERS
from tests.vocab import CONTROL, mistral_pieces, mistral_tokenizer_json

ODD_FLAGS = ("lstrip", "normalized")
"""The flags that the control tokens of "odd-tokens" have in turn; those of Phi-3 have `rstrip`, too."""
ORDINARY_ADDED: Mapping[str, Mapping[str, Mapping[str, bool]]] = {
    "byte-level": {"  ": {}, "    ": {"normalized": True}},
    "odd-tokens": {
        "ell": {"single_word": True},
        "brown": {"single_word": True, "lstrip": True},
        "quick": {"lstrip": True, "normalized": True},
        "1,0": {"rstrip": True},
    },
}
"""Added tokens that are ordinary text, with their flags, by the kind of tokenizer."""

ALTERNATE = (
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
)
GENERATE = "{% if add_generation_prompt %}"


@dataclass(frozen=True)
class Family:
    """A template and the control tokens that it uses. If it `strips`, `tokens` remove the whitespace after them."""

    template: str
    tokens: tuple[str, ...]
    bos: str = "<s>"
    eos: str = "</s>"
    strips: bool = False


FAMILIES = {
    "llama-2": Family(
        "{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}"
        "{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}"
        "{% else %}{% set turns = messages %}{% set system = '' %}{% endif %}"
        "{% for m in turns %}"
        + ALTERNATE
        + "{% if loop.index0 == 0 %}{% set content = system + m['content'] %}"
        "{% else %}{% set content = m['content'] %}{% endif %}"
        "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% elif m['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
        (),
    ),
    "llama-3": Family(
        "{% for m in messages %}{% set content = '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n'"
        " + m['content'] | trim + '<|eot_id|>' %}{% if loop.first %}{{ bos_token }}{% endif %}{{ content }}"
        "{% endfor %}" + GENERATE + "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>", "<|end_of_text|>"),
        "<|begin_of_text|>",
        "<|end_of_text|>",
    ),
    "llama-3.1": Family(
        "{{- bos_token }}\n{%- if not date_string is defined %}\n    {%- set date_string = '26 Jul 2024' %}\n{%- endif %}\n"
        "{%- if messages[0]['role'] == 'system' %}\n    {%- set system = messages[0]['content']|trim %}\n"
        "    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set system = '' %}\n{%- endif %}\n"
        "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}\n{{- 'Today Date: ' ~ date_string ~ '\\n\\n' }}\n"
        "{{- system }}\n{{- '<|eot_id|>' }}\n{%- for m in messages %}\n"
        "    {{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}\n"
        "{%- endfor %}\n{%- if add_generation_prompt %}\n"
        "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>", "<|end_of_text|>"),
        "<|begin_of_text|>",
        "<|end_of_text|>",
    ),
    "mistral-v0.1": Family(
        "{{ bos_token }}{% for m in messages %}" + ALTERNATE + "{% if m['role'] == 'user' %}"
        "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% elif m['role'] == 'assistant' %}"
        "{{ m['content'] + eos_token + ' ' }}{% else %}"
        "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
        (),
    ),
    "mistral-v3": Family(
        "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}"
        "{%- set turns = messages[1:] %}{%- else %}{%- set turns = messages %}{%- endif %}{{- bos_token }}"
        "{%- for m in turns %}" + ALTERNATE + "{%- if m['role'] == 'user' %}"
        "{%- if loop.last and system is defined %}{{- '[INST] ' + system + '\\n\\n' + m['content'] + '[/INST]' }}"
        "{%- else %}{{- '[INST] ' + m['content'] + '[/INST]' }}{%- endif %}"
        "{%- else %}{{- ' ' + m['content']|trim + eos_token }}{%- endif %}{%- endfor %}",
        ("[INST]", "[/INST]"),
    ),
    "gemma": Family(
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}{% for m in messages %}" + ALTERNATE + "{% if (m['role'] == 'assistant') %}"
        "{% set role = 'model' %}{% else %}{% set role = m['role'] %}{% endif %}"
        "{{ '<start_of_turn>' + role + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
        + GENERATE
        + "{{'<start_of_turn>model\\n'}}{% endif %}",
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        "<bos>",
        "<eos>",
    ),
    "phi-3": Family(
        "{% for m in messages %}{{'<|' + m['role'] + '|>' + '\\n' + m['content'] + '<|end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}",
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        eos="<|endoftext|>",
        strips=True,
    ),
    "phi-4": Family(
        "{% for m in messages %}{{'<|im_begin|>' + m['role'] + '<|im_sep|>' + m['content'] + '<|im_stop|>'}}"
        "{% endfor %}" + GENERATE + "{{ '<|im_begin|>assistant<|im_sep|>' }}{% endif %}",
        ("<|im_begin|>", "<|im_sep|>", "<|im_stop|>"),
        eos="<|im_stop|>",
    ),
    "deepseek-v3": Family(
        "{% set ns = namespace(system='') %}{%- for m in messages %}{%- if m['role'] == 'system' %}"
        "{% set ns.system = ns.system + m['content'] %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system }}"
        "{%- for m in messages %}{%- if m['role'] == 'user' %}{{ '<\uff5cUser\uff5c>' + m['content'] }}{%- endif %}"
        "{%- if m['role'] == 'assistant' %}{% set content = m['content'] %}{% if '</think>' in content %}"
        "{% set content = content.split('</think>')[-1] %}{% endif %}"
        "{{ '<\uff5cAssistant\uff5c>' + content + eos_token }}{%- endif %}{%- endfor %}"
        "{% if add_generation_prompt %}{{ '<\uff5cAssistant\uff5c>' }}{% endif %}",
        (
            "<\uff5cUser\uff5c>",
            "<\uff5cAssistant\uff5c>",
            "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
            "<think>",
            "</think>",
        ),
        "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
    ),
    "deepseek-r1": Family(
        "{% set ns = namespace(system='') %}{%- for m in messages %}{%- if m['role'] == 'system' %}"
        "{% set ns.system = ns.system + m['content'] %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system }}"
        "{%- for m in messages %}{%- if m['role'] == 'user' %}{{ '<\uff5cUser\uff5c>' + m['content'] }}{%- endif %}"
        "{%- if m['role'] == 'assistant' %}{% set content = m['content'] %}{% if '</think>' in content %}"
        "{% set content = content.split('</think>')[-1] %}{% endif %}"
        "{{ '<\uff5cAssistant\uff5c>' + content + eos_token }}{%- endif %}{%- endfor %}"
        "{% if add_generation_prompt %}{{ '<\uff5cAssistant\uff5c><think>\\n' }}{% endif %}",
        (
            "<\uff5cUser\uff5c>",
            "<\uff5cAssistant\uff5c>",
            "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
            "<think>",
            "</think>",
        ),
        "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
    ),
    "magistral": Family(
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}"
        "{{ '[SYSTEM_PROMPT]' + m['content'] + '[/SYSTEM_PROMPT]' }}{% elif m['role'] == 'user' %}"
        "{{ '[INST]' + m['content'] + '[/INST]' }}{% else %}{% if m['reasoning_content'] is defined and loop.last %}"
        "{{ '[THINK]' + m['reasoning_content'] + '[/THINK]' }}{% endif %}"
        "{{ m['content'] + eos_token }}{% endif %}{% endfor %}",
        ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[THINK]", "[/THINK]"),
    ),
    "gemma-4": Family(
        "{{ bos_token }}{% set thinks = enable_thinking is defined and enable_thinking %}"
        "{% if messages[0]['role'] == 'system' or thinks %}{{ '<|turn>system\\n' }}{% if thinks %}{{ '<|think|>' }}"
        "{% endif %}{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] | trim }}{% endif %}"
        "{{ '<turn|>\\n' }}{% endif %}{% for m in messages if m['role'] != 'system' %}"
        "{{ '<|turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n' + m['content'] | trim"
        " + '<turn|>\\n' }}{% endfor %}" + GENERATE + "{{ '<|turn>model\\n' }}{% endif %}",
        ("<bos>", "<eos>", "<|turn>", "<turn|>", "<|think|>", "<|channel>", "<channel|>"),
        "<bos>",
        "<eos>",
    ),
    "zephyr": Family(
        "{% for m in messages %}\n{% if m['role'] == 'user' %}\n{{ '<|user|>\\n' + m['content'] + eos_token }}\n"
        "{% elif m['role'] == 'system' %}\n{{ '<|system|>\\n' + m['content'] + eos_token }}\n"
        "{% elif m['role'] == 'assistant' %}\n{{ '<|assistant|>\\n'  + m['content'] + eos_token }}\n{% endif %}\n"
        "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
        (),
    ),
    "vicuna": Family(
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] + ' ' }}"
        "{% elif m['role'] == 'user' %}{{ 'USER: ' + m['content'] + ' ' }}"
        "{% else %}{{ 'ASSISTANT: ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
        + GENERATE
        + "{{ 'ASSISTANT:' }}{% endif %}",
        (),
    ),
    "command-r": Family(
        "{{ bos_token }}{% for m in messages %}{% set content = m['content'] %}{% if m['role'] == 'user' %}"
        "{{ '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + content.strip() + '<|END_OF_TURN_TOKEN|>' }}"
        "{% elif m['role'] == 'assistant' %}"
        "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'  + content.strip() + '<|END_OF_TURN_TOKEN|>' }}"
        "{% else %}{{ '<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>' + content + '<|END_OF_TURN_TOKEN|>' }}{% endif %}"
        "{% endfor %}" + GENERATE + "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}",
        (
            *("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"),
            *("<|SYSTEM_TOKEN|>", "<BOS_TOKEN>"),
        ),
        "<BOS_TOKEN>",
        "<|END_OF_TURN_TOKEN|>",
    ),
    "granite": Family(
        "{%- for m in messages %}{{- '<|start_of_role|>' + m['role'] + '<|end_of_role|>' + m['content']"
        " + '<|end_of_text|>\\n' }}{%- if loop.last and add_generation_prompt %}"
        "{{- '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}{%- endfor %}",
        ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"),
        "",
        "<|end_of_text|>",
    ),
    "gpt-oss": Family(
        "{%- macro header() %}{{- '<|start|>system<|message|>You are a large language model.\\n' }}"
        "{{- '# Valid channels: analysis, final.<|end|>' }}{%- endmacro %}{{- header() }}{%- for m in messages %}"
        "{%- if m.role == 'system' %}{{- '<|start|>developer<|message|># Instructions\\n\\n' + m.content + '<|end|>' }}"
        "{%- elif m.role == 'assistant' %}"
        "{{- '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}"
        "{%- else %}{{- '<|start|>user<|message|>' + m.content + '<|end|>' }}{%- endif %}{%- endfor %}"
        + GENERATE
        + "<|start|>assistant{%- endif %}",
        ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>"),
        "",
        "<|return|>",
    ),
    "tulu": Family(
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] }}"
        "{% if m['role'] == 'assistant' %}{% if not loop.last %}{{ eos_token + '\\n' }}{% else %}{{ eos_token }}{% endif %}"
        "{% else %}{{ '\\n' }}{% endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
        "{% endfor %}",
        (),
        "",
    ),
    "glm-4": Family(
        "[gMASK]<sop>{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
        ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>"),
        "",
    ),
    "exaone": Family(
        "{% for m in messages %}{{ '[|' + m['role'] + '|]' + m['content'] }}"
        "{% if m['role'] == 'user' %}{{ '\\n' }}{% else %}{{ '[|endofturn|]\\n' }}{% endif %}{% endfor %}"
        + GENERATE
        + "{{ '[|assistant|]' }}{% endif %}",
        ("[|system|]", "[|user|]", "[|assistant|]", "[|endofturn|]", "[BOS]"),
        "[BOS]",
        "[|endofturn|]",
    ),
}

QWEN_3 = Family(
    "{% for m in messages %}{% set content = m['content'] %}{% if '</think>' in content %}"
    "{% set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\\n' + content + '<|im_end|>\\n' }}{% endfor %}"
    + GENERATE
    + "{{ '<|im_start|>assistant\\n' }}{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}",
    ("<|im_start|>", "<|im_end|>", "<think>", "</think>"),
    "",
    "<|im_end|>",
)
"""Not one of FAMILIES, because hermes does not use the template of a model with ChatML's tokens."""


@cache
def packaged_family(file: str) -> Family:
    """Return a template for a vocabulary of mistral-common, with all control tokens that a SentencePiece one has."""
    if file not in PACKAGED_SENTENCEPIECE:
        return FAMILIES["magistral"]
    tokens = tuple(piece for piece, _, kind in mistral_pieces(file) if kind == CONTROL)
    return Family(FAMILIES["mistral-v3"].template, tokens)


def family_of(name: str) -> Family:
    """Return a family, or that of a vocabulary of mistral-common."""
    return FAMILIES[name] if name in FAMILIES else packaged_family(name)


def family_tokenizer_json(name: str, kind: str) -> str:
    """Return a tokenizer.json of a kind with the control tokens of a family."""
    return tokenizer_json_of(family_of(name), kind)


@cache
def tokenizer_json_of(family: Family, kind: str) -> str:
    """Return a tokenizer.json of a kind with the control tokens of `family`."""
    parts = {**KINDS, **PRE_TOKENIZERS, **PACKAGED}[kind]()
    spec = json.loads(mistral_tokenizer_json()) | parts
    vocab = spec["model"]["vocab"]
    known = {piece: i for i, (piece, _) in enumerate(vocab)} if isinstance(vocab, list) else vocab
    literals = dict.fromkeys(filter(None, (family.bos, family.eos, *family.tokens)))
    new = [text for text in literals if text not in known]
    ids = {text: known[text] for text in literals if text in known}
    ids |= {text: max(known.values()) + 1 + number for number, text in enumerate(new)}
    stripping = family.tokens if family.strips else ()
    added = [_added_token(text, number, rstrip=text in stripping) for text, number in ids.items()]
    spec["added_tokens"] = sorted(added, key=lambda token: token["id"])
    if kind == "odd-tokens":
        _make_odd(spec)
    # The tokenizers library keeps a run of spaces that a control token strips as another token.
    if not (kind == "byte-level" and family.strips):
        _add(spec, [_added_token(text, special=False, **flags) for text, flags in ordinary_added(kind)])
    return json.dumps(spec)


def ordinary_added(kind: str) -> Iterable[tuple[str, Mapping[str, bool]]]:
    """Return the added tokens of a kind of tokenizer that are ordinary text, with their flags."""
    return ORDINARY_ADDED.get(kind, {}).items()


def _added_token(text: str, number: int = 0, **flags: bool) -> dict[str, Any]:
    defaults = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": text, **defaults, "special": True, **flags}


def _add(spec: dict[str, Any], tokens: Iterable[dict[str, Any]]) -> None:
    size = max(token["id"] for token in spec["added_tokens"]) + 1
    spec["added_tokens"] += [{**token, "id": size + number} for number, token in enumerate(tokens)]


def _make_odd(spec: dict[str, Any]) -> None:
    """Give each added token a flag, and add control tokens that contain others."""
    for number, token in enumerate(spec["added_tokens"]):
        token[ODD_FLAGS[number % len(ODD_FLAGS)]] = True
    first = spec["added_tokens"][0]["content"]
    _add(spec, [_added_token(first * 2), _added_token(first[:-1]), _added_token(f"{first}]", rstrip=True)])
    spec["normalizer"] = {"type": "NFKC"}


def family_vocabulary(name: str, kind: str) -> Vocabulary:
    """Return hermes' vocabulary of a family."""
    family = family_of(name)
    special = {"bos_token": family.bos, "eos_token": family.eos}
    template = ChatTemplate(family.template, special)
    return Vocabulary(family_tokenizer_json(name, kind), (), template)


def family_reference(name: str, kind: str) -> Any:
    """Return transformers' tokenizer of a family."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    family = family_of(name)
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(family_tokenizer_json(name, kind)),
        **{key: text for key, text in (("bos_token", family.bos), ("eos_token", family.eos)) if text},
    )
    tokenizer.chat_template = family.template
    return tokenizer
