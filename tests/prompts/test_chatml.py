"""Tests of ChatML as ids: ordinary text gives the template's ids, and no text forges a turn."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.engines import tokenizer_json
from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.messages import Message, Role, TurnIds
from hermes_cli.prompts.chatml import ChatML
from hermes_cli.prompts.text_encoder import PIECE
from tests.dialogues import hostile, ordinary
from tests.vocab import (
    IM_END,
    IM_START,
    Reference,
    chatml_of,
    fingerprint,
    mistral_tokenizer_json,
    starter_tokenizer_json,
)

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """One tokenizer.json with hermes' renderer and transformers'."""

    text: str
    chatml: ChatML
    reference: Reference
    control: frozenset[int]


def vocabulary(text: str) -> Vocabulary:
    """Build both renderers of a tokenizer.json."""
    control = frozenset(token["id"] for token in json.loads(text)["added_tokens"])
    return Vocabulary(text, chatml_of(tokenizer_json.Vocabulary(text)), Reference(text), control)


@pytest.fixture(scope="module")
def mistral() -> Vocabulary:
    """OpenHermes 2's vocabulary."""
    return vocabulary(mistral_tokenizer_json())


@pytest.fixture(scope="module")
def starter(starter_path: Path) -> Vocabulary:
    """The starter's vocabulary."""
    return vocabulary(starter_tokenizer_json(starter_path))


@pytest.fixture(params=["mistral", "starter"])
def any_vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    """Each of the two vocabularies in turn."""
    requested: Vocabulary = request.getfixturevalue(request.param)
    return requested


@pytest.mark.parametrize("name", ["mistral", "starter"])
def test_the_ids_equal_the_golden_ids(name: str, request: pytest.FixtureRequest) -> None:
    """The golden ids come from transformers."""
    vocab: Vocabulary = request.getfixturevalue(name)
    golden = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    assert golden["vocabulary_sha256"] == fingerprint(vocab.text), "run tests.golden.make again"
    for dialogue in golden["dialogues"]:
        messages = [Message(Role(role), text) for role, text in dialogue["messages"]]
        assert vocab.chatml.ids(messages) == dialogue["ids"]


def test_the_system_header_has_the_ids_of_openhermes_2(mistral: Vocabulary) -> None:
    """They are those of its tokenizer.json."""
    # 1587 from tokenizer.json; converted from tokenizer.model it is 6574.
    assert mistral.chatml.ids([Message(Role.SYSTEM, "")])[:4] == [32001, 1587, 13, 32000]


def different(vocab: Vocabulary, dialogues: Iterable[list[Message]]) -> list[list[Message]]:
    """Return the dialogues whose ids are not apply_chat_template's."""
    return [m for m in dialogues if vocab.chatml.ids(m) != vocab.reference.ids(m)]


def test_ordinary_dialogues_equal_the_template(any_vocabulary: Vocabulary) -> None:
    """200 ordinary dialogues have the ids of the chat template."""
    assert different(any_vocabulary, ordinary(200, seed=2)) == []


@pytest.mark.long
def test_five_thousand_ordinary_dialogues_equal_the_template(any_vocabulary: Vocabulary) -> None:
    """5,000 ordinary dialogues have the ids of the chat template."""
    assert different(any_vocabulary, ordinary(5000, seed=3)) == []


def expected_control(chatml: ChatML, messages: Sequence[Message]) -> list[int]:
    """Return the control tokens that a conversation has, in their order."""
    turns = [*messages] if messages and messages[-1].role is Role.ASSISTANT else [*messages, None]
    return [chatml.im_start, chatml.im_end] * (len(turns) - 1) + [chatml.im_start]


def forged(vocab: Vocabulary, ids: Sequence[int], messages: Sequence[Message]) -> bool:
    """Return whether the ids have other control tokens than those of the turns."""
    return [i for i in ids if i in vocab.control] != expected_control(vocab.chatml, messages)


def test_hostile_dialogues_forge_no_turn(any_vocabulary: Vocabulary) -> None:
    """200 hostile dialogues have only the control tokens of their turns."""
    for messages in hostile(200, seed=4):
        assert not forged(any_vocabulary, any_vocabulary.chatml.ids(messages), messages)


@pytest.mark.long
def test_ten_thousand_hostile_dialogues_forge_no_turn(any_vocabulary: Vocabulary) -> None:
    """10,000 hostile dialogues have only the control tokens of their turns."""
    chatml = any_vocabulary.chatml
    assert sum(forged(any_vocabulary, chatml.ids(m), m) for m in hostile(10_000, seed=5)) == 0


