"""Tests of FastChat's saved conversations: the keys of its `Conversation.dict()`, as `!!save` writes them."""

import json

import pytest
from hypothesis import given, settings

from hermes_cli.errors import FormatError
from hermes_cli.formats import fastchat
from hermes_cli.formats.transcript import Transcript
from hermes_cli.messages import Role
from tests.formats.trees import alchemy, sample, trees

# Written by hand from lm-sys/FastChat: conversation.py (`dict`) and serve/inference.py (`!!save`).
SAVED = sample("fastchat.json")
ONE_SHOT = (
    '{"template_name": "one_shot", "system": "Polite.", "roles": ["Human", "Assistant"], "messages": '
    '[["Human", "ex q"], ["Assistant", "ex a"], ["Human", "q"], ["Assistant", "a"]], "offset": 2}'
)


def test_a_conversation_saved_by_fastchat_is_read() -> None:
    """A conversation that FastChat saved is read with its system message and its turns."""
    (transcript,) = fastchat.read(SAVED)
    assert transcript.conversation.opening[0].text == "A chat between a curious user and an assistant."
    assert [(m.role.value, m.text) for m in transcript.tree.path] == [
        ("user", "Hello!"),
        ("assistant", "Hi …"),
    ]


def test_messages_before_the_offset_are_examples() -> None:
    """Messages before the offset are examples: they belong to the opening and not to the tree."""
    (transcript,) = fastchat.read(ONE_SHOT)
    assert [turn.text for turn in transcript.turns] == ["Polite.", "ex q", "ex a", "q", "a"]
    assert [turn.text for turn in transcript.conversation.opening] == ["Polite.", "ex q", "ex a"]


def test_a_written_conversation_can_be_loaded_by_fastchat() -> None:
    """A written conversation has the template, role names and offset that `!!load` reads."""
    assert json.loads(fastchat.write(alchemy())) == {
        "template_name": "OpenHermes-2.5-Mistral-7B",
        "system_message": "You are Ed.",
        "roles": ["<|im_start|>user", "<|im_start|>assistant"],
        "messages": [
            ["<|im_start|>assistant", "You again?"],
            ["<|im_start|>user", "What is\nalchemy?"],
            ["<|im_start|>assistant", "Art. “…”"],
        ],
        "offset": 0,
    }


@given(trees(least=1))
@settings(max_examples=60, deadline=None)
def test_the_visible_turns_are_read_back_unchanged(transcript: Transcript) -> None:
    """The visible turns are written and read unchanged; a second system message is refused."""
    if any(stored.role is Role.SYSTEM for stored in transcript.tree.path):
        with pytest.raises(FormatError, match="one system message"):
            fastchat.write(transcript)
        return
    (read,) = fastchat.read(fastchat.write(transcript))
    # FastChat writes no system message as an empty one.
    first = 1 if transcript.system and not transcript.system[0].text else 0
    assert [(t.role, t.text) for t in read.turns] == [(t.role, t.text) for t in transcript.turns[first:]]


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        ('["USER", "Hello!"]', '["System", "Hello!"]', r"messages\[0\]\[0\] is 'System'; expected one of"),
        ('["USER", "Hello!"]', '["USER", ["Hello!", ["hash"]]]', "images"),
        ('["USER", "Hello!"]', '["USER", null]', r"messages\[0\]\[1\] is null"),
        ('["USER", "Hello!"]', '["USER"]', r"messages\[0\] is not a pair"),
        ('["USER", "ASSISTANT"]', '["USER", "USER"]', "roles is not a list of two names"),
        ('"offset": 0', '"offset": 3', "offset is out of the range 0 to 2"),
        ('"system_message"', '"other"', "has no 'system'"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(good: str, bad: str, reason: str) -> None:
    """A malformed file is refused with the reason and the line."""
    pretty = SAVED.replace('"messages"', '\n\n"messages"').replace('"offset"', '\n"offset"')
    with pytest.raises(FormatError, match=reason) as caught:
        fastchat.read(pretty.replace(good, bad, 1))
    assert caught.value.line == {"mess": 3, "offs": 4}.get(caught.value.reason[:4], 1)
