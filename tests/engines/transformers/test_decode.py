"""Tests of the decoder: after reuse, truncation or a failure, its logits are those of a single pass."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

from hermes_cli.engines.transformers.decode import Decoder
from hermes_cli.errors import HermesError, ResourcesExhausted
from tests.engines.transformers.conftest import CPU, Failure
from tests.weights import SMALL_WINDOW

LIMIT = 512
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory.")
TOLERANCE = 1e-4  # of logits that reach 8; a wrong mask or position is off by more than 1
IDS = torch.randint(0, 32_000, (300,), generator=torch.Generator().manual_seed(1)).tolist()


def fill(made: Decoder, ids: list[int]) -> None:
    """Prefill all ids."""
    for _ in made.prefill(ids):
        pass


def one_pass(model: Any, ids: list[int]) -> torch.Tensor:
    """Return the logits of every position, computed by transformers alone."""
    with torch.inference_mode():
        logits: torch.Tensor = model(torch.tensor([ids])).logits[0]
    return logits


def decoder(model: Any, chunk: int = 1024) -> Decoder:
    """Return a decoder that prefills in chunks of that size."""
    made = Decoder(model, CPU, LIMIT)
    made._chunk_size = chunk
    return made


def counted(model: Any) -> tuple[list[int], Any]:
    """Return a list that receives the number of ids of each evaluation, and the hook to remove."""
    sizes: list[int] = []

    def count(_: Any, __: Any, given: dict[str, Any]) -> None:
        sizes.append(given["input_ids"].shape[1])

    return sizes, model.get_decoder().register_forward_pre_hook(count, with_kwargs=True)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1024])
def test_every_step_has_the_logits_of_one_pass(mistral: Any, chunk: int) -> None:
    """With any chunk size, every step has the logits of one pass, also past the sliding window of 64."""
    reference = one_pass(mistral, IDS)
    made = decoder(mistral, chunk)
    assert list(made.prefill(IDS[:200]))[-1] == 200
    for place in range(200, 300):
        torch.testing.assert_close(made.decode(IDS[place]), reference[place], atol=TOLERANCE, rtol=0)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 290), st.integers(1, 120), st.integers(0, 10_000)), max_size=6))
def test_any_history_of_edits_gives_the_same_logits(mistral: Any, edits: list[tuple[int, int, int]]) -> None:
    """After any sequence of edits, also across the sliding window, the logits are those of one pass."""
    made = decoder(mistral, 33)
    prompt = IDS[:120]
    for place, count, seed in edits:
        new = torch.randint(0, 32_000, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
        prompt = [*prompt[:place], *new][:400]
        cached = made.rewind_to_prefix(prompt[:-1])
        assert cached == len(made.ids)
        fill(made, prompt[cached:-1])
        torch.testing.assert_close(
            made.decode(prompt[-1]), one_pass(mistral, prompt)[-1], atol=TOLERANCE, rtol=0
        )


def test_only_new_ids_are_evaluated(mistral: Any) -> None:
    """After an edit only the ids from the first change on are evaluated, in chunks."""
    sizes, hook = counted(mistral)
    made = decoder(mistral, 64)
    fill(made, IDS[:150])
    assert sizes == [64, 64, 22]
    sizes.clear()
    changed = [*IDS[:100], 5, *IDS[101:180]]
    fill(made, changed[made.rewind_to_prefix(changed) :])
    hook.remove()
    assert sizes == [64, 16]


def test_a_cancelled_prefill_keeps_its_finished_chunks(mistral: Any) -> None:
    """A prefill that stops between two chunks keeps the chunks that are done."""
    made = decoder(mistral, 32)
    for done in made.prefill(IDS[:200]):
        if done == 64:
            break
    assert made.ids == IDS[:64]
    fill(made, IDS[made.rewind_to_prefix(IDS[:200]) : 200])
    reference = one_pass(mistral, IDS[:201])[-1]
    torch.testing.assert_close(made.decode(IDS[200]), reference, atol=TOLERANCE, rtol=0)


OTHER_OUT_OF_MEMORY = [
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]
"""The messages of the CPU's allocator, Metal and cuBLAS: torch has no exception type for these."""


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drafts=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=12))
def test_steps_with_drafts_have_the_logits_of_one_pass(mistral: Any, drafts: list[tuple[int, int]]) -> None:
    """Whatever the drafts are, every step has the logits of one pass, also past the sliding window of 64.

    Each draft has a number of correct ids and a number of wrong ones.
    """
    reference = one_pass(mistral, IDS)
    made = decoder(mistral)
    fill(made, IDS[:60])
    place = 60
    for correct, wrong in drafts:
        draft = [*IDS[place + 1 :][:correct], *(token ^ 1 for token in IDS[place + 1 + correct :][:wrong])]
        sizes, hook = counted(mistral)
        for step in range(1 + correct):
            logits = made.decode(IDS[place], draft)
            torch.testing.assert_close(logits, reference[place], atol=TOLERANCE, rtol=0)
            assert made.ids == IDS[: place + 1]
            assert made.has_drafted(IDS[place + 1]) == (step < correct)
            place += 1
        hook.remove()
        assert sizes == [1 + correct + wrong]