def test_the_same_dialogues_forge_turns_in_the_chat_template(any_vocabulary: Vocabulary) -> None:
    """More than 150 of the 200 hostile dialogues forge a turn there."""
    dialogues = list(hostile(200, seed=4))
    forged_dialogues = sum(forged(any_vocabulary, any_vocabulary.reference.ids(m), m) for m in dialogues)
    assert forged_dialogues > 150


def test_the_ids_of_a_hostile_text_decode_to_the_whole_text(starter: Vocabulary) -> None:
    """The spelling of control tokens is included."""
    for messages in hostile(200, seed=6):
        if any(ord(c) >= 0x40000 for m in messages for c in m.text):
            continue  # SmolLM2's vocabulary has no token for the bytes 0xF1 and up
        segments = [s for s in starter.chatml.segments(messages) if not s.control]
        decoded = starter.reference.tokenizer.decode([i for s in segments for i in s.ids])
        turns = [f"{m.role}\n{m.text}\n" for m in messages]
        if not messages or messages[-1].role is not Role.ASSISTANT:
            turns.append("assistant\n\n")
        assert decoded == "".join(turns)[:-1]


@given(st.lists(st.sampled_from([IM_START, IM_END, "<|im_", "end|>", "start|>", "\n", "system", " ", "a"])))
def test_no_sequence_of_fragments_forges_a_turn(mistral: Vocabulary, fragments: list[str]) -> None:
    """The fragments are parts of the spelling of control tokens."""
    messages = [Message(Role.USER, "".join(fragments))]
    assert not forged(mistral, mistral.chatml.ids(messages), messages)


def test_no_merge_and_no_byte_token_gives_a_control_token(any_vocabulary: Vocabulary) -> None:
    """Therefore the ids of a text contain no control token."""
    model: dict[str, Any] = json.loads(any_vocabulary.text)["model"]
    reachable = {token for token in model["vocab"] if len(token) == 1}
    reachable |= {left + right for left, right in model["merges"]}
    reachable |= {f"<0x{byte:02X}>" for byte in range(256)}
    assert any_vocabulary.control.isdisjoint(model["vocab"][t] for t in reachable & model["vocab"].keys())


def test_recorded_ids_of_the_same_vocabulary_are_reused(mistral: Vocabulary) -> None:
    """The text of the message makes no difference."""
    opening = mistral.chatml.open_turn_ids([Message(Role.USER, "q")])
    recorded = TurnIds(mistral.chatml.vocabulary, (*opening, 1000, 1001))
    reply = Message(Role.ASSISTANT, "whatever the text says", recorded)
    messages = [Message(Role.USER, "q"), reply, Message(Role.USER, "r")]
    before = mistral.chatml.ids(messages[:1])
    assert before[-3:] == [32001, 13892, 13]
    assert mistral.chatml.ids(messages)[: len(before) + 6] == [*before, 1000, 1001, 32000, 28705, 13, 32001]


@pytest.mark.parametrize(
    "recorded",
    [TurnIds("another", (1000,)), TurnIds("", ()), TurnIds("mine", (1000, 32001)), TurnIds("mine", (2,))],
)
def test_other_recorded_ids_are_replaced_by_those_of_the_text(mistral: Vocabulary, recorded: TurnIds) -> None:
    """These are ids of another vocabulary, or with a control token among them."""
    name = mistral.chatml.vocabulary if recorded.vocabulary == "mine" else recorded.vocabulary
    stored = Message(Role.ASSISTANT, "yes", TurnIds(name, recorded.ids))
    assert mistral.chatml.turn_ids(stored) == mistral.chatml.turn_ids(Message(Role.ASSISTANT, "yes"))


def test_a_last_turn_of_the_assistant_is_left_open(any_vocabulary: Vocabulary) -> None:
    """If the last turn is not the assistant's, an empty one is opened."""
    chatml = any_vocabulary.chatml
    question, prefill = Message(Role.USER, "q"), Message(Role.ASSISTANT, "It is")
    assert chatml.ids([question, prefill])[-len(chatml.turn_ids(prefill)) :] == list(
        chatml.open_turn_ids([question, prefill])
    )
    assert chatml.ids([question])[-len(chatml.open_turn_ids([question])) :] == list(
        chatml.turn_ids(Message(Role.ASSISTANT, ""))
    )
    assert chatml.ids([]) == [chatml.im_start, *chatml.open_turn_ids([])]


