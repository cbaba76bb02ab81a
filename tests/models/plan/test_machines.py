"""The plan for OpenHermes 2 in 16 bits on a table of machines.

The sums, by hand, in GiB. Weights: 7,241,748,480 of two bytes are 13.49; in NF4 6,979,321,856 of 4.127 bits
and the other 262,426,624 of two bytes are 3.84. The KV cache: 2 * 32 layers * 8 heads * 128 wide * 2 bytes
are 128 KiB a token, 1.00 for 8,192. Headroom on a GPU: a tenth of 13.49, 1.35, or 0.60. So 16-bit needs
15.84 for 8,192 tokens and 15.34 for a comfortable 4,096, NF4 5.44; on the CPU, with 0.1 * 13.49 + 1.00 of
headroom, 16-bit needs 16.84. The GGUF: 4.07 + 1.00 + 0.41 + 0.50 = 5.98.
"""

from dataclasses import dataclass, replace

import pytest

from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.planner import choose
from hermes_cli.models.plan.refusal import DoesNotFit
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.units import GIB
from tests.models.plan.machines import gpu, mac, machine, machine_with_two, openhermes


@dataclass(frozen=True)
class Case:
    """A machine, the expected precision, device and context, and phrases of the reason."""

    name: str
    hardware: Hardware
    precision: str
    device: str
    context: int
    phrases: tuple[str, ...]
    dtype: str = "bfloat16"


