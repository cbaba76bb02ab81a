"""Requests for precision, device, context and threads, on any machine."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.models.catalogue import WeightFormat
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.gpus import Gpu
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.planner import choose
from hermes_cli.models.plan.refusal import DoesNotFit
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.units import GIB
from tests.models.plan.machines import gpu, mac, machine, machine_with_two, openhermes
from tests.records import records

AMPERE = machine(gpu("RTX 3090", 24, 23.6, (8, 6)), ram=64)
TURING = machine(gpu("TITAN RTX", 24, 23.5, (7, 5)))
PASCAL = machine(gpu("Tesla P40", 22.5, 22.3, (6, 1)))
SMALL = machine(gpu("RTX 3070", 8, 7.6, (8, 6)))
TWO = machine_with_two("RTX 3060", 12, 11.6, (8, 6))
BARE = machine(ram=64, free=58)


@pytest.mark.parametrize(
    ("hardware", "plan_request", "precision", "device"),
    [
        (AMPERE, PlanRequest(precision="4bit"), "4-bit nf4", "cuda:0"),
        (AMPERE, PlanRequest(precision="8bit"), "8-bit int8", "cuda:0"),
        (AMPERE, PlanRequest(precision="FP16"), "fp16", "cuda:0"),
        (AMPERE, PlanRequest(precision="bf16"), "bf16", "cuda:0"),
        (TURING, PlanRequest(precision="16bit"), "fp16", "cuda:0"),
        (TURING, PlanRequest(precision="8bit"), "8-bit int8", "cuda:0"),
        (AMPERE, PlanRequest(device="cpu"), "bf16", "cpu"),
        (AMPERE, PlanRequest(device="cpu", precision="fp32"), "fp32", "cpu"),
        (TWO, PlanRequest(device="cuda:1"), "4-bit nf4", "cuda:1"),
        (TWO, PlanRequest(device="cuda:1+0"), "bf16", "cuda:0+1"),
        (TWO, PlanRequest(device="cuda"), "bf16", "cuda:0+1"),
        (TWO, PlanRequest(device="cuda:0+1", precision="4bit"), "4-bit nf4", "cuda:0+1"),
        (TWO, PlanRequest(precision="8bit", context_size=32_768), "8-bit int8", "cuda:0+1"),
        (SMALL, PlanRequest(context_size=1000), "4-bit nf4", "cuda:0"),
        (AMPERE, PlanRequest(context_size=64, device="cpu"), "bf16", "cpu"),
        (BARE, PlanRequest(precision="4bit"), "4-bit nf4", "cpu"),
        (BARE, PlanRequest(precision="8bit"), "8-bit int8", "cpu"),
        (mac(16, 11), PlanRequest(device="mps"), "4-bit nf4", "mps"),
        (
            machine(gpu("AMD", 24, 23, kind="rocm", arch="gfx1100")),
            PlanRequest(device="cuda:0"),
            "bf16",
            "rocm:0",
        ),
        (
            machine(gpu("AMD", 24, 23, kind="rocm", arch="gfx1100")),
            PlanRequest(device="rocm"),
            "bf16",
            "rocm:0",
        ),
    ],
)
def test_a_requested_precision_device_and_context_are_used(
    hardware: Hardware, plan_request: PlanRequest, precision: str, device: str
) -> None:
    """The plan has the requested precision, device and context, and its reason mentions each of them."""
    plan = choose(hardware, openhermes(), plan_request)
    assert (plan.precision, plan.device) == (precision, device)
    assert plan.context_size == (plan_request.context_size or 8192)
    requested = {
        f"precision {str(plan_request.precision).lower()} was requested": plan_request.precision,
        f"device {device} was requested": plan_request.device,
        f"a context of {plan.context_size:,} tokens was requested": plan_request.context_size,
    }
    for clause, value in requested.items():
        assert (clause in plan.reason) is (value is not None)
    assert plan.passed_over == "" or plan_request.precision is None


def test_the_reason_warns_that_4_bits_are_slow_on_the_cpu() -> None:
    """The reason for 4 bits on the CPU warns that it is slow and names the GGUF."""
    reason = choose(BARE, openhermes(), PlanRequest(precision="4bit")).reason
    assert "slow" in reason
    assert "-m openhermes-2" in reason


@pytest.mark.parametrize(
    ("hardware", "plan_request", "message"),
    [
        (TURING, PlanRequest(precision="bf16"), "bfloat16 needs compute capability 8.0, and cuda:0 has 7.5"),
        (PASCAL, PlanRequest(precision="8bit"), "8-bit needs compute capability 7.5, and cuda:0 has 6.1"),
        (
            machine(gpu("M60", 8, 7, (5, 2))),
            PlanRequest(precision="4bit"),
            "4-bit needs compute capability 6.0",
        ),
        (mac(64, 50), PlanRequest(precision="8bit"), "no 8-bit kernels for Metal"),
        (AMPERE, PlanRequest(precision="5bit"), "--precision takes auto, 16bit, bf16"),
        (AMPERE, PlanRequest(device="gpu"), "--device takes auto, cpu, cuda"),
        (AMPERE, PlanRequest(device="cuda:1"), "there is no device cuda:1 on this machine"),
        (AMPERE, PlanRequest(device="cuda:0+1"), "there is no device cuda:0+1 on this machine"),
        (AMPERE, PlanRequest(device="rocm"), "there is no device rocm on this machine"),
        (BARE, PlanRequest(device="cuda"), "there is no device cuda on this machine"),
        (AMPERE, PlanRequest(context_size=32_769), "trained for a context of 32,768"),
        (AMPERE, PlanRequest(context_size=63), "a context of 63 tokens is too small"),
        (AMPERE, PlanRequest(threads=0), "0 threads"),
    ],
)
def test_an_impossible_request_is_a_usage_error(
    hardware: Hardware, plan_request: PlanRequest, message: str
) -> None:
    """A request that the machine or the model cannot meet is a usage error with the reason."""
    with pytest.raises(UsageError) as caught:
        choose(hardware, openhermes(), plan_request)
    assert message in caught.value.message


def test_an_empty_precision_is_not_a_request() -> None:
    """With an empty precision, the precision is chosen as without a request."""
    assert choose(SMALL, openhermes(), PlanRequest(precision="")).precision == "4-bit nf4"


def test_an_unknown_device_is_refused_with_the_list_of_devices() -> None:
    """An unknown device is refused with the list of devices."""
    with pytest.raises(UsageError) as caught:
        choose(TWO, openhermes(), PlanRequest(device="cuda:7"))
    assert caught.value.hint == "the devices are: cpu, cuda:0 (RTX 3060), cuda:1 (RTX 3060)"


@pytest.mark.parametrize(
    ("hardware", "plan_request", "message", "hint"),
    [
        (
            SMALL,
            PlanRequest(precision="16bit"),
            "in bf16 it needs 14.9 GiB",
            "use --precision 4bit: 4-bit nf4",
        ),
        (
            SMALL,
            PlanRequest(precision="8bit"),
            "in 8-bit int8 it needs 7.8 GiB",
            "use --precision 4bit: 4-bit nf4",
        ),
        (AMPERE, PlanRequest(precision="fp32"), "in fp32 it needs 29.8 GiB", "use --precision bf16: bf16"),
        (
            SMALL,
            PlanRequest(context_size=32_768),
            "even in 4-bit nf4 it needs 8.4 GiB",
            "use --context 25856",
        ),
        (
            machine(gpu("tight", 6, 4, (8, 6)), gpu("RTX 3070", 8, 7.6, (8, 6), index=1)),
            PlanRequest(device="cuda:0"),
            "and 4.0 GiB are free",
            "omit --device: 4-bit nf4 on cuda:1",
        ),
        (
            machine(gpu("RTX 3090", 24, 23.6, (8, 6)), ram=8, free=4),
            PlanRequest(device="cpu"),
            "does not fit main memory",
            "omit --device: bf16 on cuda:0",
        ),
    ],
)
def test_a_request_that_does_not_fit_is_refused(
    hardware: Hardware, plan_request: PlanRequest, message: str, hint: str
) -> None:
    """A request that does not fit the memory is refused with the sizes and an alternative."""
    with pytest.raises(DoesNotFit) as caught:
        choose(hardware, openhermes(), plan_request)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_large_requested_context_selects_4_bits() -> None:
    """A requested context that does not fit beside 16-bit weights selects 4 bits."""
    hardware = machine(gpu("RTX 4060 Ti", 16, 15.7, (8, 9)))
    assert choose(hardware, openhermes(), PlanRequest(context_size=4096)).precision == "bf16"
    plan = choose(hardware, openhermes(), PlanRequest(context_size=16_384))
    assert (plan.precision, plan.context_size) == ("4-bit nf4", 16_384)


@pytest.mark.parametrize("variant", ["gptq", "awq"])
def test_quantized_weights_keep_their_precision(variant: str) -> None:
    """GPTQ and AWQ weights keep their 4 bits, and a request for 16 bits is refused."""
    plan = choose(SMALL, openhermes(variant))
    assert (plan.engine, plan.precision, plan.quantization) == (
        "transformers",
        f"4-bit {variant.upper()}",
        "",
    )
    assert choose(SMALL, openhermes(variant), PlanRequest(precision="4bit")).precision == plan.precision
    with pytest.raises(UsageError, match=r"stored in 4-bit \w+ and cannot run in bf16"):
        choose(SMALL, openhermes(variant), PlanRequest(precision="bf16"))


def test_bitsandbytes_weights_are_refused_on_an_old_gpu() -> None:
    """Saved bitsandbytes weights are refused on a GPU below compute capability 6.0."""
    saved = replace(openhermes("gptq"), format=WeightFormat.BITSANDBYTES, precision="4-bit nf4")
    with pytest.raises(ModelUnavailable, match=r"needs compute capability 6\.0"):
        choose(machine(gpu("M60", 8, 7.9, (5, 2))), saved)


def test_the_smallest_set_of_gpus_is_used() -> None:
    """The plan uses the smallest set of GPUs that holds the model."""
    gpus = [gpu("RTX 3060", 12, 11.6, (8, 6), index=i) for i in range(4)]
    assert choose(machine(*gpus), openhermes()).device == "cuda:0+1"


GIBS = st.floats(0, 60, allow_nan=False)
GPUS = st.builds(
    Gpu,
    st.just("a GPU"),
    st.just(80 * GIB),
    GIBS.map(lambda gib: int(gib * GIB)),
    st.sampled_from(["cuda", "rocm", "xpu", "mps"]),
    st.integers(0, 3),
    st.sampled_from([None, (5, 2), (6, 1), (7, 5), (8, 6), (12, 0)]),
    st.sampled_from(["", "gfx1030", "gfx1100"]),
)
MACHINES = st.builds(
    Hardware,
    st.integers(1, 64),
    st.just(64),
    st.just(256 * GIB),
    GIBS.map(lambda gib: int(gib * GIB)),
    st.just("cpu"),
    st.lists(GPUS, max_size=4, unique_by=lambda gpu: gpu.label).map(tuple),
)
REQUESTS = records(
    PlanRequest,
    context_size=st.one_of(st.none(), st.integers(-5, 40_000)),
    threads=st.one_of(st.none(), st.integers(-1, 8)),
    precision=st.sampled_from([None, "auto", "16bit", "bf16", "fp16", "fp32", "8bit", "4bit", "q"]),
    device=st.sampled_from(
        [None, "auto", "cpu", "cuda", "cuda:0", "cuda:0+1", "rocm", "xpu:1", "mps", "tpu"]
    ),
)
SIZES = st.sampled_from(["gguf", "16bit", "gptq"])
OF_PRECISION = {
    "16bit": ("bf16", "fp16"),
    "bf16": ("bf16",),
    "fp16": ("fp16",),
    "fp32": ("fp32",),
    "8bit": ("8-bit int8",),
    "4bit": ("4-bit nf4",),
}


def check_request(
    plan_precision: str, device: str, context: int, plan_request: PlanRequest, model: ModelFacts
) -> None:
    """Check that a plan meets the requests."""
    if plan_request.context_size is not None:
        assert context == plan_request.context_size
    if plan_request.precision not in (None, "auto"):
        allowed = OF_PRECISION[str(plan_request.precision)]
        assert plan_precision in (
            (model.precision,) if model.format is not WeightFormat.SAFETENSORS else allowed
        )
    if plan_request.device not in (None, "auto"):
        requested = str(plan_request.device)
        assert device == requested or device.startswith((requested.partition(":")[0], "rocm"))


@settings(max_examples=400, deadline=None)
@given(MACHINES, REQUESTS, SIZES, st.floats(0.01, 3))
def test_a_plan_for_any_machine_fits_and_meets_the_request(
    machine: Hardware, plan_request: PlanRequest, form: str, scale: float
) -> None:
    """A plan fits the memory and meets the requests; every refusal is a HermesError."""
    original = openhermes(form)
    model = replace(
        original,
        weight_bytes=int(original.weight_bytes * scale),
        parameters=int(original.parameters * scale),
        linear_parameters=int(original.linear_parameters * scale),
    )
    try:
        plan = choose(machine, model, plan_request)
    except HermesError:
        return
    assert plan.memory_needed <= plan.memory_available
    assert plan.memory_available == (
        sum(g.memory_free for g in machine.gpus if g.label in _labels(plan.device))
        if plan.device != "cpu"
        else machine.memory_available
    )
    assert 64 <= plan.context_size <= 32_768
    assert sum(plan.layers) == (32 if plan.engine == "transformers" else 0)
    assert [row.chosen for row in plan.considered].count(True) == 1
    assert plan.device == "cpu" or machine.gpus
    assert plan.device != "cpu" or not machine.gpus or form == "gguf" or plan_request.device == "cpu"
    check_request(plan.precision, plan.device, plan.context_size, plan_request, model)


def _labels(device: str) -> list[str]:
    kind, _, numbers = device.partition(":")
    return [f"{kind}:{number}" for number in numbers.split("+")] if numbers else [kind]
