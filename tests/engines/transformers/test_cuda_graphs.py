"""Tests of decoding with CUDA graphs: the ids are those of eager steps, however an answer ends.

A step is captured as a plain call here: the code is the same as on a GPU, but there is no graph. The model
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
from hermes_cli.engines.transformers.cuda_graphs import FIRST_SPAN, IN_FLIGHT, Capture
from hermes_cli.engines.transformers.engine import TransformersEngine
from hermes_cli.engines.transformers.sampling import BLOCK
from hermes_cli.errors import HermesError
from hermes_cli.messages import Conversation, Message, Role
from hermes_cli.options import GenerationOptions
from tests.engines.transformers.conftest import Failure, engine_over

GREEDY = GenerationOptions(temperature=0, repetition_penalty=1, max_tokens=24, loop_guard=0)
CONVERSATION = Conversation((Message(Role.SYSTEM, "You are brief."), Message(Role.USER, "Is the lamp lit?")))
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory.")


class FakeCapture:
    """Capture steps as calls, and count the captures and the replays."""

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        self.captures += 1
        step()

        def replay() -> None:
            self.replays += 1
            step()

        return replay


def answer(
    engine: TransformersEngine, options: GenerationOptions = GREEDY, conversation: Conversation = CONVERSATION
) -> tuple[str, Completion]:
    """Return an answer's text and its completion."""
    chunks = list(engine.stream(conversation.messages, options, Cancel()))
    done = chunks[-1].completion
    assert done is not None
    return "".join(chunk.text for chunk in chunks), done


def cached_ids(engine: TransformersEngine) -> list[int]:
    """Return the ids whose states the engine's cache holds."""
    assert engine._decoder is not None
    assert {layer.length for layer in engine._decoder.cache.layers} == {len(engine._decoder.ids)}
    return engine._decoder.ids


@pytest.fixture(scope="module")
def exact(mistral: Any) -> Any:
    """The tiny Mistral in float64."""
    return copy.deepcopy(mistral).double()


@pytest.fixture
def counter() -> FakeCapture:
    """A capture that counts."""
    return FakeCapture()


@pytest.fixture
def graphs(exact: Any, mistral_vocabulary: Vocabulary, counter: FakeCapture) -> TransformersEngine:
    """An engine that decodes with graphs."""
    return engine_over(exact, mistral_vocabulary, capture=counter)


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
def test_a_long_answer_has_the_ids_of_eager_steps(
    graphs: TransformersEngine, plain: TransformersEngine, counter: FakeCapture, options: GenerationOptions
) -> None:
    """A long answer has the ids of one step at a time, past the end of a span and of a block of draws."""
    long = GenerationOptions(
        **{name: getattr(options, name) for name in options.__slots__} | {"max_tokens": FIRST_SPAN + 90}
    )
    assert long.max_tokens is not None
    assert long.max_tokens > 2 * BLOCK
    one, other = answer(graphs, long), answer(plain, long)
    assert one[0] == other[0]
    assert one[1].turn_ids == other[1].turn_ids
    assert counter.captures == 2  # one for each span
    assert counter.replays > FIRST_SPAN
    assert cached_ids(graphs) == cached_ids(plain)


OPTIONS = st.builds(
    GenerationOptions,
    temperature=st.sampled_from([0.0, 0.7, 1.5]),
    top_p=st.sampled_from([0.5, 0.95, 1.0]),
    top_k=st.sampled_from([0, 1, 40]),
    min_p=st.sampled_from([0.0, 0.05]),
    repetition_penalty=st.sampled_from([0.8, 1.0, 1.3]),
    repetition_range=st.sampled_from([0, 1, 30]),
    xtc_probability=st.sampled_from([0.0, 0.5]),
    dry_multiplier=st.sampled_from([0.0, 0.0, 0.8]),
    max_tokens=st.integers(1, 20),
    seed=st.integers(0, 100),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(OPTIONS, st.integers(0, 12), st.booleans()), min_size=1, max_size=5))
def test_any_conversation_has_the_ids_of_eager_steps(
    exact: Any, mistral_vocabulary: Vocabulary, turns: list[tuple[GenerationOptions, int, bool]]
) -> None:
    """Any options, stops and retries give the text, ids, usage and cache of one step at a time."""
    engines = [engine_over(exact, mistral_vocabulary, capture=capture) for capture in (FakeCapture(), None)]
    conversation = CONVERSATION
    for options, stopped_after, retried in turns:
        results = []
        for engine in engines:
            cancel, chunks = Cancel(), []
            for chunk in engine.stream(conversation.messages, options, cancel):
                chunks.append(chunk)
                if len(chunks) == stopped_after:
                    cancel.set()
            done = chunks[-1].completion
            assert done is not None
            results.append(("".join(c.text for c in chunks), done.turn_ids, done.usage, cached_ids(engine)))
        assert results[0] == results[1]
        if not retried:
            reply = Message(Role.ASSISTANT, results[0][0], results[0][1])
            conversation = conversation.add(reply, Message(Role.USER, "And then?"))