ANSWERS = (
    Case(
        "RTX 3090, 24 GB",
        machine(gpu("RTX 3090", 24, 23.6, (8, 6))),
        "bf16",
        "cuda:0",
        8192,
        ("16-bit weights fit cuda:0 (RTX 3090), in bfloat16", "a context of up to 32,768"),
    ),
    Case(
        "TITAN RTX, 24 GB, of 2018",
        machine(gpu("TITAN RTX", 24, 23.5, (7, 5))),
        "fp16",
        "cuda:0",
        8192,
        ("in float16 (bfloat16 needs compute capability 8.0, cuda:0 has 7.5)",),
        "float16",
    ),
    Case(
        "Tesla P40, 24 GB, of 2016",
        machine(gpu("Tesla P40", 22.5, 22.3, (6, 1))),
        "fp16",
        "cuda:0",
        8192,
        ("cuda:0 has 6.1",),
        "float16",
    ),
    Case(
        "RTX 3090, half in use by another program",
        machine(gpu("RTX 3090", 24, 11.5, (8, 6))),
        "4-bit nf4",
        "cuda:0",
        8192,
        ("other programs use 12.5 of the GPU's 24.0 GiB", "16-bit would need 15.8 GiB"),
    ),
    Case(
        "RTX 4060 Ti, 16 GB, nothing else on it: 15.7 - 13.49 - 1.35 leave 0.86 for 6,912 tokens",
        machine(gpu("RTX 4060 Ti", 16, 15.7, (8, 9))),
        "bf16",
        "cuda:0",
        6912,
        ("the free memory is enough for a context of 6,912 of 32,768 tokens",),
    ),
    Case(
        "RTX 4060 Ti, 16 GB, with a desktop: 0.06 would be left for 16-bit, 512 tokens",
        machine(gpu("RTX 4060 Ti", 16, 14.9, (8, 9))),
        "4-bit nf4",
        "cuda:0",
        8192,
        ("16-bit would need 15.8 GiB and cuda:0 has 14.9 GiB free", "4-bit NF4 (double quantization)"),
    ),
    Case(
        "Tesla T4, 16 GB on the box and 15 in it",
        machine(gpu("Tesla T4", 15, 14.6, (7, 5))),
        "4-bit nf4",
        "cuda:0",
        8192,
        ("computed in float16",),
        "float16",
    ),
    Case(
        "RTX 3060, 12 GB",
        machine(gpu("RTX 3060", 12, 11.6, (8, 6))),
        "4-bit nf4",
        "cuda:0",
        8192,
        ("16-bit would need 15.8 GiB and cuda:0 has 11.6 GiB free", "computed in bfloat16"),
    ),
    Case(
        "RTX 3070, 8 GB",
        machine(gpu("RTX 3070", 8, 7.6, (8, 6))),
        "4-bit nf4",
        "cuda:0",
        8192,
        ("16-bit would need 15.8 GiB and cuda:0 has 7.6 GiB free",),
    ),
    Case(
        "two RTX 3070, nothing else on them: 15.6 - 13.49 - 1.35 leave 0.76 for 6,144 tokens",
        machine_with_two("RTX 3070", 8, 7.8, (8, 6)),
        "bf16",
        "cuda:0+1",
        6144,
        ("16-bit weights do not fit a single GPU, but fit cuda:0 and cuda:1 together (16 + 16 layers)",),
    ),
    Case(
        "two RTX 3070 with a desktop: 15.2 - 13.49 - 1.35 leave 0.36, too little for a conversation",
        machine_with_two("RTX 3070", 8, 7.6, (8, 6)),
        "4-bit nf4",
        "cuda:0",
        8192,
        ("on cuda:0 and cuda:1 together, 16-bit weights fit with a context of only 2,816 tokens",),
    ),
    Case(
        "two RTX 3060, 12 GB",
        machine_with_two("RTX 3060", 12, 11.6, (8, 6)),
        "bf16",
        "cuda:0+1",
        8192,
        ("16 + 16 layers",),
    ),
    Case(
        "a large GPU and a small one: the small one is not used",
        machine(gpu("RTX 3060", 12, 11.6, (8, 6)), gpu("RTX 3090", 24, 23.6, (8, 6), index=1)),
        "bf16",
        "cuda:1",
        8192,
        ("16-bit weights fit cuda:1 (RTX 3090)",),
    ),
    Case(
        "RTX 2060, 6 GB",
        machine(gpu("RTX 2060", 6, 5.7, (7, 5))),
        "4-bit nf4",
        "cuda:0",
        8192,
        ("16-bit would need 15.8 GiB and cuda:0 has 5.7 GiB free", "computed in float16"),
        "float16",
    ),
    Case(
        "RTX 2060, 6 GB, with a desktop: 5.0 - 3.84 - 0.60 leave 0.56 for 4,352 tokens",
        machine(gpu("RTX 2060", 6, 5.0, (7, 5))),
        "4-bit nf4",
        "cuda:0",
        4352,
        ("a context of 4,352 of 32,768 tokens",),
        "float16",
    ),
    Case(
        "a Mac with 16 GB, of which Metal grants 10.7",
        mac(16, 11),
        "4-bit nf4",
        "mps",
        8192,
        ("16-bit would need 15.8 GiB and mps has 10.7 GiB free",),
    ),
    Case("a Mac with 32 GB, 21.3 granted", mac(32, 24), "bf16", "mps", 8192, ("fit mps (Apple M2)",)),
    Case("a Mac with 32 GB, busy", mac(32, 15), "4-bit nf4", "mps", 8192, ("mps has 15.0 GiB free",)),
    Case("a Mac with 64 GB, 48 granted", mac(64, 52), "bf16", "mps", 8192, ("fit mps (Apple M2)",)),
    Case(
        "Intel Arc A770, 16 GB",
        machine(gpu("Intel GPU", 15.9, 15.9, kind="xpu")),
        "bf16",
        "xpu:0",
        8192,
        ("fit xpu:0",),
    ),
    Case(
        "Intel Arc B580, 12 GB",
        machine(gpu("Intel GPU", 11.9, 11.9, kind="xpu")),
        "4-bit nf4",
        "xpu:0",
        8192,
        ("xpu:0 has 11.9 GiB free",),
    ),
    Case(
        "RX 7900 XTX, 24 GB",
        machine(gpu("AMD gfx1100", 24, 23.5, kind="rocm", arch="gfx1100")),
        "bf16",
        "rocm:0",
        8192,
        ("fit rocm:0 (AMD gfx1100)",),
    ),
    Case(
        "RX 6800, 16 GB: 15.8 - 13.49 - 1.35 leave 0.96 for 7,680 tokens",
        machine(gpu("AMD gfx1030", 16, 15.8, kind="rocm", arch="gfx1030")),
        "fp16",
        "rocm:0",
        7680,
        ("in float16 (gfx1030 is not known to support bfloat16)",),
        "float16",
    ),
    Case(
        "the CPU only, 64 GB",
        machine(ram=64, free=58),
        "bf16",
        "cpu",
        8192,
        ("no GPU was found", "its GGUF (-m openhermes-2:gguf) would be several times faster"),
    ),
)


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: case.name)
def test_each_machine_gets_the_expected_plan(case: Case) -> None:
    """Each machine gets the expected precision, device, context and dtype, with the reason."""
    plan = choose(case.hardware, openhermes())
    assert (plan.precision, plan.device, plan.context_size) == (case.precision, case.device, case.context)
    assert plan.dtype == case.dtype
    assert plan.memory_needed <= plan.memory_available
    for phrase in case.phrases:
        assert phrase in plan.reason