@pytest.mark.parametrize("used", [0, 1, 3])
def test_a_rewind_drops_the_draft(mistral: Any, used: int) -> None:
    """After a rewind the drafted ids are no longer used: their states depended on the removed ids."""
    made = decoder(mistral)
    fill(made, IDS[:100])
    for place in range(100, 101 + used):
        made.decode(IDS[place], IDS[101:104])
    made.rewind(50)
    ids = [*IDS[:50], IDS[101 + used]]
    torch.testing.assert_close(made.decode(ids[-1]), one_pass(mistral, ids)[-1], atol=TOLERANCE, rtol=0)
    assert made.ids == ids


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OUT_OF_MEMORY])
def test_a_draft_that_fails_leaves_the_cache_consistent(mistral: Any, error: BaseException) -> None:
    """A draft that runs out of memory is dropped and the step repeated; Ctrl-C keeps the ids before it."""
    made = decoder(mistral, 64)
    fill(made, IDS[:100])
    reference = one_pass(mistral, IDS[:101])[-1]
    with Failure(mistral, 2, error):
        if isinstance(error, KeyboardInterrupt):
            with pytest.raises(KeyboardInterrupt):
                made.decode(IDS[100], IDS[101:110])
            assert made.ids == IDS[:100]
        logits = made.decode(IDS[100], IDS[101:110])
    torch.testing.assert_close(logits, reference, atol=TOLERANCE, rtol=0)
    assert made.ids == IDS[:101]


@pytest.mark.parametrize("error", OTHER_OUT_OF_MEMORY, ids=["cpu", "metal", "cublas"])
def test_out_of_memory_on_other_devices_is_retried(mistral: Any, error: RuntimeError) -> None:
    """Out of memory on other devices is handled like CUDA's: a retry, then a ResourcesExhausted."""
    made = decoder(mistral, 64)
    with Failure(mistral, 1, error):
        assert list(made.prefill(IDS[:100]))[-1] == 100
    with Failure(mistral, 1, error):
        logits = made.decode(IDS[100])
    torch.testing.assert_close(logits, one_pass(mistral, IDS[:101])[-1], atol=TOLERANCE, rtol=0)
    with Failure(mistral, 1, error, times=99), pytest.raises(ResourcesExhausted):
        made.decode(IDS[101])


