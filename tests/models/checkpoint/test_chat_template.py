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