@pytest.mark.parametrize(
    ("hardware", "message", "hint"),
    [
        (
            machine(gpu("GTX 1650", 4, 3.8, (7, 5)), ram=16, free=12),
            "does not fit cuda:0 (GTX 1650): even in 4-bit nf4 it needs 4.5 GiB for 512 tokens",
            "use -m openhermes-2:gguf, a GGUF that needs 6.0 of 12.0 GiB of free main memory",
        ),
        (
            machine(gpu("GTX 1650", 4, 3.8, (7, 5)), ram=64),
            "even in 4-bit nf4",
            "use --device cpu (slow): bf16 on cpu needs 16.8 GiB",
        ),
        (
            machine(gpu("Tesla M60", 8, 7.9, (5, 2)), ram=16, free=12),
            "in fp16 it needs 14.9 GiB",
            "-m openhermes-2",
        ),
        (
            machine(ram=8, free=6.2),
            "does not fit main memory: in bf16 it needs 15.9 GiB",
            "6.0 of 6.2 GiB of free main memory",
        ),
        (machine(ram=8, free=5), "and 5.0 GiB are free", "close other programs, or use -m starter"),
        (
            machine(ram=16, free=13.5),
            "in bf16 it needs 15.9 GiB",
            "use --precision 8bit: 8-bit int8 on cpu needs 9.7 GiB",
        ),
    ],
    ids=["4 GB", "4 GB and 64 of memory", "Maxwell", "8 GB", "8 GB, busy", "16 GB"],
)
def test_a_model_that_does_not_fit_is_refused_with_an_alternative(
    hardware: Hardware, message: str, hint: str
) -> None:
    """A model that does not fit is refused with the sizes and an alternative, and exit code 75."""
    with pytest.raises(DoesNotFit) as caught:
        choose(hardware, openhermes())
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 75
    assert all(not row.chosen for row in caught.value.considered)


def test_the_summary_has_the_sizes_of_the_plan() -> None:
    """The summary has the sizes of the plan, and the 16-bit size if 16 bits do not fit."""
    small = choose(machine(gpu("RTX 3070", 8, 7.6, (8, 6))), openhermes())
    assert small.summary == (
        "openhermes-2:16bit · 4-bit nf4 · cuda:0 · needs 5.4 GiB, 7.6 GiB free · context 8192 "
        "· 16-bit would need 15.8 GiB"
    )
    large = choose(machine(gpu("RTX 3090", 24, 23.6, (8, 6))), openhermes())
    assert (
        large.summary == "openhermes-2:16bit · bf16 · cuda:0 · needs 15.8 GiB, 23.6 GiB free · context 8192"
    )
    cpu = choose(machine(ram=64, free=58), openhermes())
    assert cpu.summary.startswith(
        "openhermes-2:16bit · bf16 · cpu, 8 threads · needs 16.8 GiB, 58.0 GiB free"
    )


