"""Tests of ChatML as ids: ordinary text gives the template's ids, and no text forges a turn."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.chatml import ChatML, from_tokenizer_json
from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.messages import Message, Role, TurnIds
from tests.dialogues import hostile, ordinary
from tests.vocab import (
    IM_END,
    IM_START,
    Reference,
    fingerprint,
    mistral_tokenizer_json,
    starter_tokenizer_json,
)

GOLDEN = Path(__file__).parent / "golden"


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
    return Vocabulary(text, from_tokenizer_json(text, fingerprint(text)), Reference(text), control)


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
    found: Vocabulary = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("name", ["mistral", "starter"])
def test_golden_ids(name: str, request: pytest.FixtureRequest) -> None:
    """The ids of the stored conversations are the golden ones."""
    vocab: Vocabulary = request.getfixturevalue(name)
    golden = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    assert golden["vocabulary_sha256"] == fingerprint(vocab.text), "make the golden ids again"
    for dialogue in golden["dialogues"]:
        messages = [Message(Role(role), text) for role, text in dialogue["messages"]]
        assert vocab.chatml.ids(messages) == dialogue["ids"]


def test_the_system_header_of_openhermes_2(mistral: Vocabulary) -> None:
    """The system header of OpenHermes 2 has the ids of its tokenizer.json."""
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


def test_hostile_dialogues_forge_nothing(any_vocabulary: Vocabulary) -> None:
    """200 hostile dialogues have only the control tokens of their turns."""
    for messages in hostile(200, seed=4):
        assert not forged(any_vocabulary, any_vocabulary.chatml.ids(messages), messages)


@pytest.mark.long
def test_ten_thousand_hostile_dialogues_forge_nothing(any_vocabulary: Vocabulary) -> None:
    """10,000 hostile dialogues have only the control tokens of their turns."""
    chatml = any_vocabulary.chatml
    assert sum(forged(any_vocabulary, chatml.ids(m), m) for m in hostile(10_000, seed=5)) == 0


def test_the_default_template_is_forged_by_the_same_texts(any_vocabulary: Vocabulary) -> None:
    """The chat template gives other control tokens for more than 150 of the 200 hostile dialogues."""
    dialogues = list(hostile(200, seed=4))
    broken = sum(forged(any_vocabulary, any_vocabulary.reference.ids(m), m) for m in dialogues)
    assert broken > 150


def test_a_hostile_text_reaches_the_model_whole(starter: Vocabulary) -> None:
    """The ids of a hostile text decode to the whole text."""
    for messages in hostile(200, seed=6):
        if any(ord(c) >= 0x40000 for m in messages for c in m.text):
            continue  # SmolLM2's vocabulary has no token for the bytes 0xF1 and up
        segments = [s for s in starter.chatml.segments(messages) if not s.control]
        spelt = starter.reference.tokenizer.decode([i for s in segments for i in s.ids])
        turns = [f"{m.role}\n{m.text}\n" for m in messages]
        if not messages or messages[-1].role is not Role.ASSISTANT:
            turns.append("assistant\n\n")
        assert spelt == "".join(turns)[:-1]


@given(st.lists(st.sampled_from([IM_START, IM_END, "<|im_", "end|>", "start|>", "\n", "system", " ", "a"])))
def test_any_sequence_of_fragments_forges_nothing(mistral: Vocabulary, fragments: list[str]) -> None:
    """No sequence of fragments of control tokens gives a control token."""
    messages = [Message(Role.USER, "".join(fragments))]
    assert not forged(mistral, mistral.chatml.ids(messages), messages)


def test_no_ids_of_text_can_become_a_control_token(any_vocabulary: Vocabulary) -> None:
    """No merge and no byte token of the vocabulary gives a control token."""
    model: dict[str, Any] = json.loads(any_vocabulary.text)["model"]
    reachable = {token for token in model["vocab"] if len(token) == 1}
    reachable |= {left + right for left, right in model["merges"]}
    reachable |= {f"<0x{byte:02X}>" for byte in range(256)}
    assert any_vocabulary.control.isdisjoint(model["vocab"][t] for t in reachable & model["vocab"].keys())


def test_ids_of_the_same_vocabulary_are_reused_as_they_are(mistral: Vocabulary) -> None:
    """Recorded ids of the same vocabulary are used as they are, whatever the text."""
    opening = mistral.chatml.open_turn_ids([Message(Role.USER, "q")])
    made = TurnIds(mistral.chatml.vocabulary, (*opening, 1000, 1001))
    reply = Message(Role.ASSISTANT, "whatever the text says", made)
    asked = [Message(Role.USER, "q"), reply, Message(Role.USER, "r")]
    before = mistral.chatml.ids(asked[:1])
    assert before[-3:] == [32001, 13892, 13]
    assert mistral.chatml.ids(asked)[: len(before) + 6] == [*before, 1000, 1001, 32000, 28705, 13, 32001]


@pytest.mark.parametrize(
    "made",
    [TurnIds("another", (1000,)), TurnIds("", ()), TurnIds("mine", (1000, 32001)), TurnIds("mine", (2,))],
)
def test_other_ids_are_encoded_again(mistral: Vocabulary, made: TurnIds) -> None:
    """Recorded ids of another vocabulary, or with a control token, are replaced by those of the text."""
    name = mistral.chatml.vocabulary if made.vocabulary == "mine" else made.vocabulary
    stored = Message(Role.ASSISTANT, "yes", TurnIds(name, made.ids))
    assert mistral.chatml.turn_ids(stored) == mistral.chatml.turn_ids(Message(Role.ASSISTANT, "yes"))


def test_a_turn_of_the_assistant_at_the_end_is_left_open(any_vocabulary: Vocabulary) -> None:
    """A last turn of the assistant is left open, and otherwise an empty one is opened."""
    chatml = any_vocabulary.chatml
    asked, begun = Message(Role.USER, "q"), Message(Role.ASSISTANT, "It is")
    assert chatml.ids([asked, begun])[-len(chatml.turn_ids(begun)) :] == list(
        chatml.open_turn_ids([asked, begun])
    )
    assert chatml.ids([asked])[-len(chatml.open_turn_ids([asked])) :] == list(
        chatml.turn_ids(Message(Role.ASSISTANT, ""))
    )
    assert chatml.ids([]) == [chatml.im_start, *chatml.open_turn_ids([])]


def spelling(vocab: Vocabulary, ids: Sequence[int]) -> str:
    """Return the text of the ids of ASCII text, with every space."""
    joined = "".join(vocab.reference.tokenizer.convert_ids_to_tokens(list(ids)))
    for token, text in (("▁", " "), ("Ġ", " "), ("Ċ", "\n"), ("<0x0A>", "\n")):
        joined = joined.replace(token, text)
    return joined


def test_text_behind_a_newline_has_no_blank_of_its_own(any_vocabulary: Vocabulary) -> None:
    """Text after a newline is encoded without a leading space."""
    for text in ("word", " word", "\nword", "\n\n", "", "\n", "1\n2", f"a{IM_END}b", IM_START):
        assert spelling(any_vocabulary, any_vocabulary.chatml.encode_after_newline(text)) == text


def test_text_behind_a_newline_continues_what_stands_before(any_vocabulary: Vocabulary) -> None:
    """Text that is encoded after a newline has the ids that it has in one piece."""
    chatml = any_vocabulary.chatml
    for text in ("word", " word", "1\n2", "été", "👍"):
        apart = chatml.encode_text("head:\n") + chatml.encode_after_newline(text)
        assert apart == chatml.encode_text("head:\n" + text)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", IM_END + "\udc80"])
def test_half_a_character_is_a_usage_error(mistral: Vocabulary, text: str) -> None:
    """A lone surrogate is refused with its code point."""
    with pytest.raises(UsageError, match=r"U\+D[89A-F]"):
        mistral.chatml.ids([Message(Role.USER, text)])
    with pytest.raises(UsageError):
        mistral.chatml.encode_after_newline(text)


@pytest.mark.slow
@pytest.mark.parametrize("missing", [IM_START, IM_END])
def test_a_vocabulary_without_chatml_is_refused(missing: str) -> None:
    """A vocabulary without <|im_start|> or <|im_end|> is refused, and the message names it."""
    spec = json.loads(mistral_tokenizer_json())
    spec["added_tokens"] = [token for token in spec["added_tokens"] if token["content"] != missing]
    with pytest.raises(ModelUnavailable, match="does not support ChatML") as caught:
        from_tokenizer_json(json.dumps(spec), "v")
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
def test_other_conversions_of_the_same_vocabulary(change: Callable[[dict[str, Any]], None]) -> None:
    """Other conversions of the vocabulary give the template's ids and are not forged."""
    vocab = edited(change)
    assert different(vocab, ordinary(200, seed=7)) == []
    for messages in hostile(200, seed=8):
        assert not forged(vocab, vocab.chatml.ids(messages), messages)


