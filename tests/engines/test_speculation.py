"""Tests of look-up speculation on llama.cpp: the answers, their ids and ends are those without it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.rows.lookup_speculation import PROMPTS, conversation
from benchmarks.rows.prefix_reuse import converse, new_ids
from hermes_cli.engines.base import Cancel, Completion, FinishReason
from hermes_cli.engines.llama_cpp import engine as engine_module
from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
from hermes_cli.engines.llama_cpp.settings import LlamaSettings
from hermes_cli.errors import HermesError
from hermes_cli.messages import Message, Role
from hermes_cli.models.gguf.model import read_header
from hermes_cli.options import GenerationOptions
from tests.run_hermes import hermes

pytestmark = pytest.mark.slow

GREEDY = GenerationOptions(temperature=0, repetition_penalty=1, max_tokens=100)
SAMPLED = GenerationOptions(temperature=0.8, repetition_penalty=1, max_tokens=60)
COPY = conversation(*PROMPTS["copy"][1])
"""A prompt that the starter copies, with all drafts accepted."""


@pytest.fixture(scope="module")
def engines(starter_path: Path) -> Iterator[Mapping[bool, LlamaCppEngine]]:
    """The starter with look-up speculation and without."""
    header = read_header(starter_path)
    made = {
        lookup: LlamaCppEngine(
            header, LlamaSettings(str(starter_path), 1024, 2, lookup=lookup), name="starter"
        )
        for lookup in (False, True)
    }
    yield made
    for engine in made.values():
        engine.close()


@pytest.fixture
def engine(engines: Mapping[bool, LlamaCppEngine]) -> LlamaCppEngine:
    """The starter with look-up speculation."""
    return engines[True]


def answer(
    engine: LlamaCppEngine, messages: list[Message], options: GenerationOptions = GREEDY
) -> tuple[str, Completion]:
    """Return the text of an answer and its completion."""
    chunks = list(engine.stream(messages, options, Cancel()))
    done = chunks[-1].completion
    assert done is not None
    return "".join(chunk.text for chunk in chunks), done


def test_drafts_are_accepted(engine: LlamaCppEngine) -> None:
    """llama.cpp accepts drafts for a copy: without this, the other tests would test nothing."""
    prompt = [token.id for token in engine.prompt_tokens(COPY)]
    completion = engine._server.start({"run": engine._request(prompt, GREEDY)})
    while "finish" not in (event := completion.next(60)["event"]):
        pass
    assert event["accepted"] > event["generated"] // 2


@pytest.mark.long
@pytest.mark.parametrize("kind", PROMPTS)
def test_a_greedy_answer_has_the_same_ids(engines: Mapping[bool, LlamaCppEngine], kind: str) -> None:
    """Greedy copies, edits, summaries and chats have the same text, ids, end and counts."""
    for prompt in PROMPTS[kind]:
        (text, done), (expected_text, expected) = (
            answer(engines[lookup], conversation(*prompt)) for lookup in (True, False)
        )
        assert text == expected_text
        assert (done.turn_ids, done.finish_reason) == (expected.turn_ids, expected.finish_reason)
        assert done.usage.completion_tokens == expected.usage.completion_tokens


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("kind", [kind for kind in PROMPTS if kind != "free chat"])
def test_a_seed_gives_the_same_ids(engines: Mapping[bool, LlamaCppEngine], kind: str, seed: int) -> None:
    """A sampled answer has the same ids with the same seed."""
    messages = conversation(*PROMPTS[kind][1])
    options = replace(SAMPLED, seed=seed)
    (_, done), (_, expected) = (answer(engines[lookup], messages, options) for lookup in (True, False))
    assert done.turn_ids == expected.turn_ids


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [
        {"repetition_penalty": 1.1, "temperature": 0},
        {"dry_multiplier": 0.8, "temperature": 0},
        {"xtc_probability": 0.5, "dry_multiplier": 0.8, "repetition_penalty": 1.1},
    ],
    ids=["penalty", "dry", "xtc"],
)
def test_penalties_and_xtc_give_the_same_ids(
    engines: Mapping[bool, LlamaCppEngine], changes: dict[str, float]
) -> None:
    """The sampler verifies each id of a draft with all options, so penalties and XTC change nothing."""
    options = replace(SAMPLED, seed=3, **changes)  # type: ignore[arg-type]
    (_, done), (_, expected) = (answer(engines[lookup], COPY, options) for lookup in (True, False))
    assert done.turn_ids == expected.turn_ids


@pytest.mark.parametrize("limit", [20, 33, 50])
def test_max_tokens_is_exact(engine: LlamaCppEngine, limit: int) -> None:
    """`max_tokens` ends an answer at that token, even in the middle of an accepted draft."""
    text, done = answer(engine, COPY, replace(GREEDY, max_tokens=limit))
    assert (done.finish_reason, done.usage.completion_tokens) == (FinishReason.LENGTH, limit)
    assert answer(engine, COPY)[0].startswith(text)


def test_a_stop_string_ends_an_accepted_draft(engine: LlamaCppEngine) -> None:
    """A stop string in an accepted draft ends the answer before it, and the turn has the ids before it."""
    whole, _ = answer(engine, COPY)
    text, done = answer(engine, COPY, replace(GREEDY, stop=("file3",)))
    assert (text, done.finish_reason) == (whole[: whole.index("file3")], FinishReason.STOP)
    turn = Message(Role.ASSISTANT, text, done.turn_ids)
    assert shown(engine, [*COPY, turn]).endswith(f"<|im_start|>assistant\n{text}")


def test_the_end_of_the_turn_ends_an_accepted_draft(engine: LlamaCppEngine) -> None:
    """If a draft contains the end of an earlier turn and more, the answer ends with the turn."""
    line = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen."
    messages = [Message(Role.USER, f"Say: {line}"), Message(Role.ASSISTANT, line)] * 4
    text, done = answer(engine, [*messages, messages[0]])
    assert (text, done.finish_reason) == (line, FinishReason.STOP)
    assert done.turn_ids is not None
    assert not engine._format.encoder.holds_control(done.turn_ids.ids)
    assert done.usage.completion_tokens == len(engine._format.encoder.encode_after_newline(line)) + 1


def test_no_text_follows_a_cancel(engine: LlamaCppEngine) -> None:
    """After a cancel, the rest of an accepted draft is not shown, and the turn has the ids of the text."""
    cancel, texts, done = Cancel(), list[str](), None
    for chunk in engine.stream(COPY, GREEDY, cancel):
        texts.append(chunk.text)
        if len("".join(texts)) > 80 and not cancel.is_set():
            cancel.set()
            end = len(texts)
        done = chunk.completion
    assert "".join(texts[end:]) == ""
    assert done is not None
    assert done.finish_reason is FinishReason.CANCELLED
    text = "".join(texts)
    assert shown(engine, [*COPY, Message(Role.ASSISTANT, text, done.turn_ids)]).endswith(f"assistant\n{text}")


def test_the_next_turn_prefills_only_new_ids(engine: LlamaCppEngine) -> None:
    """After an answer from drafts, the next turn evaluates only ids that the KV cache does not hold."""
    text, done = answer(engine, COPY, replace(GREEDY, max_tokens=40))
    messages = [*COPY, Message(Role.ASSISTANT, text, done.turn_ids), Message(Role.USER, "And then?")]
    _, after = answer(engine, messages, replace(GREEDY, max_tokens=1))
    kept = done.usage.prompt_tokens + done.usage.completion_tokens - 1
    assert after.usage.cached_tokens == kept


@pytest.mark.long
def test_a_conversation_prefills_only_new_ids(starter_path: Path) -> None:
    """Twenty turns with stops, retries, undos and edits prefill only ids that are new."""
    turns = converse(model=str(starter_path), context=4096, threads=2, lookup=True)
    for turn, counts in zip(turns, new_ids(turns), strict=True):
        assert turn["prefilled"] in counts


@pytest.mark.parametrize(("value", "expected"), [("lookup", True), ("off", False), ("", False)])
def test_the_setting_applies_on_load(
    starter_home: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    expected: bool,  # noqa: FBT001 - a case of the table
) -> None:
    """The setting `speculate` is used when a GGUF model is loaded; it is off by default."""
    loaded: list[LlamaSettings] = []

    def record(settings: LlamaSettings, *_: object) -> None:
        loaded.append(settings)
        raise HermesError("not loaded")

    monkeypatch.setattr(engine_module, "LlamaProcess", record)
    hermes("ask", "hi", env={**starter_home, "OPENHERMES_SPECULATE": value})
    assert [settings.lookup for settings in loaded] == [expected]


def shown(engine: LlamaCppEngine, messages: list[Message]) -> str:
    """Return the text of a prompt."""
    return b"".join(token.data for token in engine.prompt_tokens(messages)).decode()
