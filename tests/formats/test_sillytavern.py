"""Tests of SillyTavern's chats: swipes are siblings, and the visible one is on the path."""

import json

import pytest
from hypothesis import given, settings

from hermes_cli.errors import FormatError
from hermes_cli.formats import sillytavern
from hermes_cli.formats.transcript import Transcript
from tests.formats.trees import ASSISTANT, alchemy, sample, trees

# Written by hand after a chat that SillyTavern 1.13 saved: its keys, its dates, "unused" for the names.
CHAT = sample("sillytavern.jsonl")


def tree(one: Transcript) -> list[tuple[int | None, str, str]]:
    """Return parent, role and text of every message."""
    return [(m.parent, m.role.value, m.text) for m in one.tree.nodes]


def test_a_chat_of_sillytavern() -> None:
    """A saved chat is read with its swipes, visible path, dates, models and a remark on hidden messages."""
    (one,) = sillytavern.read(CHAT)
    assert tree(one) == [
        (None, "assistant", "Welcome."),
        (None, "assistant", "You are far from the road."),
        (1, "user", "Who are you?"),
        (3, "assistant", "A spirit."),
        (3, "assistant", "A guardian, edited."),
        (3, "assistant", "Nobody."),
        (5, "system", "Night falls."),
    ]
    assert [m.text for m in one.tree.path] == [
        "Welcome.",
        "Who are you?",
        "A guardian, edited.",
        "Night falls.",
    ]
    assert one.conversation.opening[0].text == "Stay in Eldoria."
    assert one.conversation.title == "Who are you?"
    assert one.remarks == ("messages that SillyTavern hides from the model are left out: 1",)
    assert [m.created for m in one.tree.nodes[:2]] == [1758870252.006, 1758870340.881]
    assert (one.tree.nodes[0].generation.model, one.tree.nodes[1].generation.model) == ("gpt-4o", "")
    assert 1758800000 < one.tree.nodes[2].created < 1758950000
    assert 1758800000 < one.tree.nodes[4].created < 1758950000
    assert one.tree.nodes[6].created == 0


def test_what_is_written() -> None:
    """A written chat has SillyTavern's keys, swipes and dates."""
    text = sillytavern.write(alchemy())
    header, greeting, asked, answer = [json.loads(line) for line in text.splitlines()]
    assert (header["user_name"], header["character_name"]) == ("User", "edward-elric")
    assert header["create_date"] == "2026-01-01T00:00:00.000Z"
    assert header["chat_metadata"]["system_prompt"] == "You are Ed."
    assert greeting["swipes"] == ["Welcome!", "You again?"]
    assert (greeting["swipe_id"], greeting["mes"], greeting["is_user"]) == (1, "You again?", False)
    assert asked == {
        "name": "User",
        "is_user": True,
        "is_system": False,
        "send_date": "2026-01-01T00:01:00.000Z",
        "mes": "What is\nalchemy?",
        "extra": {},
    }
    assert (answer["name"], answer["swipes"], answer["swipe_id"]) == (
        "edward-elric",
        ["Science.", "Art. “…”"],
        1,
    )
    assert answer["swipe_info"] == [
        {"send_date": "2026-01-01T00:01:01.000Z", "extra": {"model": "starter"}},
        {"send_date": "2026-01-01T00:01:02.000Z", "extra": {"model": "openhermes-2"}},
    ]


@given(trees(least=1))
@settings(max_examples=100, deadline=None)
def test_swipes_come_back(one: Transcript) -> None:
    """The opening, the title, the visible turns and their swipes are written and read unchanged."""
    (read,) = sillytavern.read(sillytavern.write(one))
    assert [(t.role, t.text) for t in read.turns] == [(t.role, t.text) for t in one.turns]

    def swipes(whole: Transcript) -> list[list[str]]:
        return [
            [m.text for m in whole.tree.nodes if m.parent == stored.parent and m.role is ASSISTANT]
            for stored in whole.tree.path
            if stored.role is ASSISTANT
        ]

    assert swipes(read) == swipes(one)
    assert read.conversation.opening == one.conversation.opening
    assert not one.conversation.title or read.conversation.title == one.conversation.title


@pytest.mark.parametrize(
    ("line", "good", "bad", "reason"),
    [
        (1, '"chat_metadata"', '"metadata"', None),
        (1, '"user_name":"unused"', '"user_name":"unused', "not JSON"),
        (2, '"swipe_id":0', '"swipe_id":2', "swipe_id is out of the range 0 to 1"),
        (2, '"You are far from the road."', "5", r"swipes\[1\] is a number, not a text"),
        (3, '"mes"', '"message"', "has no 'mes'"),
        (3, '"is_user":true', '"is_user":"yes"', "is_user is a text, not true or false"),
        (5, '"A spirit."', '"\\udead"', r"swipes\[0\] contains a lone surrogate"),
    ],
)
def test_a_mistake_has_its_line(line: int, good: str, bad: str, reason: str | None) -> None:
    """A malformed line is refused with the reason and its number."""
    lines = CHAT.split("\n")
    lines[line - 1] = lines[line - 1].replace(good, bad, 1)
    text = "\n".join(lines)
    if reason is None:  # the names alone make a header, too
        assert len(sillytavern.read(text)) == 1
        return
    with pytest.raises(FormatError, match=reason) as caught:
        sillytavern.read(text)
    assert caught.value.line == line


def test_a_chat_needs_its_header_and_a_turn() -> None:
    """A file without a header, and a header without turns, are refused."""
    header, *lines = CHAT.split("\n")
    with pytest.raises(FormatError, match="is not a header"):
        sillytavern.read("\n".join(lines))
    with pytest.raises(FormatError, match="is followed by no turn"):
        sillytavern.read(header)


def test_examples_stand_before_a_greeting_or_a_question() -> None:
    """The examples of the opening come before the greeting or the first question."""
    header, greeting, asked, *_ = CHAT.split("\n")
    own = '"hermes":{"opening":[{"role":"user","text":"q"},{"role":"assistant","text":"a"}]},'
    header = header.replace('"note_prompt"', own + '"note_prompt"')
    (one,) = sillytavern.read(f"{header}\n{greeting}")
    assert [turn.text for turn in one.turns] == ["Stay in Eldoria.", "q", "a", "Welcome."]
    (other,) = sillytavern.read(f"{header}\n{asked}")
    assert [turn.text for turn in other.conversation.opening] == ["Stay in Eldoria.", "q", "a"]


def test_a_narrator_who_begins_speaks_before_the_tree() -> None:
    """A narrator's message before the first turn belongs to the opening."""
    header, _, asked, *_, narrator = CHAT.split("\n")
    (one,) = sillytavern.read(f"{header}\n{narrator}\n{asked}")
    assert [turn.text for turn in one.conversation.opening] == ["Stay in Eldoria.", "Night falls."]
    assert tree(one) == [(None, "user", "Who are you?")]
