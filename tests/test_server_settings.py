"""Tests of the [servers.NAME] tables of the config file."""

from typing import Any

import pytest

from hermes_cli.server_settings import ServerSettings, read_servers


def test_a_server_has_the_values_of_its_table() -> None:
    """Only the URL is required; names are compared in lower case."""
    table = {"Work": {"url": "http://x", "kind": "vllm", "key_env": "K", "timeout": 5, "context": 4096}}
    assert read_servers(table) == {
        "work": ServerSettings("http://x", "vllm", key_env="K", timeout=5, context=4096)
    }
    assert read_servers({}) == {}


@pytest.mark.parametrize(
    "tokenizer",
    ["starter", "openhermes-2:gguf", "m.gguf", "owner/name", "owner/name:folder/m.gguf", "/a/m", "~/m.gguf"],
)
def test_a_tokenizer_is_a_name_or_an_absolute_path(tokenizer: str) -> None:
    """The names are those of -m."""
    table = {"work": {"url": "http://x", "tokenizer": tokenizer}}
    assert read_servers(table)["work"].tokenizer == tokenizer


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (1, "servers is a table"),
        ({"work": 1}, "[servers.work] is not a table"),
        ({"work": {}}, "[servers.work] has no url"),
        ({"a:b": {"url": "http://x"}}, "[servers.a:b] the name of a server has only"),
        ({"work": {"url": "http://x", "key": "sk"}}, "[servers.work] has no key 'key'"),
        ({"work": {"url": 5}}, "[servers.work] url takes one line of text"),
        ({"work": {"url": "http://x", "model": "a\nb"}}, "[servers.work] model takes one line of text"),
        ({"work": {"url": "http://x", "kind": "olama"}}, "did you mean 'ollama'?"),
        ({"work": {"url": "http://x", "timeout": 0}}, "timeout takes a whole number from 1 to 86,400"),
        ({"work": {"url": "http://x", "timeout": True}}, "timeout takes a whole number"),
        ({"work": {"url": "http://x", "insecure": 1}}, "insecure takes true or false"),
        ({"work": {"url": "http://x", "key_file": "key"}}, "begins with / or ~/"),
        ({"work": {"url": "http://x", "key_file": "/k", "key_env": "K"}}, "key_env and key_file; remove"),
        *(
            (
                {"work": {"url": "http://x", "tokenizer": path}},
                "tokenizer is neither a model's name nor a path",
            )
            for path in ("./m.gguf", "../m", "models/m.gguf", "a/b/c", "~user/m.gguf", r"models\m", ".")
        ),
        ({"work": {"url": "http://x", "tokenizer": ""}}, "[servers.work] tokenizer takes one line of text"),
    ],
)
def test_an_invalid_table_is_an_error(table: Any, message: str) -> None:
    """The error names the table and the key."""
    with pytest.raises(ValueError, match=r"^\[?servers") as caught:
        read_servers(table)
    assert message in str(caught.value)
