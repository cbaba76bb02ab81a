"""Tests of the engine on a GPU: the library's own answers, reuse of the cache, and memory that runs out.

The model is the tiny Mistral, whose window of 64 tokens every conversation here outgrows.
"""

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hermes_cli.chat.members import Member
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Completion, FinishReason
from hermes_cli.engines.tokenizer_json import read_vocabulary
from hermes_cli.engines.transformers.cuda_graphs import FIRST_SPAN, cuda_capture
from hermes_cli.engines.transformers.decode import Decoder
from hermes_cli.engines.transformers.engine import TransformersEngine
from hermes_cli.engines.transformers.loading import load_model
from hermes_cli.engines.transformers.quantize import quantize
from hermes_cli.engines.transformers.sampling import History, SamplingParams
from hermes_cli.engines.transformers.torch_errors import hermes_error
from hermes_cli.errors import ResourcesExhausted
from hermes_cli.messages import Conversation, Message, Opening, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from tests.gpu.conftest import gpu_plan
from tests.weights import SMALL_WINDOW

pytestmark = pytest.mark.gpu

GREEDY = GenerationOptions(temperature=0, repetition_penalty=1, max_tokens=32, loop_guard=0)
SYSTEM = "You are a lighthouse keeper who answers in short and patient sentences, whatever is asked of you."
CONVERSATION = Conversation(
    (Message(Role.SYSTEM, SYSTEM), Message(Role.USER, "Good evening! Is the lamp lit?"))
)
NEAR_TIE = {"fp32": 0.001, "bf16": 0.3, "4bit": 0.3}
"""Nats by which a token may be less likely than the library's: 16 bits round by the shape of a batch."""
IDS = torch.arange(1000, 1040)[None]


@dataclasses.dataclass
class Loaded:
    """An engine and its parts."""

    engine: TransformersEngine
    model: Any
    device: torch.device
    precision: str


@pytest.fixture(scope="module", params=["fp32", "bf16", "4bit"])
def loaded(request: pytest.FixtureRequest, gpu: torch.device) -> Iterator[Loaded]:
    """The tiny Mistral on the GPU, in each precision."""
    plan = gpu_plan(request.param)
    assert torch.device(plan.devices[0]) == gpu
    model, device = load_model(plan)
    engine = TransformersEngine(
        Decoder(model, device, plan.context_size, cuda_capture(device)),
        read_vocabulary(plan.path),
        name="tiny",
        context_size=1024,
    )
    yield Loaded(engine, model, device, request.param)
    engine.close()


def answer(
    engine: TransformersEngine, conversation: Conversation, options: GenerationOptions = GREEDY
) -> tuple[str, Completion]:
    """Return an answer's text and its completion."""
    chunks = list(engine.stream(conversation.messages, options, Cancel()))
    done = chunks[-1].completion
    assert done is not None
    return "".join(chunk.text for chunk in chunks), done


def prompt_and_ids(
    engine: TransformersEngine, conversation: Conversation, done: Completion
) -> tuple[list[int], list[int]]:
    """Return the prompt's ids and the generated ids."""
    prompt = [token.id for token in engine.prompt_tokens(conversation.messages)]
    opening = engine._vocabulary.format.open_turn_ids(conversation.messages)
    assert done.turn_ids is not None
    return prompt, list(done.turn_ids.ids[len(opening) :])


def test_greedy_ids_are_those_of_generate(loaded: Loaded) -> None:
    """Greedy ids on a GPU are those of `generate` but for near ties, with reuse and past the window."""
    conversation = CONVERSATION
    for turn in range(5):
        text, done = answer(loaded.engine, conversation)
        prompt, ids = prompt_and_ids(loaded.engine, conversation, done)
        assert done.usage.cached_tokens > 0 or turn == 0
        whole = torch.tensor([prompt], device=loaded.device)
        made = loaded.model.generate(
            whole,
            attention_mask=torch.ones_like(whole),
            max_new_tokens=len(ids),
            do_sample=False,
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
        )
        theirs = made.sequences[0, len(prompt) :].tolist()
        differ = [place for place, (a, b) in enumerate(zip(ids, theirs, strict=False)) if a != b][:1]
        for place in differ:  # after the first differing token the two answers differ
            likely = made.logits[place][0].float().log_softmax(-1)
            assert likely.max() - likely[ids[place]] <= NEAR_TIE[loaded.precision]
        conversation = conversation.add(
            Message(Role.ASSISTANT, text, done.turn_ids), Message(Role.USER, "And then?")
        )
    assert len(prompt) > 3 * SMALL_WINDOW