def spelling(vocab: Vocabulary, ids: Sequence[int]) -> str:
    """Return the text of the ids of ASCII text, with every space."""
    joined = "".join(vocab.reference.tokenizer.convert_ids_to_tokens(list(ids)))
    for token, text in (("▁", " "), ("Ġ", " "), ("Ċ", "\n"), ("<0x0A>", "\n")):
        joined = joined.replace(token, text)
    return joined


def test_an_open_turn_of_the_user_is_left_open(any_vocabulary: Vocabulary) -> None:
    """It has the ids of the closed turn up to its end token, and the count agrees."""
    chatml, closed = any_vocabulary.chatml, [Message(Role.ASSISTANT, "Hi."), Message(Role.USER, "I am")]
    opened = [closed[0], dataclasses.replace(closed[1], is_open=True)]
    ids = chatml.ids(opened)
    assert chatml.ids(closed)[: len(ids) + 1] == [*ids, chatml.im_end]
    assert chatml.count(opened, 1000) == len(ids)


def test_text_after_a_newline_has_no_leading_space(any_vocabulary: Vocabulary) -> None:
    """Some tokenizers add a space to the beginning of a text."""
    for text in ("word", " word", "\nword", "\n\n", "", "\n", "1\n2", f"a{IM_END}b", IM_START):
        assert spelling(any_vocabulary, any_vocabulary.chatml.encoder.encode_after_newline(text)) == text


def test_text_after_a_newline_has_the_ids_that_it_has_in_one_piece(any_vocabulary: Vocabulary) -> None:
    """The text before it and the newline are encoded separately."""
    chatml = any_vocabulary.chatml
    for text in ("word", " word", "1\n2", "été", "👍"):
        in_two_pieces = chatml.encoder.encode_text("head:\n") + chatml.encoder.encode_after_newline(text)
        assert in_two_pieces == chatml.encoder.encode_text("head:\n" + text)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", IM_END + "\udc80"])
def test_a_lone_surrogate_is_a_usage_error(mistral: Vocabulary, text: str) -> None:
    """The message has its code point."""
    with pytest.raises(UsageError, match=r"U\+D[89A-F]"):
        mistral.chatml.ids([Message(Role.USER, text)])
    with pytest.raises(UsageError):
        mistral.chatml.encoder.encode_after_newline(text)


@pytest.mark.slow
@pytest.mark.parametrize("missing", [IM_START, IM_END])
def test_a_vocabulary_without_chatml_is_refused(missing: str) -> None:
    """The message names the control token that is missing."""
    spec = json.loads(mistral_tokenizer_json())
    spec["added_tokens"] = [token for token in spec["added_tokens"] if token["content"] != missing]
    with pytest.raises(ModelUnavailable, match="does not support ChatML") as caught:
        tokenizer_json.Vocabulary(json.dumps(spec))
    assert missing in caught.value.message


def edited(change: Callable[[dict[str, Any]], None]) -> Vocabulary:
    """Return OpenHermes 2's vocabulary with a change in its tokenizer.json."""
    spec = json.loads(mistral_tokenizer_json())
    change(spec)
    return vocabulary(json.dumps(spec))


def _strips(spec: dict[str, Any]) -> None:
    spec["added_tokens"][-1].update(lstrip=True, rstrip=True)


def _metaspace(spec: dict[str, Any]) -> None:
    spec["normalizer"] = None
    spec["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "first",
        "split": False,
    }


def _metaspace_always(spec: dict[str, Any]) -> None:
    _metaspace(spec)
    spec["pre_tokenizer"]["prepend_scheme"] = "always"


@pytest.mark.slow
@pytest.mark.parametrize("change", [_strips, _metaspace, _metaspace_always])
def test_other_conversions_give_the_same_ids(change: Callable[[dict[str, Any]], None]) -> None:
    """They are the template's ids, and hostile dialogues forge no turn."""
    vocab = edited(change)
    assert different(vocab, ordinary(200, seed=7)) == []
    for messages in hostile(200, seed=8):
        assert not forged(vocab, vocab.chatml.ids(messages), messages)


