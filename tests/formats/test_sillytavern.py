"""Tests of SillyTavern's chats: swipes are siblings, and the visible one is on the path."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from hermes_cli.errors import FormatError
from hermes_cli.formats import sillytavern
from hermes_cli.formats.transcript import Transcript
from hermes_cli.store.records import SavedSettings
from tests.formats.trees import ASSISTANT, alchemy, sample, trees

# Written by hand after a chat that SillyTavern 1.13 saved: its keys, its dates, "unused" for the names.
CHAT = sample("sillytavern.jsonl")


def tree(transcript: Transcript) -> list[tuple[int | None, str, str]]:
    """Return parent, role and text of every message."""
    return [(m.parent, m.role.value, m.text) for m in transcript.tree.nodes]


def test_a_chat_saved_by_sillytavern_is_read() -> None:
    """A saved chat is read with its swipes, visible path, dates, models and a remark on hidden messages."""
    (transcript,) = sillytavern.read(CHAT)
    assert tree(transcript) == [
        (None, "assistant", "Welcome."),
        (None, "assistant", "You are far from the road."),
        (1, "user", "Who are you?"),
        (3, "assistant", "hidden"),
        (4, "assistant", "A spirit."),
        (4, "assistant", "A guardian, edited."),
        (4, "assistant", "Nobody."),
        (6, "system", "Night falls."),
    ]
    assert [m.text for m in transcript.tree.nodes if m.is_hidden] == ["hidden"]
    assert [m.text for m in transcript.tree.path] == [
        "Welcome.",
        "Who are you?",
        "hidden",
        "A guardian, edited.",
        "Night falls.",
    ]
    assert transcript.conversation.opening[0].text == "Stay in Eldoria."
    assert transcript.conversation.title == "Who are you?"
    assert transcript.remarks == ("messages hidden from the model: 1; /tree shows them",)
    assert [m.created for m in transcript.tree.nodes[:2]] == [1758870252.006, 1758870340.881]
    assert (transcript.tree.nodes[0].generation.model, transcript.tree.nodes[1].generation.model) == (
        "gpt-4o",
        "",
    )
    assert 1758800000 < transcript.tree.nodes[2].created < 1758950000
    assert 1758800000 < transcript.tree.nodes[5].created < 1758950000
    assert transcript.tree.nodes[7].created == 0


def test_hidden_messages_are_written_and_read() -> None:
    """`is_system` marks them, also on a narrator. A hidden comment before the first turn is left out."""
    lines = [
        {"chat_metadata": {}, "user_name": "Ann", "character_name": "Ed"},
        {"is_user": False, "is_system": True, "mes": "A remark.", "extra": {"type": "comment"}},
        {"is_user": True, "is_system": True, "mes": "Hi"},
        {"is_user": False, "mes": "Hello", "swipes": ["Hello", "Hey"], "swipe_id": 0, "is_system": True},
        {"is_user": False, "is_system": True, "mes": "Another.", "extra": {"type": "comment"}},
        {"is_user": True, "is_system": False, "mes": "Bye"},
    ]
    (transcript,) = sillytavern.read("\n".join(map(json.dumps, lines)))
    rows = [(m.role.value, m.text, m.is_hidden) for m in transcript.tree.nodes]
    assert rows == [
        ("user", "Hi", True),
        ("assistant", "Hello", True),
        ("assistant", "Hey", True),
        ("system", "Another.", True),
        ("user", "Bye", False),
    ]
    assert transcript.remarks == (
        "hidden comments before the first turn are left out: 1",
        "messages hidden from the model: 4; /tree shows them",
    )
    written = [json.loads(line) for line in sillytavern.write(transcript).splitlines()[1:]]
    assert [(line["mes"], line["is_system"]) for line in written] == [
        ("Hi", True),
        ("Hello", True),
        ("Another.", True),
        ("Bye", False),
    ]
    (again,) = sillytavern.read(sillytavern.write(transcript))
    assert [(m.role.value, m.text, m.is_hidden) for m in again.tree.nodes] == rows


def test_variables_are_written_and_read() -> None:
    """SillyTavern saves them in the metadata of the chat, also as numbers."""
    chat = alchemy()
    setting = chat.conversation.setting._replace(variables=(("hp", "7"),))
    text = sillytavern.write(replace(chat, conversation=chat.conversation._replace(setting=setting)))
    header, *_ = text.splitlines()
    assert json.loads(header)["chat_metadata"]["variables"] == {"hp": "7"}
    (read,) = sillytavern.read(
        text.replace('"hp": "7"', '"hp": 8, "no": [1]').replace('"hp":"7"', '"hp":8,"no":[1]')
    )
    assert read.conversation.setting.variables == (("hp", "8"),)


def test_a_written_chat_has_the_keys_of_sillytavern() -> None:
    """A written chat has SillyTavern's keys, swipes and dates."""
    text = sillytavern.write(alchemy())
    header, greeting, question, answer = [json.loads(line) for line in text.splitlines()]
    assert (header["user_name"], header["character_name"]) == ("User", "edward-elric")
    assert header["create_date"] == "2026-01-01T00:00:00.000Z"
    assert header["chat_metadata"]["system_prompt"] == "You are Ed."
    assert greeting["swipes"] == ["Welcome!", "You again?"]
    assert (greeting["swipe_id"], greeting["mes"], greeting["is_user"]) == (1, "You again?", False)
    assert question == {
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
def test_the_visible_turns_and_swipes_are_read_back_unchanged(transcript: Transcript) -> None:
    """The opening, the title, the visible turns and their swipes are written and read unchanged."""
    (read,) = sillytavern.read(sillytavern.write(transcript))
    assert [(t.role, t.text) for t in read.turns] == [(t.role, t.text) for t in transcript.turns]

    def swipes(transcript: Transcript) -> list[list[str]]:
        return [
            [m.text for m in transcript.tree.nodes if m.parent == stored.parent and m.role is ASSISTANT]
            for stored in transcript.tree.path
            if stored.role is ASSISTANT
        ]

    assert swipes(read) == swipes(transcript)
    assert read.conversation.opening == transcript.conversation.opening
    assert not transcript.conversation.title or read.conversation.title == transcript.conversation.title


@pytest.mark.parametrize(
    ("line", "good", "bad", "reason"),
    [
        (1, '"chat_metadata"', '"metadata"', None),
        (1, '"user_name":"unused"', '"user_name":"unused', "not JSON"),
        (2, '"swipe_id":0', '"swipe_id":2', "swipe_id is out of the range 0 to 1"),
        (2, '"You are far from the road."', "5", r"swipes\[1\] is a number, not a string"),
        (3, '"mes"', '"message"', "has no 'mes'"),
        (3, '"is_user":true', '"is_user":"yes"', "is_user is a string, not true or false"),
        (5, '"A spirit."', '"\\udead"', r"swipes\[0\] contains a lone surrogate"),
    ],
)
def test_a_malformed_line_is_refused_with_its_number(
    line: int, good: str, bad: str, reason: str | None
) -> None:
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


def test_a_chat_without_a_header_or_a_turn_is_refused() -> None:
    """A file without a header, and a header without turns, are refused."""
    header, *lines = CHAT.split("\n")
    with pytest.raises(FormatError, match="is not a header"):
        sillytavern.read("\n".join(['{"title": "T"}', *lines]))
    with pytest.raises(FormatError, match="has no turn after it"):
        sillytavern.read(header)


def test_examples_come_before_the_greeting_or_the_first_question() -> None:
    """The examples of the opening come before the greeting or the first question."""
    header, greeting, question, *_ = CHAT.split("\n")
    own = '"hermes":{"opening":[{"role":"user","text":"q"},{"role":"assistant","text":"a"}]},'
    header = header.replace('"note_prompt"', own + '"note_prompt"')
    (with_greeting,) = sillytavern.read(f"{header}\n{greeting}")
    assert [turn.text for turn in with_greeting.turns] == ["Stay in Eldoria.", "q", "a", "Welcome."]
    (with_question,) = sillytavern.read(f"{header}\n{question}")
    assert [turn.text for turn in with_question.conversation.opening] == ["Stay in Eldoria.", "q", "a"]


def test_narration_before_the_first_turn_belongs_to_the_opening() -> None:
    """A narrator's message before the first turn belongs to the opening."""
    header, _, question, *_, narrator = CHAT.split("\n")
    (transcript,) = sillytavern.read(f"{header}\n{narrator}\n{question}")
    assert [turn.text for turn in transcript.conversation.opening] == ["Stay in Eldoria.", "Night falls."]
    assert tree(transcript) == [(None, "user", "Who are you?")]


def test_the_header_has_the_names_and_the_note() -> None:
    """The names are those of the user and the character, and the note is SillyTavern's author's note."""
    setting = SavedSettings(user="Winry", seed=7, note="She is tired.", note_depth=2, lore_off=("Tea",))
    plain = alchemy()
    named = replace(
        plain, conversation=plain.conversation._replace(setting=setting), character="Edward Elric"
    )
    header, _, question, answer = [json.loads(line) for line in sillytavern.write(named).splitlines()]
    assert (header["user_name"], header["character_name"]) == ("Winry", "Edward Elric")
    assert (question["name"], answer["name"]) == ("Winry", "Edward Elric")
    note = {key: value for key, value in header["chat_metadata"].items() if key.startswith("note_")}
    assert note == {
        "note_prompt": "She is tired.",
        "note_interval": 1,
        "note_depth": 2,
        "note_position": 1,
        "note_role": 0,
    }
    (read,) = sillytavern.read(sillytavern.write(named))
    assert read.conversation.setting == setting


@pytest.mark.parametrize(
    ("metadata", "note", "depth", "remark"),
    [
        ({"note_prompt": "Be brief."}, "Be brief.", 4, None),
        ({"note_prompt": "Be brief.", "note_depth": "2", "note_interval": "1"}, "Be brief.", 2, None),
        ({"note_prompt": "Be brief.", "note_depth": 10_000}, "Be brief.", 999, None),
        ({"note_prompt": "Be brief.", "note_depth": -1}, "Be brief.", 4, None),
        ({"note_prompt": "Be brief.", "note_interval": 0}, "", 0, "because it is off"),
        ({"note_prompt": "Be brief.", "note_interval": 3}, "Be brief.", 4, "not every 3 messages"),
        ({"note_prompt": "Be brief.", "note_position": 0}, "Be brief.", 999, "before the first turn"),
        ({"note_prompt": "Be brief.", "note_role": 1}, "Be brief.", 4, "is sent as system"),
        ({"note_prompt": 5}, "", 0, None),
    ],
)
def test_the_authors_note_is_read(
    metadata: dict[str, Any], note: str, depth: int, remark: str | None
) -> None:
    """The note and its depth are kept; what hermes does differently is a remark."""
    header = {"user_name": "Winry", "character_name": "Ed", "chat_metadata": metadata}
    line = {"name": "Winry", "is_user": True, "mes": "Hi"}
    (read,) = sillytavern.read(f"{json.dumps(header)}\n{json.dumps(line)}")
    assert read.conversation.setting == SavedSettings(user="Winry", note=note, note_depth=depth)
    assert [remark in text for text in read.remarks] == [True] if remark else read.remarks == ()


@pytest.mark.parametrize(
    ("header", "line", "user"),
    [
        ("Winry", "You", "Winry"),
        ("unused", "Winry", "Winry"),
        ("unused", "User", ""),
        (None, " A\nB ", "A B"),
    ],
)
def test_the_users_name_is_in_the_header_or_in_the_first_turn(
    header: str | None, line: str, user: str
) -> None:
    """Newer versions write `unused` in the header."""
    first: dict[str, object] = {"user_name": header, "character_name": "Ed", "chat_metadata": {}}
    turn = {"name": line, "is_user": True, "mes": "Hi"}
    (read,) = sillytavern.read(f"{json.dumps(first)}\n{json.dumps(turn)}")
    assert read.conversation.setting.user == user


def test_a_chat_with_one_character_has_no_speakers() -> None:
    """The names in the file are those of the character and of the user."""
    (own,) = sillytavern.read(sillytavern.write(alchemy()))
    (foreign,) = sillytavern.read(CHAT)
    assert {node.speaker for node in (*own.tree.nodes, *foreign.tree.nodes)} == {""}
