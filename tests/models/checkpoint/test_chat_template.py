"""Tests of the chat template in a folder of Hugging Face weights."""

import json
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.models.checkpoint.chat_template import read_templates
from hermes_cli.prompts.chat_template import ChatTemplate

NAMED = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"tokenizer_config.json": {"bos_token": "<s>"}}, None),
        ({"tokenizer_config.json": {"chat_template": "a"}}, ChatTemplate("a")),
        ({"tokenizer_config.json": {"chat_template": NAMED}}, ChatTemplate("plain")),
        ({"tokenizer_config.json": {"chat_template": NAMED[:1]}}, ChatTemplate("tools")),
        ({"tokenizer_config.json": {"chat_template": [1, {"template": 2}]}}, None),
        ({"tokenizer_config.json": {"chat_template": "a"}, "chat_template.jinja": "b"}, ChatTemplate("b")),
        ({"tokenizer_config.json": "{", "chat_template.jinja": "b"}, ChatTemplate("b")),
        (
            {
                "tokenizer_config.json": {
                    "chat_template": "a",
                    "bos_token": {"content": "<s>", "lstrip": False},
                    "eos_token": "</s>",
                    "unk_token": None,
                    "pad_token": 5,
                    "add_bos_token": True,
                }
            },
            ChatTemplate("a", {"bos_token": "<s>", "eos_token": "</s>"}, adds_bos=True),
        ),
    ],
)
def test_the_template_is_that_of_the_files(
    tmp_path: Path, files: dict[str, Any], expected: ChatTemplate | None
) -> None:
    """The file of its own has precedence, and the default template of several."""
    for name, content in files.items():
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    assert read_templates(tmp_path).default == expected


def test_named_templates_are_read_from_a_list(tmp_path: Path) -> None:
    """Entries without a name or a text are left out."""
    entries = [*NAMED, {"name": "rag"}, {"name": 5, "template": "x"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": entries}))
    named = read_templates(tmp_path).named
    assert {name: template.source for name, template in named.items()} == {
        "tool_use": "tools",
        "default": "plain",
    }


ADDS_BOS = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {}}]}
ADDS_NONE = {"type": "TemplateProcessing", "single": [{"Sequence": {}}, {"SpecialToken": {"id": "</s>"}}]}


@pytest.mark.parametrize(
    ("post_processor", "settings", "adds_bos"),
    [
        (ADDS_BOS, {}, True),
        (ADDS_BOS, {"bos_token": "<s>"}, True),
        (ADDS_BOS, {"bos_token": "<other>"}, False),
        (ADDS_BOS, {"add_bos_token": False}, False),
        (ADDS_NONE, {}, False),
        (ADDS_NONE, {"add_bos_token": True}, True),
        ({"type": "Sequence", "processors": [{"type": "ByteLevel"}, ADDS_BOS]}, {}, True),
        (None, {}, False),
        ([1], {}, False),
        ({"single": [5], "processors": 3}, {}, False),
    ],
)
def test_bos_is_that_of_the_post_processor(
    tmp_path: Path,
    post_processor: Any,
    settings: dict[str, Any],
    adds_bos: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Unless tokenizer_config.json says whether it is added."""
    (tmp_path / "tokenizer.json").write_text(json.dumps({"post_processor": post_processor}).replace(" ", ""))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    templates = read_templates(tmp_path)
    assert templates.adds_bos == adds_bos
    if adds_bos and "add_bos_token" not in settings:
        assert templates.special_tokens == {"bos_token": "<s>"}