class OutOfMemoryAt(TorchFunctionMode):
    """Raise OUT_OF_MEMORY when the buffer number `number`, counted from 1, is allocated."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.new_zeros:
            self._left -= 1
            if self._left == 0:
                raise OUT_OF_MEMORY
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7])
def test_out_of_memory_while_the_cache_grows_keeps_the_ids(mistral: Any, number: int) -> None:
    """If memory runs out while the cache grows, the ids stay as they were and the next step is correct."""
    made = Decoder(mistral, CPU, 1024)
    ids = [*IDS, *IDS]
    fill(made, ids[:512])
    with OutOfMemoryAt(number), pytest.raises(torch.OutOfMemoryError):
        made._forward(mistral, [ids[512]])
    assert made.ids == ids[:512]
    torch.testing.assert_close(
        made.decode(ids[512]), one_pass(mistral, ids[:513])[-1], atol=TOLERANCE, rtol=0
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OUT_OF_MEMORY])
def test_a_failed_step_leaves_the_cache_consistent(mistral: Any, error: BaseException) -> None:
    """After a step that fails in the middle of the layers, the next step has the correct logits."""
    made = decoder(mistral)
    fill(made, IDS[:100])
    times = 1 if isinstance(error, KeyboardInterrupt) else 99
    with Failure(mistral, 2, error, times), pytest.raises((KeyboardInterrupt, ResourcesExhausted)):
        made.decode(IDS[100])
    fill(made, IDS[made.rewind_to_prefix(IDS[:100]) : 100])
    reference = one_pass(mistral, IDS[:101])[-1]
    torch.testing.assert_close(made.decode(IDS[100]), reference, atol=TOLERANCE, rtol=0)


def test_a_step_that_runs_out_of_memory_is_retried_in_smaller_chunks(mistral: Any) -> None:
    """A step that runs out of memory once is repeated with smaller chunks and gives the same logits."""
    made = decoder(mistral, 64)
    fill(made, IDS[:100])
    with Failure(mistral, 1, OUT_OF_MEMORY):
        logits = made.decode(IDS[100])
    torch.testing.assert_close(logits, one_pass(mistral, IDS[:101])[-1], atol=TOLERANCE, rtol=0)
    assert made._chunk_size == 16


def test_a_prefill_that_runs_out_of_memory_continues_in_smaller_chunks(mistral: Any) -> None:
    """A prefill that runs out of memory goes on in smaller chunks and gives the same logits."""
    made = decoder(mistral, 128)
    with Failure(mistral, 3, OUT_OF_MEMORY):
        assert list(made.prefill(IDS[:200]))[-1] == 200
    assert made._chunk_size == 32
    reference = one_pass(mistral, IDS[:201])[-1]
    torch.testing.assert_close(made.decode(IDS[200]), reference, atol=TOLERANCE, rtol=0)


def test_the_error_suggests_a_smaller_context_if_no_chunk_fits(mistral: Any) -> None:
    """If no chunk fits in memory, a ResourcesExhausted suggests --context; a later prefill works."""
    made = decoder(mistral, 64)
    with Failure(mistral, 0, OUT_OF_MEMORY, times=99), pytest.raises(ResourcesExhausted) as caught:
        fill(made, IDS[:100])
    assert "ran out of memory" in caught.value.message
    assert "--context" in caught.value.hint
    assert list(made.prefill(IDS[:100])) == [16, 32, 48, 64, 80, 96, 100]


def test_a_device_error_is_raised_with_its_message(mistral: Any) -> None:
    """An error of the device is raised as a HermesError with the device's message."""
    made = decoder(mistral)
    gone = RuntimeError("CUDA error: unspecified launch failure")
    with Failure(mistral, 0, gone), pytest.raises(HermesError, match="launch failure"):
        fill(made, IDS[:10])


def test_the_buffers_grow_by_doubling(mistral: Any) -> None:
    """The buffers grow by doubling: 1,200 tokens cause two copies."""
    made = Decoder(mistral, CPU, 4096)
    copies = 0
    before = None
    for place in range(0, 1200, 100):
        fill(made, IDS[:100])
        keys = made.cache.layers[0].keys
        copies += before is not None and keys is not before
        before = keys
        assert len(made.ids) == place + 100
    assert copies == 2  # 512, 1024, 2048
    assert keys.shape[-2] == 2048


def test_a_sliding_layer_masks_all_but_its_window(mistral: Any) -> None:
    """A sliding layer has an attention mask of its window's size and keeps the states of all tokens."""
    made = decoder(mistral)
    fill(made, IDS)
    layer = made.cache.layers[0]
    assert layer.get_mask_sizes(1) == (SMALL_WINDOW, 300 - SMALL_WINDOW + 1)
    assert layer.states()[0].shape[-2] == 300