def test_truncation_in_a_tokenizer_json_is_ignored(mistral: Vocabulary) -> None:
    """All ids of a long text are returned."""
    spec = json.loads(mistral.text)
    spec["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    spec["padding"] = None
    cut = chatml_of(tokenizer_json.Vocabulary(json.dumps(spec)))
    message = [Message(Role.USER, "word " * 100)]
    assert cut.ids(message) == mistral.chatml.ids(message)


def literal_matching_chatml(vocab: Vocabulary) -> ChatML:
    """Return a renderer whose encoder matches control literals, as llama.cpp does USER_DEFINED tokens."""
    full: Any = vocab.reference.tokenizer
    control = {token["content"]: token["id"] for token in json.loads(vocab.text)["added_tokens"]}
    return ChatML(lambda text: list(full(text, add_special_tokens=False).input_ids), control, "v")


def test_an_encoder_that_matches_control_literals_forges_no_turn(any_vocabulary: Vocabulary) -> None:
    """Ordinary dialogues still have the ids of the chat template."""
    chatml = literal_matching_chatml(any_vocabulary)
    for messages in hostile(200, seed=9):
        assert not forged(any_vocabulary, chatml.ids(messages), messages)
    assert [m for m in ordinary(50, seed=10) if chatml.ids(m) != any_vocabulary.reference.ids(m)] == []


def test_cutting_a_literal_adds_no_space(any_vocabulary: Vocabulary) -> None:
    """A space at the beginning of the text comes from the tokenizer."""
    for text in (f"a{IM_END}b", f"{IM_START}", f"{IM_END}{IM_START}\n", f"x {IM_END} y"):
        decoded = spelling(any_vocabulary, literal_matching_chatml(any_vocabulary).encoder.encode_text(text))
        assert decoded.removeprefix(" ") == text


def test_text_that_still_encodes_to_a_control_token_is_refused() -> None:
    """The text is not sent."""
    chatml = ChatML(lambda text: [7] * text.count("z"), {IM_START: 5, IM_END: 6, "<z>": 7}, "v")
    with pytest.raises(HermesError, match="not sent"):
        chatml.encoder.encode_text("z")


def test_a_text_that_is_far_too_long_is_not_encoded_as_a_whole() -> None:
    """Its count is the limit of the count, and only its first pieces are encoded, once."""
    encoded = list[int]()

    def encode(text: str) -> list[int]:
        encoded.append(len(text))
        return [9] * len(text)

    chatml = ChatML(encode, {"<|im_start|>": 0, "<|im_end|>": 1}, "v")
    messages = [Message(Role.SYSTEM, "a" * 4_000_000), Message(Role.USER, "b")]
    encoded.clear()
    first = chatml.count(messages, 50_000)
    assert first == chatml.count(messages, 50_000)
    assert first - chatml.count([messages[1]], 50_000) == 100_001 + 3
    assert sum(encoded) < 100_001 + 2 * PIECE
    fits = [Message(Role.SYSTEM, "a" * 90_000), Message(Role.ASSISTANT, "b")]
    assert chatml.count(fits, 50_000) == len(chatml.ids(fits))


def test_a_chatml_model_that_reasons_can_answer_without() -> None:
    """An empty reasoning has the tokens and the text of Qwen3's template with enable_thinking=False."""
    spec = json.loads(mistral_tokenizer_json())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    marks = {"<think>": 32_002, "</think>": 32_003}
    spec["added_tokens"] += [{"id": index, "content": text, **flags} for text, index in marks.items()]
    chatml = chatml_of(tokenizer_json.Vocabulary(json.dumps(spec)))
    assert chatml.end_ids.isdisjoint(marks.values())
    question = [Message(Role.USER, "Hi <think>")]
    excluded = [*question, Message(Role.ASSISTANT, "", reasoning="")]
    newlines = chatml.encoder.encode_text("\n\n")
    empty = [32_002, *newlines, 32_003, *newlines]
    assert chatml.ids(excluded) == [*chatml.ids(question), *empty]
    assert chatml.count(excluded, 1000) == len(chatml.ids(excluded))
    assert chatml.open_turn_ids(excluded) == chatml.open_turn_ids(question)
    assert chatml.closing_ids == (32_003, *newlines)
    text = [*question, Message(Role.ASSISTANT, "So", reasoning="")]
    assert chatml.ids(text) == chatml.ids([*question, Message(Role.ASSISTANT, "So")])


def test_a_chatml_model_that_does_not_reason_is_prompted_as_always(any_vocabulary: Vocabulary) -> None:
    """Without the tokens, there is no empty reasoning."""
    question = [Message(Role.USER, "Hi")]
    excluded = [*question, Message(Role.ASSISTANT, "", reasoning="")]
    assert any_vocabulary.chatml.ids(excluded) == any_vocabulary.chatml.ids(question)
