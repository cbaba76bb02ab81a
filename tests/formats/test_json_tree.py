"""Tests of the JSON format, which holds the whole tree and is read back unchanged."""

import json
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_cli.errors import FormatError
from hermes_cli.formats import json_tree
from hermes_cli.formats.transcript import Transcript
from hermes_cli.messages import Role, TurnIds
from hermes_cli.prompts.chatml import ChatML
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.store import Store
from hermes_cli.tree import GenerationRecord, MessageState, Node
from tests.formats.trees import alchemy, trees, without_ids


@given(st.lists(trees(group=True), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_conversations_survive_a_round_trip_through_file_and_store(transcripts: list[Transcript]) -> None:
    """Conversations are unchanged by a round trip through the file, and by one through the store."""
    text = json_tree.write(transcripts)
    read = json_tree.read(text)
    assert [without_ids(transcript) for transcript in read] == [
        without_ids(transcript) for transcript in transcripts
    ]
    kept = []
    with closing(Store()) as store:
        store.adopt([])  # the store's own ids must not matter
        numbers = store.adopt(
            (transcript.conversation, transcript.tree.nodes) for transcript in [*read, *read]
        )
        for number in numbers[len(read) :]:
            stored = store.conversation(number)
            assert stored is not None
            kept.append(Transcript.of(stored, store.tree(number)))
    assert json_tree.write(kept) == text


def test_a_file_of_version_1_is_read() -> None:
    """A file of version 1 is read with every key, and unknown keys are skipped.

    The sample is never changed.
    """
    sample = """{"hermes_conversations": 1, "conversations": [
{"title": "T", "is_named": true, "persona": "p", "created": 10.5, "updated": 20, "opening":
 [{"role": "system", "text": "S"}], "leaf": 3, "messages": [
{"id": 2, "parent": null, "role": "user", "text": "q\\u0000", "state": "complete", "created": 11.0,
 "model": "", "precision": "", "options": {}, "prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0,
 "prefill_s": 0.0, "decode_s": 0.0, "turn_ids": null},
{"id": 3, "parent": 2, "role": "assistant", "text": "a", "state": "stopped", "created": 12.0, "model": "m",
 "precision": "Q4_1", "options": {"seed": 7, "stop": ["x"], "max_tokens": null}, "prompt_tokens": 5,
 "completion_tokens": 1, "cached_tokens": 2, "prefill_s": 0.25, "decode_s": 1,
 "turn_ids": {"vocabulary": "v", "ids": [0, 4294967295]}, "later": "keys are passed over"}
]}
]}
"""
    (transcript,) = json_tree.read(sample)
    conversation, (question, reply) = transcript.conversation, transcript.tree.nodes
    assert (
        conversation.title,
        conversation.is_named,
        conversation.persona,
        conversation.created,
        conversation.updated,
    ) == (
        "T",
        True,
        "p",
        10.5,
        20.0,
    )
    assert (conversation.opening[0].text, conversation.leaf, question.text) == ("S", reply.id, "q\0")
    assert (reply.parent, reply.state.value, reply.generation.model, reply.generation.precision) == (
        question.id,
        "stopped",
        "m",
        "Q4_1",
    )
    assert reply.generation.options == {"seed": 7, "stop": ["x"], "max_tokens": None}
    assert reply.generation.turn_ids is not None
    assert reply.generation.turn_ids.ids == (0, 4294967295)


MISTAKES = {
    '"role": "assistant"|"role": "tool"': "role is 'tool', which is none of system, user, assistant",
    '"state": "complete"|"state": "done"': "state is 'done'",
    '"parent": 3|"parent": 99': "parent is 99, but no earlier message has this id",
    '"parent": 3|"parent": 5': "parent is 5, but no earlier message has this id",
    '"id": 5|"id": 4': "id is 4, but an earlier message has this id",
    '"text": "Science."|"text": 7': "text is a number, not a string",
    '"text": "Science."|"txt": "Science."': "has no 'text'",
    '"text": "Science."|"text": "\\ud800"': "text contains a lone surrogate (U+D800)",
    '"prompt_tokens": 0|"prompt_tokens": -1': "prompt_tokens is out of the range",
    '"prompt_tokens": 0|"prompt_tokens": 9223372036854775808': "prompt_tokens is out of the range",
    f'"prompt_tokens": 0|"prompt_tokens": {"9" * 5000}': "prompt_tokens is a number that is too large",
    '"prefill_s": 0.0|"prefill_s": NaN': "prefill_s is a number that is too large or not finite",
    '"prefill_s": 0.0|"prefill_s": 1e999': "prefill_s is a number that is too large or not finite",
    '"created": 1767225660.0|"created": 1e15': "created is out of the range",
    '"turn_ids": null|"turn_ids": {"vocabulary": "", "ids": []}': "vocabulary is empty",
    '"turn_ids": null|"turn_ids": {"vocabulary": "v", "ids": [4294967296]}': "turn_ids.ids[0] is out of",
    '"turn_ids": null|"turn_ids": {"vocabulary": "v", "ids": [true]}': "turn_ids.ids[0] is true or false",
    '"options": {}|"options": {"a": {"b": 1}}': "options.a is not an option value",
    '"options": {}|"options": {"a": "\\udfff"}': "options.a contains a lone surrogate",
    '"options": {}|"options": ' + "[" * 100_000: "is nested too deeply",
    '"role": "user"|"role": "user",,': "is not JSON",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_malformed_value_is_refused_with_its_line(mistake: str) -> None:
    """A malformed value is refused with the reason and the line."""
    good, _, bad = mistake.partition("|")
    text = json_tree.write([alchemy()])
    line = next(n for n, row in enumerate(text.split("\n"), 1) if good in row and n > 2)
    rows = text.split("\n")
    rows[line - 1] = rows[line - 1].replace(good, bad, 1)
    with pytest.raises(FormatError) as caught:
        json_tree.read("\n".join(rows))
    assert MISTAKES[mistake] in caught.value.reason
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        ('"leaf": 5', '"leaf": 17', "leaf is 17"),
        ('"persona": "edward-elric"', '"persona": "/etc/passwd"', "is a path"),
        ('"role": "assistant"', '"role": "system"', "at the root of a tree"),
        (": 1, ", ": 2, ", "newer hermes"),
        ('"conversations"', '"others"', "has no 'conversations'"),
    ],
)
def test_an_invalid_leaf_persona_root_or_version_is_refused(good: str, bad: str, reason: str) -> None:
    """A file with an invalid leaf, persona, root or version, or without conversations, is refused."""
    with pytest.raises(FormatError, match=reason):
        json_tree.read(json_tree.write([alchemy()]).replace(good, bad, 1))


def test_an_opening_can_end_with_the_answer_of_an_example() -> None:
    """An opening may end with an example's answer; roots with different roles are refused."""
    text = json_tree.write([alchemy()]).replace('"role": "system"', '"role": "assistant"')
    (with_greeting,) = json_tree.read(text)
    assert [turn.text for turn in with_greeting.turns][:2] == ["You are Ed.", "You again?"]
    roots = '"parent": null, "role": "assistant"'
    (with_question,) = json_tree.read(text.replace(roots, roots.replace("assistant", "user")))
    assert [turn.role.value for turn in with_question.turns][:2] == ["assistant", "user"]
    with pytest.raises(FormatError, match="has first turns of both"):
        json_tree.read(text.replace(roots, roots.replace("assistant", "user"), 1))


def test_token_ids_from_a_file_are_not_used() -> None:
    """Token ids from a file are not used: the prompt has the ids of the visible text."""
    (transcript,) = json_tree.read(json_tree.write([reply_with_wrong_token_ids()]))
    reply = transcript.tree.nodes[-1]
    assert reply.generation.turn_ids is not None
    chatml = ChatML(lambda text: list(text.encode()), {"<|im_start|>": 300, "<|im_end|>": 301}, "v")
    assert bytes(chatml.turn_ids(reply.message)) == b"assistant\nHarmless."


def reply_with_wrong_token_ids() -> Transcript:
    """Return a tree whose reply has the token ids of another text."""
    generation = GenerationRecord(turn_ids=TurnIds("v", tuple(b"assistant\nHarmful.")))
    reply = Node(1, None, Role.ASSISTANT, "Harmless.", MessageState.COMPLETE, 1.0, generation)
    return Transcript.of(StoredConversation(0, "t", False, "", (), 1.0, 1.0, 1), (reply,))  # noqa: FBT003 - a record


def test_the_file_is_plain_json() -> None:
    """The file is plain JSON, with one or no conversation too."""
    value = json.loads(json_tree.write([alchemy(), alchemy()]))
    assert [len(conversation["messages"]) for conversation in value["conversations"]] == [6, 6]
    assert json.loads(json_tree.write([]))["conversations"] == []
