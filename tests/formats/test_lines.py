"""Tests of ShareGPT and OpenAI messages: one conversation per line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_cli.errors import FormatError
from hermes_cli.formats import jsonl
from hermes_cli.formats.transcript import Transcript
from tests.formats.trees import alchemy, sample, trees

TURNS = [
    ("system", "You are Ed."),
    ("assistant", "You again?"),
    ("user", "What is\nalchemy?"),
    ("assistant", "Art. “…”"),
]

# The spelling of https://github.com/lm-sys/FastChat/blob/main/data/dummy_conversation.json and of axolotl's
# documentation.
SHAREGPT = sample("sharegpt.jsonl")
# The spelling of OpenAI's guides to chat completions and fine-tuning.
OPENAI = sample("openai.jsonl")


def roles_and_texts(transcript: Transcript) -> list[tuple[str, str]]:
    """Return roles and texts of the opening and of the visible path."""
    return [(turn.role.value, turn.text) for turn in transcript.turns]


def test_published_sharegpt_lines_are_read() -> None:
    """Published ShareGPT lines are read with their roles, texts and titles."""
    first, second, third = jsonl.read_sharegpt(SHAREGPT)
    assert roles_and_texts(first) == [("user", "Who are you?"), ("assistant", "I am Vicuna.")]
    assert first.conversation.title == "identity_0"
    assert roles_and_texts(second) == [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello 😀")]
    assert (second.conversation.title, second.conversation.opening[0].text) == ("Hi", "Be brief.")
    assert roles_and_texts(third) == [("user", "a"), ("user", "b"), ("assistant", "c")]


def test_documented_openai_lines_are_read() -> None:
    """Documented OpenAI lines are read with their roles and texts, also with CRLF."""
    first, second = jsonl.read_openai(OPENAI.replace("\n", "\r\n"))
    assert roles_and_texts(first)[1:] == [("user", "What's the capital of France?"), ("assistant", "Paris.")]
    assert roles_and_texts(second) == [("system", "Be brief."), ("user", "One\ntwo")]


def test_each_format_writes_one_line_per_conversation() -> None:
    """Each format writes one line per conversation, with its own keys and role names."""
    line, empty = jsonl.write_sharegpt([alchemy()]).split("\n")
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    turns = [{"from": names[role], "value": text} for role, text in TURNS]
    assert (json.loads(line), empty) == ({"conversations": turns}, "")
    line, empty = jsonl.write_openai([alchemy()]).split("\n")
    messages = [{"role": role, "content": text} for role, text in TURNS]
    assert (json.loads(line), empty) == ({"messages": messages}, "")


@given(st.lists(trees(least=1), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_the_visible_turns_are_read_back_unchanged(transcripts: list[Transcript]) -> None:
    """The opening and the visible turns of any conversation are written and read unchanged."""
    formats = ((jsonl.write_sharegpt, jsonl.read_sharegpt), (jsonl.write_openai, jsonl.read_openai))
    for write, read in formats:
        assert [roles_and_texts(transcript) for transcript in read(write(transcripts))] == [
            roles_and_texts(transcript) for transcript in transcripts
        ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"conversations": [{"from": "tool", "value": "x"}]}', r"conversations\[0\].from is 'tool'"),
        ('{"conversations": [{"from": "human"}]}', r"conversations\[0\] has no 'value'"),
        ('{"conversations": [{"from": "human", "value": null}]}', "value is null, not a string"),
        ('{"conversations": [{"from": "human", "value": "\\udc00"}]}', "lone surrogate"),
        ('{"conversations": []}', "has no turn"),
        ('{"conversations": {"a": 1}}', "conversations is an object, not a list"),
        ('{"items": []}', "has no 'conversations'"),
        ('{"conversations": [', "is not JSON"),
        ('["a"]', "is not a JSON object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"conversations": [{"from": "human", "value": ' + "9" * 5000 + "}]}", "too large"),
    ],
)
def test_a_malformed_sharegpt_line_is_refused_with_its_number(line: str, reason: str) -> None:
    """A malformed line is refused with the reason and its number, and blank lines are counted."""
    good = '{"conversations": [{"from": "human", "value": "x"}]}'
    with pytest.raises(FormatError, match=reason) as caught:
        jsonl.read_sharegpt(f"{good}\n\r\n{line}\n{good}")
    assert caught.value.line == 3


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('{"role": "tool", "content": "42", "tool_call_id": "a"}', r"messages\[0\].role is 'tool'"),
        ('{"role": "function", "name": "f", "content": "42"}', "role is 'function'"),
        ('{"role": "assistant", "content": null, "tool_calls": [{"id": "a"}]}', "tool_calls is a tool call"),
        ('{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}', "'image_url'"),
        ('{"role": "assistant", "content": null}', "content is null, not a string"),
        ('{"role": ["user"], "content": "x"}', "role is a list, not a string"),
    ],
)
def test_a_malformed_openai_line_is_refused_with_its_number(message: str, reason: str) -> None:
    """A line with tool calls, tool results, images or a wrong type is refused with its number."""
    with pytest.raises(FormatError, match=reason) as caught:
        jsonl.read_openai('{"messages": [{"role": "user", "content": ""}]}\n{"messages": [' + message + "]}")
    assert caught.value.line == 2