def test_truncation_in_a_tokenizer_json_loses_nothing(mistral: Vocabulary) -> None:
    """A truncation in tokenizer.json is ignored."""
    spec = json.loads(mistral.text)
    spec["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    spec["padding"] = None
    cut = from_tokenizer_json(json.dumps(spec), "v")
    message = [Message(Role.USER, "word " * 100)]
    assert cut.ids(message) == mistral.chatml.ids(message)


def recognising(vocab: Vocabulary) -> ChatML:
    """Return a renderer on an encoder that recognises literals, as llama.cpp does USER_DEFINED tokens."""
    full: Any = vocab.reference.tokenizer
    control = {token["content"]: token["id"] for token in json.loads(vocab.text)["added_tokens"]}
    return ChatML(lambda text: list(full(text, add_special_tokens=False).input_ids), control, "v")


def test_an_encoder_that_recognises_literals_is_not_trusted(any_vocabulary: Vocabulary) -> None:
    """With an encoder that recognises literals, hostile texts forge nothing and ordinary ids are equal."""
    chatml = recognising(any_vocabulary)
    for messages in hostile(200, seed=9):
        assert not forged(any_vocabulary, chatml.ids(messages), messages)
    assert [m for m in ordinary(50, seed=10) if chatml.ids(m) != any_vocabulary.reference.ids(m)] == []


def test_cutting_a_literal_adds_no_blank(any_vocabulary: Vocabulary) -> None:
    """Literals are cut without adding a space."""
    for text in (f"a{IM_END}b", f"{IM_START}", f"{IM_END}{IM_START}\n", f"x {IM_END} y"):
        spelt = spelling(any_vocabulary, recognising(any_vocabulary).encode_text(text))
        assert spelt.removeprefix(" ") == text


def test_an_encoder_that_cannot_be_kept_from_control_tokens_sends_nothing() -> None:
    """If the encoder still gives a control token, the text is refused with an error."""
    chatml = ChatML(lambda text: [7] * text.count("z"), {IM_START: 5, IM_END: 6, "<z>": 7}, "v")
    with pytest.raises(HermesError, match="not sent"):
        chatml.encode_text("z")
