"""Tests of decoding ahead: the ids are those of one step at a time, however an answer ends.

Steps are recorded as plain calls here: the code is the same as on a GPU, but nothing is captured. The model
computes in float64: attention with a mask rounds differently than without one, and in float32 that changed
an id now and then.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermes_cli.chat.statistics import statistics
from hermes_cli.engines.base import Cancel, Completion, FinishReason
from hermes_cli.engines.tokenizer_json import Vocabulary
from hermes_cli.engines.transformers.cuda_graphs import FIRST_SPAN, IN_FLIGHT, GraphRecorder
from hermes_cli.engines.transformers.device_sampling import BLOCK
from hermes_cli.engines.transformers.engine import TransformersEngine
from hermes_cli.errors import HermesError
from hermes_cli.messages import Conversation, Message, Role
from hermes_cli.options import GenerationOptions
from tests.engines.transformers.conftest import Failure, engine_over

GREEDY = GenerationOptions(temperature=0, repetition_penalty=1, max_tokens=24, loop_guard=0)
TALK = Conversation((Message(Role.SYSTEM, "You are brief."), Message(Role.USER, "Is the lamp lit?")))
FULL = torch.OutOfMemoryError("CUDA out of memory.")


class Calls:
    """Record steps as calls, and count the recordings and the replays."""

    def __init__(self) -> None:
        self.recorded = self.taken = 0

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1
        step()

        def again() -> None:
            self.taken += 1
            step()

        return again


def said(
    engine: TransformersEngine, options: GenerationOptions = GREEDY, talk: Conversation = TALK
) -> tuple[str, Completion]:
    """Return an answer's text and its completion."""
    chunks = list(engine.stream(talk.messages, options, Cancel()))
    done = chunks[-1].completion
    assert done is not None
    return "".join(chunk.text for chunk in chunks), done


def held(engine: TransformersEngine) -> list[int]:
    """Return the ids whose states the engine's cache holds."""
    assert engine._decoder is not None
    assert {layer.length for layer in engine._decoder.cache.layers} == {len(engine._decoder.ids)}
    return engine._decoder.ids


@pytest.fixture(scope="module")
def exact(mistral: Any) -> Any:
    """The tiny Mistral in float64."""
    return copy.deepcopy(mistral).double()


@pytest.fixture
def calls() -> Calls:
    """A recorder that counts."""
    return Calls()


@pytest.fixture
def ahead(exact: Any, mistral_vocabulary: Vocabulary, calls: Calls) -> TransformersEngine:
    """An engine that decodes ahead."""
    return engine_over(exact, mistral_vocabulary, record=calls)


@pytest.fixture
def plain(exact: Any, mistral_vocabulary: Vocabulary) -> TransformersEngine:
    """The same engine, decoding one step at a time."""
    return engine_over(exact, mistral_vocabulary)


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [GREEDY, GenerationOptions(seed=4, temperature=1.2, xtc_probability=0.5, loop_guard=0)],
    ids=["greedy", "sampled"],
)
def test_a_long_answer_is_that_of_a_step_at_a_time(
    ahead: TransformersEngine, plain: TransformersEngine, calls: Calls, options: GenerationOptions
) -> None:
    """A long answer has the ids of one step at a time, past the end of a span and of a block of draws."""
    long = GenerationOptions(
        **{name: getattr(options, name) for name in options.__slots__} | {"max_tokens": FIRST_SPAN + 90}
    )
    assert long.max_tokens is not None
    assert long.max_tokens > 2 * BLOCK
    one, other = said(ahead, long), said(plain, long)
    assert one[0] == other[0]
    assert one[1].turn_ids == other[1].turn_ids
    assert calls.recorded == 2  # one for each span
    assert calls.taken > FIRST_SPAN
    assert held(ahead) == held(plain)


OPTIONS = st.builds(
    GenerationOptions,
    temperature=st.sampled_from([0.0, 0.7, 1.5]),
    top_p=st.sampled_from([0.5, 0.95, 1.0]),
    top_k=st.sampled_from([0, 1, 40]),
    min_p=st.sampled_from([0.0, 0.05]),
    repetition_penalty=st.sampled_from([0.8, 1.0, 1.3]),
    xtc_probability=st.sampled_from([0.0, 0.5]),
    dry_multiplier=st.sampled_from([0.0, 0.0, 0.8]),
    max_tokens=st.integers(1, 20),
    seed=st.integers(0, 100),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(OPTIONS, st.integers(0, 12), st.booleans()), min_size=1, max_size=5))
def test_any_talk_is_that_of_a_step_at_a_time(
    exact: Any, mistral_vocabulary: Vocabulary, turns: list[tuple[GenerationOptions, int, bool]]
) -> None:
    """Any options, stops and retries give the text, ids, usage and cache of one step at a time."""
    engines = [engine_over(exact, mistral_vocabulary, record=record) for record in (Calls(), None)]
    talk = TALK
    for options, stopped_after, retried in turns:
        results = []
        for engine in engines:
            cancel, chunks = Cancel(), []
            for chunk in engine.stream(talk.messages, options, cancel):
                chunks.append(chunk)
                if len(chunks) == stopped_after:
                    cancel.set()
            done = chunks[-1].completion
            assert done is not None
            results.append(("".join(c.text for c in chunks), done.turn_ids, done.usage, held(engine)))
        assert results[0] == results[1]
        if not retried:
            answer = Message(Role.ASSISTANT, results[0][0], results[0][1])
            talk = talk.add(answer, Message(Role.USER, "And then?"))


