"""The plan for a GGUF on different machines."""

from dataclasses import replace
from pathlib import Path

import pytest

from hermes_cli.errors import ModelUnavailable, ResourcesExhausted, UsageError
from hermes_cli.models.catalogue import WeightFormat
from hermes_cli.models.facts import ModelFacts, facts_of
from hermes_cli.models.gguf.model import read_header
from hermes_cli.models.gpus import Gpu
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.llama_build import LlamaBuild
from hermes_cli.models.plan.planner import choose
from hermes_cli.models.plan.refusal import DoesNotFit
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.units import GIB, MIB
from hermes_cli.prompts.chat_template import ChatTemplate
from hermes_cli.prompts.format_choice import ModelTemplates
from tests.models.conftest import MakeGguf

OPENHERMES = ModelFacts(
    "openhermes-2", Path("m.gguf"), WeightFormat.GGUF, "Q4_K_M", 4_370_000_000, 32_768, 131_072
)
STARTER = ModelFacts("starter", Path("s.gguf"), WeightFormat.GGUF, "Q4_1", 98_362_432, 8_192, 23_040)


def machine(free_gib: float, cores: int = 4) -> Hardware:
    """Return a machine with this much free memory."""
    return Hardware(cores, cores * 2, 64 * GIB, int(free_gib * GIB))


@pytest.mark.parametrize(
    ("model", "free_gib", "context"),
    [
        (STARTER, 22.9, 8192),  # the trained context
        (OPENHERMES, 32, 8192),  # more fits; 8192 is the most without a request
        (OPENHERMES, 6, 8192),  # 4.48 + 0.5 + 1.0 GiB of cache
        (OPENHERMES, 5.5, 4352),  # by hand: (5.5 - 4.477 - 0.5) GiB / 128 KiB, down to a multiple of 256
    ],
)
def test_the_context_is_the_largest_that_fits(model: ModelFacts, free_gib: float, context: int) -> None:
    """The context is the largest that the model and the free memory allow, up to 8,192 tokens."""
    plan = choose(machine(free_gib), model)
    assert abs(plan.context_size - context) <= 256
    assert plan.context_size % 256 == 0
    assert plan.kv_bytes == plan.context_size * model.kv_bytes_per_token
    assert plan.headroom_bytes == 512 * MIB + model.weight_bytes // 10
    assert plan.memory_needed <= plan.memory_available


def test_the_summary_and_the_reason_state_the_numbers() -> None:
    """The summary and the reason state the numbers of the plan."""
    plan = choose(machine(22.9, cores=2), STARTER)
    assert plan.summary == "starter · Q4_1 · cpu, 2 threads · needs 0.8 GiB, 22.9 GiB free · context 8192"
    assert "2 physical cores" in plan.reason
    assert "8,192" in plan.reason
    assert "--context" in choose(machine(32), OPENHERMES).reason
    assert "free memory" in choose(machine(5.5), OPENHERMES).reason
    # By hand, for the engine's out-of-memory message: 4.48 + 0.5 + 0.5 GiB.
    smaller = choose(machine(32), OPENHERMES).smaller
    assert smaller is not None
    assert smaller.advice == "--context 4096 needs 5.5 GiB"


def test_a_requested_context_and_number_of_threads_are_used() -> None:
    """A requested context and a requested number of threads are used unchanged."""
    plan = choose(machine(32), OPENHERMES, PlanRequest(context_size=32_768, threads=3))
    assert (plan.context_size, plan.threads) == (32_768, 3)
    assert "a context of 32,768 tokens was requested" in plan.reason


@pytest.mark.parametrize(
    "plan_request", [PlanRequest(context_size=32_769), PlanRequest(context_size=0), PlanRequest(threads=0)]
)
def test_an_out_of_range_context_or_number_of_threads_is_refused(plan_request: PlanRequest) -> None:
    """A context or a number of threads that is out of range is refused."""
    with pytest.raises(UsageError):
        choose(machine(32), OPENHERMES, plan_request)


def test_a_context_that_does_not_fit_is_refused() -> None:
    """A requested context that does not fit the memory is refused with the sizes and one that fits."""
    with pytest.raises(
        ResourcesExhausted,
        match=r"32,768 tokens does not fit main memory: .* needs 9\.0 GiB .* and 6\.0 GiB are free",
    ) as caught:
        choose(machine(6), OPENHERMES, PlanRequest(context_size=32_768))
    assert caught.value.hint == "use --context 8192"  # by hand: (6 - 4.477 - 0.5) GiB / 128 KiB


def test_a_model_larger_than_the_free_memory_is_refused() -> None:
    """A model larger than the free memory is refused with the sizes and a smaller model."""
    with pytest.raises(ResourcesExhausted, match=r"4\.1 weights") as caught:
        choose(machine(4), OPENHERMES)
    assert "-m starter" in caught.value.hint