def test_tokens_past_a_stop_string_are_discarded(graphs: TransformersEngine, counter: FakeCapture) -> None:
    """Tokens decoded past a stop string are dropped from the cache, and the next answer is unchanged."""
    whole, _ = answer(graphs)
    stop = whole[len(whole) // 2 : len(whole) // 2 + 4]
    counter.replays = 0
    options = GenerationOptions(temperature=0, repetition_penalty=1, loop_guard=0, stop=(stop,))
    text, done = answer(graphs, options)
    assert text == whole[: whole.index(stop)]
    made = done.usage.completion_tokens
    assert made <= counter.replays + 1 <= made + IN_FLIGHT - 1  # the first is a separate step
    prompt = [token.id for token in graphs.prompt_tokens(CONVERSATION.messages)]
    assert cached_ids(graphs)[: len(prompt)] == prompt
    assert len(cached_ids(graphs)) == len(prompt) + made - 1
    assert answer(graphs)[0] == whole


def test_no_step_is_taken_past_max_tokens(graphs: TransformersEngine, counter: FakeCapture) -> None:
    """An answer of 24 tokens takes 23 captured steps, none past max_tokens."""
    answer(graphs)
    counter.replays = 0
    answer(graphs)
    assert counter.replays == 23


def test_a_cancel_takes_effect_within_one_token(graphs: TransformersEngine) -> None:
    """After a cancel at most one more piece of text is shown, and a retry prefills one token."""
    answer(graphs)
    cancel = Cancel()
    chunks = []
    for chunk in graphs.stream(CONVERSATION.messages, GREEDY, cancel):
        chunks.append(chunk)
        if sum(bool(chunk.text) for chunk in chunks) == 4:
            cancel.set()
    done = chunks[-1].completion
    assert done is not None
    assert done.finish_reason is FinishReason.CANCELLED
    assert sum(bool(chunk.text) for chunk in chunks) <= 5
    assert answer(graphs)[1].usage.prefilled_tokens == 1


def test_the_step_is_captured_after_the_first_token(graphs: TransformersEngine, counter: FakeCapture) -> None:
    """The first text comes before the step is captured, and the step is captured once."""
    captured = [
        counter.captures for chunk in graphs.stream(CONVERSATION.messages, GREEDY, Cancel()) if chunk.text
    ]
    assert captured[0] == 0
    assert set(captured[1:]) == {1}
    answer(graphs)
    assert counter.captures == 1


def test_nan_logits_end_the_answer_with_an_error(
    graphs: TransformersEngine, plain: TransformersEngine, exact: Any
) -> None:
    """NaN logits in mid-answer end it with an error after the correct text; the next answer is complete."""
    whole, _ = answer(plain)
    text = ""
    stream = graphs.stream(CONVERSATION.messages, GREEDY, Cancel())
    while len(text) <= 20:
        text += next(stream).text
    with (  # noqa: PT012 - the loop keeps the text before the error
        exact.lm_head.register_forward_hook(lambda *given: given[-1] * torch.nan),
        pytest.raises(HermesError, match="logits that are not finite"),
    ):
        for chunk in stream:
            text += chunk.text
    assert whole.startswith(text)
    cached_ids(graphs)
    assert answer(graphs)[0] == whole


def test_nan_states_are_evaluated_again(
    graphs: TransformersEngine, plain: TransformersEngine, exact: Any
) -> None:
    """After NaN states in a layer the cache is evaluated again, and the next answer is complete."""
    whole, _ = answer(plain)
    answer(graphs)
    for engine in (graphs, plain):
        with (
            exact.get_decoder().layers[1].register_forward_hook(lambda *given: given[-1] * torch.nan),
            pytest.raises(HermesError, match="logits that are not finite"),
        ):
            answer(engine)
        assert answer(engine)[0] == whole


def test_nan_values_past_the_length_of_the_cache_are_ignored(
    graphs: TransformersEngine, plain: TransformersEngine
) -> None:
    """NaN values in the cache past its length do not change the next answer."""
    sampled = GenerationOptions(seed=4, temperature=1.5, max_tokens=24, loop_guard=0)
    whole, _ = answer(plain, sampled)
    answer(graphs, sampled)
    assert graphs._decoder is not None
    with torch.inference_mode():
        for layer in graphs._decoder.cache.layers:
            layer.values[:, :, layer.length + 2 :] = torch.nan
    text, done = answer(graphs, sampled)
    assert (text, done.finish_reason) == (whole, FinishReason.LENGTH)
    assert done.no_graphs_reason == ""


def test_a_rejected_capture_leaves_the_states_unchanged(
    exact: Any, mistral_vocabulary: Vocabulary, plain: TransformersEngine
) -> None:
    """A capture that is rejected leaves the same states in the cache as decoding without one."""

    def spoiled(step: Callable[[], None]) -> Callable[[], None]:
        def replay() -> None:
            with exact.get_decoder().layers[0].register_forward_hook(lambda *given: given[-1] * 1.5):
                step()

        replay()
        return replay

    states = []
    for engine in (engine_over(exact, mistral_vocabulary, capture=spoiled), plain):
        _, done = answer(engine)
        assert engine._decoder is not None
        states.append([torch.stack(layer.states()) for layer in engine._decoder.cache.layers])
        assert ("logits differ" in done.no_graphs_reason) is (engine is not plain)
    assert all(torch.equal(state, other) for state, other in zip(*states, strict=True))


def test_alternating_options_are_captured_once_each(graphs: TransformersEngine, counter: FakeCapture) -> None:
    """Two alternating sets of options are captured once each, and greedy options share one capture."""
    sampled = GenerationOptions(seed=1, max_tokens=8)
    for _ in range(3):
        answer(graphs, sampled)
        answer(graphs)
    assert counter.captures == 2
    answer(graphs, GenerationOptions(temperature=0, repetition_penalty=1, top_p=0.5, max_tokens=8))
    assert counter.captures == 2
    answer(graphs, GenerationOptions(seed=1, max_tokens=8, top_p=0.5))
    assert counter.captures == 3


def test_a_device_that_cannot_capture_decodes_in_eager_steps(
    exact: Any, mistral_vocabulary: Vocabulary, plain: TransformersEngine
) -> None:
    """If the device cannot capture, the answer is decoded in eager steps and its statistics say why."""

    def refuse(_: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing\nsee the documentation")

    engine = engine_over(exact, mistral_vocabulary, capture=refuse)
    text, done = answer(engine)
    assert text == answer(plain)[0]
    assert done.no_graphs_reason == "operation not permitted when stream is capturing"
    assert statistics(done).endswith(f", without CUDA graphs: {done.no_graphs_reason}")
    assert answer(engine)[1].no_graphs_reason == done.no_graphs_reason


def twice(step: Callable[[], None]) -> Callable[[], None]:
    """Capture a step so that a replay runs it twice."""

    def replay() -> None:
        step()
        step()

    return replay


def never(_: Callable[[], None]) -> Callable[[], None]:
    """Capture nothing: a replay changes nothing."""
    return lambda: None


@pytest.mark.parametrize("capture", [twice, never])
def test_a_captured_step_with_other_logits_is_not_used(
    exact: Any, mistral_vocabulary: Vocabulary, plain: TransformersEngine, capture: Capture
) -> None:
    """A captured step with other logits than the plain step is not used, and the answer is correct."""
    engine = engine_over(exact, mistral_vocabulary, capture=capture)
    text, done = answer(engine)
    assert text == answer(plain)[0]
    assert "logits differ" in done.no_graphs_reason
    assert answer(engine)[0] == text


@pytest.mark.parametrize("error", [OUT_OF_MEMORY, RuntimeError("CUDA error: unspecified launch failure")])
def test_a_captured_step_that_fails_is_taken_as_an_eager_step(
    graphs: TransformersEngine, plain: TransformersEngine, exact: Any, error: Exception
) -> None:
    """If a captured step fails, it is taken as a plain step, and the answer is unchanged."""
    whole, _ = answer(plain)
    answer(graphs)
    with Failure(exact, 2, error, spared=8):
        text, done = answer(graphs)
    assert text == whole
    assert done.no_graphs_reason == str(error)
    assert answer(graphs)[0] == whole


def test_ctrl_c_in_a_captured_step_leaves_the_cache_consistent(
    graphs: TransformersEngine, plain: TransformersEngine, exact: Any
) -> None:
    """After Ctrl-C in a captured step the cache is consistent, and the next answer is correct."""
    answer(graphs)
    with Failure(exact, 2, KeyboardInterrupt(), spared=8), pytest.raises(KeyboardInterrupt):
        answer(graphs)
    cached_ids(graphs)
    assert answer(graphs)[0] == answer(plain)[0]


def test_a_ban_disables_captured_steps_and_the_reason_is_reported(
    graphs: TransformersEngine, plain: TransformersEngine, counter: FakeCapture
) -> None:
    """With a ban the ids are chosen on the host without captured steps, and the completion has the reason."""
    whole, _ = answer(plain)
    options = GenerationOptions(
        temperature=0, repetition_penalty=1, max_tokens=24, loop_guard=0, ban=(whole[3:6],)
    )
    text, done = answer(graphs, options)
    assert text == answer(plain, options)[0] != whole
    assert done.no_graphs_reason == "DRY and 'ban' run on the CPU"
    assert counter.replays == 0
    assert answer(plain, options)[1].no_graphs_reason == ""


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"hf_device_map": {"model.layers.0": "cuda:0", "lm_head": "cuda:1"}}, "over several devices"),
        ({"is_loaded_in_8bit": True}, "8-bit layers"),
    ],
)
def test_no_step_is_captured_for_an_unsupported_model(
    monkeypatch: pytest.MonkeyPatch,
    exact: Any,
    mistral_vocabulary: Vocabulary,
    attributes: dict[str, object],
    reason: str,
) -> None:
    """For a model on several devices or with 8-bit layers no step is captured, and the reason is reported."""
    for name, value in attributes.items():
        monkeypatch.setattr(exact, name, value, raising=False)
    counter = FakeCapture()
    done = answer(engine_over(exact, mistral_vocabulary, capture=counter))[1]
    assert reason in done.no_graphs_reason
    assert counter.captures == 0