def test_what_was_decoded_past_the_end_is_discarded(ahead: TransformersEngine, calls: Calls) -> None:
    """Tokens decoded past a stop string are dropped from the cache, and the next answer is unchanged."""
    whole, _ = said(ahead)
    stop = whole[len(whole) // 2 : len(whole) // 2 + 4]
    calls.taken = 0
    options = GenerationOptions(temperature=0, repetition_penalty=1, loop_guard=0, stop=(stop,))
    text, done = said(ahead, options)
    assert text == whole[: whole.index(stop)]
    made = done.usage.completion_tokens
    assert made <= calls.taken + 1 <= made + IN_FLIGHT - 1  # the first is a separate step
    prompt = [token.id for token in ahead.prompt_tokens(TALK.messages)]
    assert held(ahead)[: len(prompt)] == prompt
    assert len(held(ahead)) == len(prompt) + made - 1
    assert said(ahead)[0] == whole


def test_no_step_is_taken_past_max_tokens(ahead: TransformersEngine, calls: Calls) -> None:
    """An answer of 24 tokens takes 23 recorded steps, none past max_tokens."""
    said(ahead)
    calls.taken = 0
    said(ahead)
    assert calls.taken == 23


def test_a_cancel_is_heard_within_a_token(ahead: TransformersEngine) -> None:
    """After a cancel at most one more piece of text is shown, and a retry prefills one token."""
    said(ahead)
    cancel = Cancel()
    chunks = []
    for chunk in ahead.stream(TALK.messages, GREEDY, cancel):
        chunks.append(chunk)
        if sum(bool(one.text) for one in chunks) == 4:
            cancel.set()
    done = chunks[-1].completion
    assert done is not None
    assert done.finish_reason is FinishReason.CANCELLED
    assert sum(bool(one.text) for one in chunks) <= 5
    assert said(ahead)[1].usage.prefilled_tokens == 1


def test_the_step_is_recorded_behind_the_first_word(ahead: TransformersEngine, calls: Calls) -> None:
    """The first text comes before the step is recorded, and the step is recorded once."""
    recorded = [calls.recorded for chunk in ahead.stream(TALK.messages, GREEDY, Cancel()) if chunk.text]
    assert recorded[0] == 0
    assert set(recorded[1:]) == {1}
    said(ahead)
    assert calls.recorded == 1


def test_logits_that_are_no_numbers_end_the_answer(
    ahead: TransformersEngine, plain: TransformersEngine, exact: Any
) -> None:
    """NaN logits in mid-answer end it with an error after the correct text; the next answer is complete."""
    whole, _ = said(plain)
    text = ""
    answer = ahead.stream(TALK.messages, GREEDY, Cancel())
    hook = None
    with pytest.raises(HermesError, match="overflowed"):  # noqa: PT012 - the error comes in the middle of the loop
        for chunk in answer:
            text += chunk.text
            if len(text) > 20 and hook is None:
                hook = exact.lm_head.register_forward_hook(lambda *given: given[-1] * torch.nan)
    assert hook is not None
    hook.remove()
    assert text
    assert whole.startswith(text)
    held(ahead)
    assert said(ahead)[0] == whole


def test_states_that_are_no_numbers_are_forgotten(
    ahead: TransformersEngine, plain: TransformersEngine, exact: Any
) -> None:
    """After NaN states in a layer the cache is evaluated again, and the next answer is complete."""
    whole, _ = said(plain)
    said(ahead)
    for engine in (ahead, plain):
        hook = exact.get_decoder().layers[1].register_forward_hook(lambda *given: given[-1] * torch.nan)
        with pytest.raises(HermesError, match="overflowed"):
            said(engine)
        hook.remove()
        assert said(engine)[0] == whole


def test_what_lies_behind_the_cursor_does_no_harm(
    ahead: TransformersEngine, plain: TransformersEngine
) -> None:
    """NaN values in the cache past its length do not change the next answer."""
    sampled = GenerationOptions(seed=4, temperature=1.5, max_tokens=24, loop_guard=0)
    whole, _ = said(plain, sampled)
    said(ahead, sampled)
    assert ahead._decoder is not None
    with torch.inference_mode():
        for layer in ahead._decoder.cache.layers:
            layer.values[:, :, layer.length + 2 :] = torch.nan
    text, done = said(ahead, sampled)
    assert (text, done.finish_reason) == (whole, FinishReason.LENGTH)
    assert done.slower == ""


def test_recording_leaves_the_states_as_they_were(
    exact: Any, mistral_vocabulary: Vocabulary, plain: TransformersEngine
) -> None:
    """A recording that is rejected leaves the same states in the cache as decoding without one."""

    def spoiled(step: Callable[[], None]) -> Callable[[], None]:
        def again() -> None:
            hook = exact.get_decoder().layers[0].register_forward_hook(lambda *given: given[-1] * 1.5)
            step()
            hook.remove()

        again()
        return again

    states = []
    for engine in (engine_over(exact, mistral_vocabulary, record=spoiled), plain):
        _, done = said(engine)
        assert engine._decoder is not None
        states.append([torch.stack(layer.states()) for layer in engine._decoder.cache.layers])
        assert ("other logits" in done.slower) is (engine is not plain)
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))


