"""The plan for the GGUF of OpenHermes 2 with layers on GPUs.

The sums, by hand. The file has 4,370,000,000 bytes for 7,241,748,480 parameters, 0.6034 bytes for each. Of
them 6,979,321,856 are in 32 layers: 131.6 MB = 125.5 MiB a layer. The output layer is 32,002 x 4,096
parameters: 79.1 MB = 75.4 MiB. The KV cache is 128 KiB a token in 32 layers, so 32 MiB a layer for 8,192
tokens. A layer with its KV cache takes 157.5 MiB. The compute buffer is 512 x (32,002 + 8 x 4,096) floats:
126.5 MiB; with the margin of 1 GiB, 1,150.5 MiB of headroom = 1.1 GiB.

All 33 layers take 32 x 157.5 + 75.4 + 1,150.5 = 6,266 MiB = 6.1 GiB: 4.0 + 1.0 + 1.1. The CPU needs
4.07 + 1.00 + 0.41 + 0.50 = 6.0 GiB.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

import pytest

from hermes_cli.errors import UsageError
from hermes_cli.models.gpus import Gpu, Kind
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.llama_build import LlamaBuild
from hermes_cli.models.plan.planner import Plan, choose
from hermes_cli.models.plan.refusal import DoesNotFit
from hermes_cli.models.plan.report import table
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.units import GIB, MIB
from hermes_cli.placement import Placement
from hermes_cli.screen.columns import columns
from tests.models.plan.machines import gpu, mac, machine, openhermes

LAYER: Final = 131_613_745
OUTPUT: Final = 79_099_742
HEADROOM: Final = 512 * (32_002 + 8 * 4_096) * 4 + GIB
KV_LAYER: Final = 32 * MIB
"""The KV cache of a layer for 8,192 tokens."""


def device(
    name: str, total: float, free: float, index: int = 0, *, kind: Kind = "cuda", llama_name: str = ""
) -> Gpu:
    """Return a GPU as llama.cpp reports it; sizes in GiB."""
    found = gpu(name, total, free, kind=kind, index=index)
    return replace(found, llama_name=llama_name or f"CUDA{index}", shares_memory=kind == "mps")


def with_llama(*gpus: Gpu, ram: float = 32, free: float = 24, problem: str = "") -> Hardware:
    """Return a machine whose llama.cpp supports its GPUs."""
    return replace(machine(*gpus, ram=ram, free=free), llama=LlamaBuild("cuda", gpus, problem))


def apple(ram: int, available: float) -> Hardware:
    """Return a Mac whose llama.cpp supports Metal."""
    hardware = mac(ram, available)
    chip = replace(hardware.gpus[0], llama_name="Metal")
    return replace(hardware, llama=LlamaBuild("mps", (chip,)))


def plan_for(hardware: Hardware, request: PlanRequest | None = None) -> Plan:
    """Return the plan for the GGUF."""
    return choose(hardware, openhermes("gguf"), request)


@dataclass(frozen=True)
class Case:
    """A machine, the whole table of its plan, and the beginning of the reason."""

    name: str
    hardware: Hardware
    table: str
    reason: str


RTX_3070 = with_llama(device("RTX 3070", 8, 7.6))
GTX_1060 = with_llama(device("GTX 1060", 6, 5.5))
CASES = (
    Case(
        "no GPU",
        machine(free=24),
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
→  Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    24.0  chosen
""",
        "no GPU was found; llama.cpp runs on the CPU",
    ),
    Case(
        "6 GB: (5,632 - 1,150.5 - 75.4) / 157.5 = 27.9, 27 and the output layer",
        GTX_1060,
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
→  Q4_K_M     cuda:0  8,192    3.4      0.8       1.1       5.4    5.5   chosen, 28 of 33 layers
   Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    24.0  not needed
""",
        "28 of 33 layers on cuda:0 (GTX 1060, 5.4 GiB), 5 in main memory",
    ),
    Case(
        "6 GB, half in use: (3,072 - 1,150.5 - 75.4) / 157.5 = 11.7",
        with_llama(device("GTX 1060", 6, 3)),
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
→  Q4_K_M     cuda:0  8,192    1.4      0.3       1.1       2.9    3.0   chosen, 12 of 33 layers
   Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    24.0  not needed
""",
        "12 of 33 layers on cuda:0 (GTX 1060, 2.9 GiB), 21 in main memory; other programs use 3.0 of",
    ),
    Case(
        "8 GB",
        RTX_3070,
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
→  Q4_K_M     cuda:0  8,192    4.0      1.0       1.1       6.1    7.6   chosen, 33 of 33 layers
   Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    24.0  not needed
""",
        "all 33 layers on cuda:0 (RTX 3070, 6.1 GiB)",
    ),
    Case(
        "12 GB",
        with_llama(device("RTX 3060", 12, 11.6)),
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
→  Q4_K_M     cuda:0  8,192    4.0      1.0       1.1       6.1    11.6  chosen, 33 of 33 layers
   Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    24.0  not needed
""",
        "all 33 layers on cuda:0 (RTX 3060, 6.1 GiB)",
    ),
    Case(
        "24 GB",
        with_llama(device("RTX 3090", 24, 23.6)),
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
→  Q4_K_M     cuda:0  8,192    4.0      1.0       1.1       6.1    23.6  chosen, 33 of 33 layers
   Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    24.0  not needed
""",
        "all 33 layers on cuda:0 (RTX 3090, 6.1 GiB)",
    ),
    Case(
        "80 GB",
        with_llama(device("A100", 80, 79.2)),
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
→  Q4_K_M     cuda:0  8,192    4.0      1.0       1.1       6.1    79.2  chosen, 33 of 33 layers
   Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    24.0  not needed
""",
        "all 33 layers on cuda:0 (A100, 6.1 GiB)",
    ),
    Case(
        "two with 4 GB: (3,891 - 1,150.5 - 75.4) / 157.5 = 16.9, so 16 and the output layer on the last one",
        with_llama(device("RTX 3050", 4, 3.8), device("RTX 3050", 4, 3.8, 1)),
        """\
   precision  device    context  weights  KV cache  headroom  needs  free
→  Q4_K_M     cuda:0+1  8,192    4.0      1.0       2.2       7.2    7.6   chosen, 33 of 33 layers
   Q4_K_M     cuda:0    8,192    2.0      0.5       1.1       3.7    3.8   not needed, 17 of 33 layers
   Q4_K_M     cpu       8,192    4.1      1.0       0.9       6.0    24.0  not needed
""",
        "all 33 layers (16 + 17) on cuda:0+1 (7.2 GiB)",
    ),
    Case(
        "two of which the larger suffices",
        with_llama(device("GTX 1650", 4, 3.8), device("RTX 3060", 12, 11.6, 1)),
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
→  Q4_K_M     cuda:1  8,192    4.0      1.0       1.1       6.1    11.6  chosen, 33 of 33 layers
   Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    24.0  not needed
""",
        "all 33 layers on cuda:1 (RTX 3060, 6.1 GiB)",
    ),
    Case(
        "a Mac with 16 GB, of which Metal grants 10.7",
        apple(16, 11),
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
→  Q4_K_M     mps     8,192    4.0      1.0       1.1       6.1    10.7  chosen, 33 of 33 layers
   Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    11.0  not needed
""",
        "all 33 layers on mps (Apple M2, 6.1 GiB)",
    ),
    Case(
        "a Mac with 8 GB: the model and two headrooms are 4.1 + 1.0 + 1.1 + 0.5 > 5.3 GiB",
        apple(8, 5.3),
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
   Q4_K_M     mps     8,192    4.0      1.0       1.1       6.1    5.3   other layers exceed free main memory
→  Q4_K_M     cpu     2,560    4.1      0.3       0.9       5.3    5.3   chosen
""",
        "mps (Apple M2) shares main memory, and 5.3 GiB are too little for the model and its buffers;",
    ),
    Case(
        "an AMD GPU through Vulkan",
        replace(
            machine(gpu("AMD gfx1032", 8, 7.5, kind="rocm"), free=24),
            llama=LlamaBuild("vulkan", (device("RX 6600", 8, 7.5, kind="vulkan", llama_name="Vulkan0"),)),
        ),
        """\
   precision  device    context  weights  KV cache  headroom  needs  free
→  Q4_K_M     vulkan:0  8,192    4.0      1.0       1.1       6.1    7.5   chosen, 33 of 33 layers
   Q4_K_M     cpu       8,192    4.1      1.0       0.9       6.0    24.0  not needed
""",
        "all 33 layers on vulkan:0 (RX 6600, 6.1 GiB)",
    ),
    Case(
        "a GPU without driver",
        replace(machine(free=24), without_driver=("NVIDIA",)),
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
→  Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    24.0  chosen
""",
        "the driver of the NVIDIA GPU does not respond; llama.cpp runs on the CPU",
    ),
    Case(
        "a build without GPU support",
        machine(gpu("RTX 3070", 8, 7.6, (8, 6)), free=24),
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
→  Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    24.0  chosen
""",
        "the installed llama.cpp does not support cuda:0; llama.cpp runs on the CPU",
    ),
    Case(
        "a driver that does not answer",
        replace(RTX_3070, llama=LlamaBuild("cuda", (), "its GPU driver did not answer within 20 seconds")),
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
→  Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    24.0  chosen
""",
        "the installed llama.cpp supports GPUs, but its GPU driver did not answer within 20 seconds;",
    ),
    Case(
        "a GPU with 0.9 GiB free: less than the headroom",
        with_llama(device("GTX 1050", 2, 0.9)),
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
   Q4_K_M     cuda:0  8,192    4.0      1.0       1.1       6.1    0.9   not even the output layer fits
→  Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    24.0  chosen
""",
        "cuda:0 (GTX 1050) has 0.9 GiB free, too little for its buffers and one layer;",
    ),
    Case(
        "little main memory: 0.15 GiB of other weights and 0.5 GiB suffice",
        with_llama(device("RTX 3070", 8, 7.6), ram=4, free=0.7),
        """\
   precision  device  context  weights  KV cache  headroom  needs  free
→  Q4_K_M     cuda:0  8,192    4.0      1.0       1.1       6.1    7.6   chosen, 33 of 33 layers
   Q4_K_M     cpu     8,192    4.1      1.0       0.9       6.0    0.7   5.3 GiB short
""",
        "all 33 layers on cuda:0 (RTX 3070, 6.1 GiB)",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_machine_gets_the_expected_table_and_reason(case: Case) -> None:
    """Each machine gets the expected table of candidates, and a sentence that states where the layers are."""
    plan = plan_for(case.hardware)
    assert columns(table(plan.considered)).splitlines() == case.table.splitlines()
    assert plan.reason.startswith(case.reason)
    assert plan.memory_needed <= plan.memory_available


def test_the_output_layer_is_the_first_on_a_gpu() -> None:
    """With room for little, the output layer is on the GPU, and it has no KV cache."""
    plan = plan_for(with_llama(device("GTX 1060", 6, 1.2)))
    assert (plan.layers, plan.weight_bytes, plan.kv_bytes) == ((1,), OUTPUT, 0)
    assert plan.smaller is not None
    assert (plan.smaller.advice, plan.smaller.what) == ("--gpu-layers 0", "on the CPU")


@pytest.mark.parametrize(("layers", "count"), [(1, 1), (10, 10), (33, 33), ("all", 33)])
def test_requested_layers_are_on_the_gpu(layers: int | Literal["all"], count: int) -> None:
    """The requested number of layers is on the GPU: the output layer, and the last of the others."""
    plan = plan_for(RTX_3070, PlanRequest(gpu_layers=layers))
    assert (plan.layers, plan.layer_count, plan.context_size) == ((count,), 33, 8192)
    assert plan.weight_bytes == (count - 1) * LAYER + OUTPUT
    assert plan.kv_bytes == (count - 1) * KV_LAYER
    assert plan.headroom_bytes == HEADROOM
    assert plan.placement == Placement(("CUDA0",), count, 33)
    assert [row.chosen for row in plan.considered] == [True]


def test_requested_layers_shorten_the_context_if_they_must() -> None:
    """All layers on 6 GB leave 5,632 - 1,150.5 - 75.4 - 32 x 125.5 = 389 MiB of KV cache: 3,112 tokens."""
    plan = plan_for(GTX_1060, PlanRequest(gpu_layers="all"))
    assert (plan.layers, plan.context_size) == ((33,), 3072)


def test_no_layers_on_a_gpu_are_the_cpu() -> None:
    """--gpu-layers 0 plans the CPU, with and without a GPU."""
    for hardware in (RTX_3070, machine(free=24)):
        plan = plan_for(hardware, PlanRequest(gpu_layers=0))
        assert (plan.device, plan.gpu_layers, plan.layers) == ("cpu", 0, ())
        assert plan.placement == Placement((), 0, 33)
        assert plan.reason.startswith("no layers on a GPU were requested; llama.cpp runs on the CPU")


@pytest.mark.parametrize(
    ("hardware", "plan_request", "message", "hint"),
    [
        (
            RTX_3070,
            PlanRequest(gpu_layers=34),
            "has 33 layers, including the output layer, not 34",
            "use --gpu-layers all",
        ),
        (machine(free=24), PlanRequest(gpu_layers=10), "--gpu-layers needs a GPU", "hermes doctor"),
        (machine(free=24), PlanRequest(gpu_layers="all"), "--gpu-layers needs a GPU", "hermes doctor"),
        (
            RTX_3070,
            PlanRequest(gpu_layers=10, device="cpu"),
            "--gpu-layers 10 needs a GPU, but device cpu was requested",
            "omit --gpu-layers",
        ),
        (RTX_3070, PlanRequest(device="cuda:1"), "there is no device cuda:1", "cpu, cuda:0 (RTX 3070)"),
        (machine(free=24), PlanRequest(device="vulkan"), "runs it only on the CPU", "omit --device"),
    ],
)
def test_an_impossible_request_is_refused(
    hardware: Hardware, plan_request: PlanRequest, message: str, hint: str
) -> None:
    """An impossible request is refused with a message and a hint."""
    with pytest.raises(UsageError) as caught:
        plan_for(hardware, plan_request)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("plan_request", "flag"),
    [(PlanRequest(gpu_layers=10), "--gpu-layers"), (PlanRequest(kv="q8_0"), "--kv")],
)
def test_weights_in_a_folder_have_no_layers_for_llama_cpp(plan_request: PlanRequest, flag: str) -> None:
    """--gpu-layers and --kv are refused for weights in a folder."""
    with pytest.raises(UsageError, match="is for GGUF files, but openhermes-2:16bit is not one") as caught:
        choose(RTX_3070, openhermes(), plan_request)
    assert caught.value.hint == f"omit {flag}"


def test_layers_that_do_not_fit_are_refused() -> None:
    """All layers, 5.2 GiB even for 512 tokens, do not fit 3.8 GiB; without the flag as many as fit do."""
    with pytest.raises(DoesNotFit, match=r"\(GTX 1650\): in Q4_K_M it needs 5\.2") as caught:
        plan_for(with_llama(device("GTX 1650", 4, 3.8)), PlanRequest(gpu_layers="all"))
    assert caught.value.hint == "omit --gpu-layers: Q4_K_M on cuda:0 needs 3.7 GiB"


def test_a_requested_gpu_with_too_little_memory_is_refused() -> None:
    """A requested GPU without room for a layer is refused, and the CPU is suggested."""
    with pytest.raises(DoesNotFit, match=r"does not fit cuda:0 \(GTX 1050\)") as caught:
        plan_for(with_llama(device("GTX 1050", 2, 0.9)), PlanRequest(device="cuda"))
    assert caught.value.hint == "omit --device: Q4_K_M on cpu needs 6.0 GiB"


def test_the_rest_must_fit_the_main_memory() -> None:
    """The embeddings and half a GiB must fit the main memory even if all layers are on the GPU."""
    with pytest.raises(DoesNotFit) as caught:
        plan_for(with_llama(device("RTX 3070", 8, 7.6), ram=2, free=0.5))
    assert [row.reason for row in caught.value.considered] == [
        "other layers exceed free main memory",
        "5.5 GiB short",
    ]


def test_q8_0_takes_17_bytes_instead_of_32() -> None:
    """In q8_0 a layer has 17 MiB of KV cache: (5,632 - 1,150.5 - 75.4) / 142.5 = 30.9, so 30 layers fit."""
    plan = plan_for(GTX_1060, PlanRequest(kv="q8_0"))
    assert (plan.kv_type, plan.layers, plan.kv_bytes) == ("q8_0", (31,), 30 * 17 * MIB)
    assert "KV cache q8_0" in plan.summary
    on_cpu = plan_for(machine(free=24), PlanRequest(kv="q8_0"))
    assert (on_cpu.kv_type, on_cpu.kv_bytes) == ("q8_0", 8192 * 128 * 1024 * 17 // 32)
    assert "KV cache" not in plan_for(GTX_1060).summary


def test_q8_0_is_proposed_if_the_requested_context_fits_only_then() -> None:
    """32,768 tokens take 4.0 GiB of KV cache, 2.1 in q8_0; with 5.0 for the rest, 8 GiB suffice only then."""
    request = PlanRequest(context_size=32_768)
    with pytest.raises(DoesNotFit) as caught:
        plan_for(machine(ram=12, free=8), request)
    assert caught.value.hint == "use --context 24576; or use --kv q8_0: Q4_K_M on cpu needs 7.1 GiB"
    assert plan_for(machine(ram=12, free=8), request._replace(kv="q8_0")).context_size == 32_768
    with pytest.raises(DoesNotFit) as caught:  # 4.1 + 2.1 + 0.9 = 7.1 GiB
        plan_for(machine(ram=12, free=7), request)
    assert "--kv" not in caught.value.hint


def test_layers_on_several_requested_gpus_fill_the_last_one_first() -> None:
    """Ten layers fit the last of two requested GPUs, so that the first one has none."""
    two = with_llama(device("A", 8, 4.8), device("B", 8, 4.8, 1))
    plan = plan_for(two, PlanRequest(device="cuda:0+1", gpu_layers=10))
    assert (plan.layers, plan.gpus, plan.devices) == ((0, 10), (0, 1), ("CUDA0", "CUDA1"))
    assert plan.placement == Placement(("CUDA1",), 10, 33)
    assert "10 of 33 layers (0 + 10) on cuda:0+1" in plan.reason


def test_the_smaller_plan_has_half_the_layers() -> None:
    """If memory runs out, half the layers are on the GPU."""
    smaller = plan_for(RTX_3070).smaller
    assert smaller is not None
    assert (smaller.advice, smaller.what) == ("--gpu-layers 16", "with 16 layers on cuda:0")
    assert smaller.request.gpu_layers == 16