def test_captured_steps_choose_the_ids_of_eager_steps(loaded: Loaded) -> None:
    """The captured steps are used, and choose the ids of eager steps but for near ties."""
    options = dataclasses.replace(GREEDY, max_tokens=FIRST_SPAN + 40)  # a second span is captured on the way
    _, done = answer(loaded.engine, CONVERSATION, options)
    assert done.no_graphs_reason == ""
    prompt, ids = prompt_and_ids(loaded.engine, CONVERSATION, done)
    assert len(ids) == FIRST_SPAN + 40
    decoder = loaded.engine._decoder
    assert decoder is not None
    assert decoder.graphs is not None
    assert set(decoder.graphs._captured[SamplingParams.from_options(options)]) == {FIRST_SPAN, 2 * FIRST_SPAN}
    plain = Decoder(loaded.model, loaded.device, 1024)
    for _ in plain.prefill(prompt[:-1]):
        pass
    history = History(prompt)
    for place, token in enumerate(ids):
        likely = plain.decode(history.ids[-1]).log_softmax(-1)
        assert likely.max() - likely[token] <= NEAR_TIE[loaded.precision], f"id {place}"
        history.append(token)


def test_the_next_turn_prefills_only_new_tokens(loaded: Loaded) -> None:
    """The next turn prefills only ids that are not in the cache, and a retry prefills one."""
    loaded.engine._decoder.clear()  # type: ignore[union-attr]
    text, done = answer(loaded.engine, CONVERSATION)
    assert done.usage.cached_tokens == 0
    prompt, ids = prompt_and_ids(loaded.engine, CONVERSATION, done)
    conversation = CONVERSATION.add(
        Message(Role.ASSISTANT, text, done.turn_ids), Message(Role.USER, "And then?")
    )
    _, after = answer(loaded.engine, conversation)
    assert after.usage.cached_tokens == len(prompt) + min(len(ids), done.usage.completion_tokens - 1)
    _, retry = answer(loaded.engine, conversation)
    assert retry.usage.prefilled_tokens == 1


def test_a_retry_after_a_cancel_prefills_one_token(loaded: Loaded) -> None:
    """An answer that is cancelled at its first text has fewer than 8 tokens, and a retry prefills one."""
    cancel = Cancel()
    chunks = []
    for chunk in loaded.engine.stream(CONVERSATION.messages, GREEDY, cancel):
        chunks.append(chunk)
        if chunk.text:
            cancel.set()
    done = chunks[-1].completion
    assert done is not None
    assert done.finish_reason is FinishReason.CANCELLED
    assert 0 < done.usage.completion_tokens < 8
    assert answer(loaded.engine, CONVERSATION)[1].usage.prefilled_tokens == 1


def test_the_same_seed_gives_the_same_answer(loaded: Loaded) -> None:
    """Two answers with the same seed are the same, and both use captured steps."""
    options = GenerationOptions(temperature=1.5, seed=7, max_tokens=24)
    first, second = (answer(loaded.engine, CONVERSATION, options) for _ in range(2))
    assert first[0] == second[0]
    assert first[1].no_graphs_reason == second[1].no_graphs_reason == ""


def test_a_full_gpu_is_reported(gpu: torch.device) -> None:
    """Out of memory on a GPU becomes a ResourcesExhausted with a short message."""
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(1 << 46, dtype=torch.uint8, device=gpu)
    error = hermes_error(caught.value, gpu)
    assert isinstance(error, ResourcesExhausted)
    assert error.message == "cuda:0 ran out of memory"


def test_the_answer_is_kept_if_memory_runs_out(loaded: Loaded) -> None:
    """If memory runs out in mid-answer, the session keeps the text so far and can go on."""
    loaded.engine._decoder.clear()  # type: ignore[union-attr]  # captured steps do not run the hook
    session = Session(
        loaded.engine, [Member(opening=Opening.behind(CONVERSATION.messages[:1]))], LayeredOptions(GREEDY)
    )
    chunks = session.send("Good evening!", Cancel())
    text = next(chunk.text for chunk in chunks if chunk.text)

    def fill(*_: object) -> None:
        torch.empty(1 << 46, dtype=torch.uint8, device=loaded.device)

    hook = loaded.model.get_decoder().layers[1].register_forward_pre_hook(fill)
    try:
        with pytest.raises(ResourcesExhausted, match="ran out of memory"):
            text += "".join(chunk.text for chunk in chunks)
    finally:
        hook.remove()
    assert session.conversation.messages[-1].text.startswith(text)
    assert "".join(chunk.text for chunk in session.send("Go on.", Cancel()))