def test_a_summary_between_two_answers_costs_no_recording(ahead: TransformersEngine, calls: Calls) -> None:
    """Two alternating sets of options are recorded once each, and greedy options share one recording."""
    sampled = GenerationOptions(seed=1, max_tokens=8)
    for _ in range(3):
        said(ahead, sampled)
        said(ahead)
    assert calls.recorded == 2
    said(ahead, GenerationOptions(temperature=0, repetition_penalty=1, top_p=0.5, max_tokens=8))
    assert calls.recorded == 2
    said(ahead, GenerationOptions(seed=1, max_tokens=8, top_p=0.5))
    assert calls.recorded == 3


def test_a_device_that_cannot_record_goes_on_as_before(
    exact: Any, mistral_vocabulary: Vocabulary, plain: TransformersEngine
) -> None:
    """If the device cannot record, the answer is decoded token by token and its statistics say why."""

    def refuse(_: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing\nsee the documentation")

    engine = engine_over(exact, mistral_vocabulary, record=refuse)
    text, done = said(engine)
    assert text == said(plain)[0]
    assert done.slower == "operation not permitted when stream is capturing"
    assert statistics(done).endswith(f", token by token: {done.slower}")
    assert said(engine)[1].slower == done.slower


def twice(step: Callable[[], None]) -> Callable[[], None]:
    """Record a step so that a replay runs it twice."""

    def again() -> None:
        step()
        step()

    return again


def never(_: Callable[[], None]) -> Callable[[], None]:
    """Record nothing: a replay changes nothing."""
    return lambda: None


@pytest.mark.parametrize("record", [twice, never])
def test_a_recorded_step_with_other_logits_is_not_used(
    exact: Any, mistral_vocabulary: Vocabulary, plain: TransformersEngine, record: GraphRecorder
) -> None:
    """A recorded step with other logits than the plain step is not used, and the answer is correct."""
    engine = engine_over(exact, mistral_vocabulary, record=record)
    text, done = said(engine)
    assert text == said(plain)[0]
    assert "other logits" in done.slower
    assert said(engine)[0] == text


@pytest.mark.parametrize("error", [FULL, RuntimeError("CUDA error: unspecified launch failure")])
def test_a_step_that_fails_is_taken_by_itself(
    ahead: TransformersEngine, plain: TransformersEngine, exact: Any, error: Exception
) -> None:
    """If a recorded step fails, it is taken as a plain step, and the answer is unchanged."""
    whole, _ = said(plain)
    said(ahead)
    with Failure(exact, 2, error, spared=8):
        text, done = said(ahead)
    assert text == whole
    assert done.slower == str(error)
    assert said(ahead)[0] == whole


def test_ctrl_c_in_a_step_leaves_the_cache_whole(
    ahead: TransformersEngine, plain: TransformersEngine, exact: Any
) -> None:
    """After Ctrl-C in a recorded step the cache is consistent, and the next answer is correct."""
    said(ahead)
    with Failure(exact, 2, KeyboardInterrupt(), spared=8), pytest.raises(KeyboardInterrupt):
        said(ahead)
    held(ahead)
    assert said(ahead)[0] == said(plain)[0]


def test_what_needs_words_is_decided_on_the_host_and_says_so(
    ahead: TransformersEngine, plain: TransformersEngine, calls: Calls
) -> None:
    """With a ban the ids are chosen on the host without recorded steps, and the completion has the reason."""
    whole, _ = said(plain)
    options = GenerationOptions(
        temperature=0, repetition_penalty=1, max_tokens=24, loop_guard=0, ban=(whole[3:6],)
    )
    text, done = said(ahead, options)
    assert text == said(plain, options)[0] != whole
    assert done.slower == "DRY and banned texts are looked for on the host"
    assert calls.taken == 0
    assert said(plain, options)[1].slower == ""


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({"hf_device_map": {"model.layers.0": "cuda:0", "lm_head": "cuda:1"}}, "on several devices"),
        ({"is_loaded_in_8bit": True}, "8-bit layers"),
    ],
)
def test_a_model_that_cannot_is_not_tried(
    monkeypatch: pytest.MonkeyPatch,
    exact: Any,
    mistral_vocabulary: Vocabulary,
    about: dict[str, object],
    reason: str,
) -> None:
    """For a model on several devices or with 8-bit layers no step is recorded, and the reason is reported."""
    for name, value in about.items():
        monkeypatch.setattr(exact, name, value, raising=False)
    calls = Calls()
    done = said(engine_over(exact, mistral_vocabulary, record=calls))[1]
    assert reason in done.slower
    assert calls.recorded == 0