def test_a_plan_never_needs_more_than_the_free_memory() -> None:
    """With 0.1 to 11.9 GiB free, a plan fits the free memory; only below 5.2 GiB is there none."""
    for tenth in range(1, 120):
        try:
            plan = choose(machine(tenth / 10), OPENHERMES)
        except ResourcesExhausted:
            assert tenth < 52
        else:
            assert plan.memory_needed <= plan.memory_available
            assert 512 <= plan.context_size <= 8192


@pytest.mark.parametrize(
    ("plan_request", "message"),
    [
        (PlanRequest(device="cuda"), "the installed llama.cpp runs it only on the CPU"),
        (PlanRequest(device="cuda:0"), "the installed llama.cpp runs it only on the CPU"),
        (PlanRequest(precision="bf16"), "is stored in Q4_K_M"),
        (PlanRequest(precision="8bit"), "is stored in Q4_K_M"),
    ],
)
def test_a_gpu_or_another_precision_is_refused_for_a_gguf(plan_request: PlanRequest, message: str) -> None:
    """A GPU or another precision is refused for a GGUF, with a hint."""
    gpu = Gpu("RTX 3090", 24 * GIB, 24 * GIB, "cuda", 0, (8, 6))
    with pytest.raises(UsageError, match=message) as caught:
        choose(Hardware(4, 8, 64 * GIB, 32 * GIB, "", (gpu,)), OPENHERMES, plan_request)
    assert caught.value.hint


@pytest.mark.parametrize(
    "plan_request",
    [PlanRequest(device="cpu", precision="4bit"), PlanRequest(device="auto", precision="auto")],
)
def test_a_device_and_a_precision_that_a_gguf_has_are_accepted(plan_request: PlanRequest) -> None:
    """A device and a precision that a GGUF already has are accepted."""
    assert choose(machine(32), OPENHERMES, plan_request).precision == "Q4_K_M"


def test_the_only_candidate_is_listed_with_its_sizes() -> None:
    """The only candidate is listed with its sizes, whether it fits or not."""
    plan = choose(machine(32), OPENHERMES)
    assert [(row.chosen, row.fits, row.memory_needed) for row in plan.considered] == [
        (True, True, plan.memory_needed)
    ]
    with pytest.raises(DoesNotFit) as caught:
        choose(machine(4), OPENHERMES)
    assert [(row.chosen, row.fits) for row in caught.value.considered] == [(False, False)]


def test_the_facts_come_from_the_header_and_the_size_of_the_file(make_gguf: MakeGguf) -> None:
    """The facts of a GGUF come from its header and the size of the file."""
    path = make_gguf()
    facts = facts_of("small", read_header(path))
    special = {"bos_token": "a", "eos_token": "<|im_end|>"}
    assert facts == ModelFacts(
        "small",
        path,
        WeightFormat.GGUF,
        "Q4_1",
        path.stat().st_size,
        1024,
        128,
        layers=2,
        layer_bytes=(0, 32 * 32 * 2),  # a layer without weights, and a matrix of 32 x 32 in 16 bits
        output_bytes=32 * 32 * 4,  # the embeddings, in 32 bits
        width=32,
        vocabulary=10,
        head_widths=(8, 8),  # 32 wide, four heads
        templates=ModelTemplates(None, ChatTemplate("{{ messages }}", special), {}, special),
    )
    assert choose(machine(1), facts).context_size == 1024


def test_a_gguf_without_layers_is_refused(make_gguf: MakeGguf) -> None:
    """A GGUF without layers is refused because it is not a language model."""
    with pytest.raises(ModelUnavailable, match="not a language model"):
        facts_of("x", read_header(make_gguf(blocks=0)))


@pytest.mark.parametrize(
    ("spare", "layers"), [(-1, ()), (0, (1,)), (200, (1,)), (299, (1,)), (300, (2,)), (400, (3,))]
)
def test_the_output_layer_and_then_the_last_layers_fill_a_gpu(spare: int, layers: tuple[int, ...]) -> None:
    """To the byte: the output layer of 50 bytes, then the last layer of 300, then the first of 100."""
    facts = replace(OPENHERMES, weight_bytes=450, kv_bytes_per_token=0, layers=2, layer_bytes=(100, 300))
    facts = replace(facts, output_bytes=50, width=8, vocabulary=10)
    # Beside the margin of 1 GiB, the buffer has 512 rows of 10 logits and 8 x 8 values in four bytes each.
    free = GIB + 512 * (10 + 8 * 8) * 4 + 50 + spare
    gpu = Gpu("GPU", 8 * GIB, free, "cuda", llama_name="CUDA0")
    hardware = Hardware(4, 8, 64 * GIB, 32 * GIB, "", (gpu,), LlamaBuild("cuda", (gpu,)))
    assert choose(hardware, facts).layers == layers