def test_dropped_captures_are_repeated(loaded: Loaded) -> None:
    """Dropped captures are repeated, and the answer is the same."""
    decoder = loaded.engine._decoder
    assert decoder is not None
    first, _ = answer(loaded.engine, CONVERSATION)
    for top_p in (0.5, 0.6, 0.7):  # more sets of options than captures are kept
        _, done = answer(loaded.engine, CONVERSATION, GenerationOptions(top_p=top_p, max_tokens=8))
        assert done.no_graphs_reason == ""
    for _ in range(2):
        decoder.clear()
        text, done = answer(loaded.engine, CONVERSATION)
        assert (text, done.no_graphs_reason) == (first, "")


def test_a_failed_capture_leaves_the_gpu_usable(loaded: Loaded) -> None:
    """After a failed capture the answer is correct, the stream is unchanged and capturing works again."""
    decoder = loaded.engine._decoder
    assert decoder is not None
    decoder.clear()
    whole, _ = answer(loaded.engine, CONVERSATION)
    decoder.clear()
    stream = torch.cuda.current_stream(loaded.device)
    hook = loaded.model.lm_head.register_forward_hook(
        lambda *given: given[-1] * given[-1].isfinite().all().item()
    )
    with hook:
        text, done = answer(loaded.engine, CONVERSATION)
    assert done.no_graphs_reason
    assert text == whole
    assert torch.cuda.current_stream(loaded.device) == stream
    decoder.clear()
    assert answer(loaded.engine, CONVERSATION)[1].no_graphs_reason == ""


def test_the_last_gpu_gives_the_same_answer(loaded: Loaded) -> None:
    """A GPU other than the first gives the same answer with captured steps."""
    if torch.cuda.device_count() == 1:
        pytest.skip("one GPU only")
    last = torch.device("cuda", torch.cuda.device_count() - 1)
    model = copy.deepcopy(loaded.model).to(last)
    vocabulary = loaded.engine._vocabulary
    decoder = Decoder(model, last, 1024, cuda_capture(last))
    engine = TransformersEngine(decoder, vocabulary, name="tiny", context_size=1024)
    (text, done), (again, _) = answer(engine, CONVERSATION), answer(loaded.engine, CONVERSATION)
    assert (text, done.no_graphs_reason) == (again, "")


def test_capturing_can_be_turned_off(gpu: torch.device) -> None:
    """With `cuda_graphs=False` the engine does not capture steps."""
    for enabled in (True, False):
        engine = TransformersEngine.open(gpu_plan("bf16"), cuda_graphs=enabled)
        assert engine._decoder is not None
        assert engine._decoder.device == gpu
        assert (engine._decoder.graphs is not None) is enabled
        engine.close()


def test_a_closed_engine_frees_its_memory(gpu: torch.device) -> None:
    """A closed engine frees its GPU memory."""
    before = torch.cuda.memory_allocated(gpu)
    engine = TransformersEngine.open(gpu_plan("bf16"))
    answer(engine, CONVERSATION)
    assert torch.cuda.memory_allocated(gpu) > before + (1 << 20)
    engine.close()
    assert torch.cuda.memory_allocated(gpu) < before + (1 << 20)


def test_saved_nf4_weights_give_the_same_logits(gpu: torch.device, tmp_path: Path) -> None:
    """A saved 4-bit model has exactly the logits of one that is quantized at load time."""
    plan = gpu_plan("4bit")
    folder = tmp_path / "saved"
    quantize(plan, folder)
    saved = dataclasses.replace(plan, path=folder, quantization="")
    logits = []
    for loaded_plan in (plan, saved):
        model, _ = load_model(loaded_plan)
        layer = model.get_decoder().layers[0].mlp.up_proj
        assert layer.weight.quant_state.quant_type == "nf4"
        with torch.inference_mode():
            logits.append(model(IDS.to(gpu)).logits.float())
    assert torch.equal(*logits)