def test_the_plan_has_the_devices_layers_and_dtype_for_the_engine() -> None:
    """The plan has the devices, layers, dtype and quantization for the engine."""
    plan = choose(machine_with_two("RTX 3060", 12, 11.6, (8, 6)), openhermes())
    assert (plan.engine, plan.devices, plan.layers) == ("transformers", ("cuda:0", "cuda:1"), (16, 16))
    assert (plan.dtype, plan.quantization) == ("bfloat16", "")
    plan = choose(machine(gpu("RTX 2060", 6, 5.7, (7, 5))), openhermes())
    assert (plan.devices, plan.layers, plan.dtype, plan.quantization) == (
        ("cuda:0",),
        (32,),
        "float16",
        "nf4",
    )
    assert choose(machine(gpu("AMD", 24, 23, kind="rocm", index=1)), openhermes()).devices == ("cuda:1",)
    assert choose(machine(ram=64), openhermes()).devices == ("cpu",)


@pytest.mark.parametrize(
    ("hardware", "smaller"),
    [
        (machine(gpu("RTX 3090", 24, 23.6, (8, 6))), "--precision 4bit needs 5.4 GiB"),
        (machine(gpu("RTX 3070", 8, 7.6, (8, 6))), "--context 4096 needs 4.9 GiB"),
        (machine(gpu("tight", 6, 4.53, (8, 6))), "-m openhermes-2:gguf needs 6.0 GiB of main memory"),
        (machine(gpu("tight", 6, 4.53, (8, 6)), ram=6, free=4), ""),
    ],
)
def test_smaller_is_the_next_smaller_option(hardware: Hardware, smaller: str) -> None:
    """`smaller` is the next smaller option with its memory, or empty if there is none."""
    found = choose(hardware, openhermes()).smaller
    assert (found.advice if found else "") == smaller


def test_every_candidate_is_listed_with_its_size_and_the_reason() -> None:
    """Every candidate is listed with its size and the reason. Sums by hand, as above."""
    plan = choose(machine(gpu("RTX 3060", 12, 11.6, (8, 6)), ram=32, free=27), openhermes())
    rows = [
        (r.precision.text, r.place.label, round(r.memory_needed / GIB, 2), r.fits, r.chosen, r.reason)
        for r in plan.considered
    ]
    assert rows == [
        ("bf16", "cuda:0", 15.84, False, False, "4.2 GiB short"),
        # 6,979,321,856 of 8.03 bits and the rest in 16: 7.02, a tenth of it, and 1.00.
        ("8-bit int8", "cuda:0", 8.72, True, False, "only on request: --precision 8bit"),
        ("4-bit nf4", "cuda:0", 5.44, True, True, "chosen"),
        ("bf16", "cpu", 16.84, True, False, "only on request: --device cpu"),
        ("Q4_K_M", "cpu", 5.98, True, False, "-m openhermes-2:gguf, on llama.cpp"),
    ]


def test_a_model_outside_the_catalogue_is_not_compared_with_the_gguf() -> None:
    """A model outside the catalogue is not compared with the GGUF of OpenHermes."""
    other = replace(openhermes(), name="o/other-7b", repo="o/other-7b")
    plan = choose(machine(ram=64), other, PlanRequest())
    assert "a GGUF would be several times faster" in plan.reason
    assert [row.precision.text for row in plan.considered] == ["bf16"]


def test_the_reason_mentions_pickled_weights() -> None:
    """Pickled weights are mentioned."""
    assert "pickled (.bin)" in choose(machine(ram=64), replace(openhermes(), is_pickled=True)).reason
