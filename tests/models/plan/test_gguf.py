"""The plan for a GGUF: machines and models, and what an expert would answer."""

from pathlib import Path

import pytest

from hermes_cli.errors import ModelUnavailable, ResourcesExhausted, UsageError
from hermes_cli.models.catalogue import Format
from hermes_cli.models.gguf import read_header
from hermes_cli.models.gpus import Gpu
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan import DoesNotFit, ModelFacts, Wishes, choose, facts_of
from hermes_cli.models.units import GIB, MIB
from tests.models.conftest import MakeGguf

OPENHERMES = ModelFacts("openhermes-2", Path("m.gguf"), Format.GGUF, "Q4_K_M", 4_370_000_000, 32_768, 131_072)
STARTER = ModelFacts("starter", Path("s.gguf"), Format.GGUF, "Q4_1", 98_362_432, 8_192, 23_040)


def machine(free_gib: float, cores: int = 4) -> Hardware:
    """Return a machine with so much free memory."""
    return Hardware(cores, cores * 2, 64 * GIB, int(free_gib * GIB))


@pytest.mark.parametrize(
    ("model", "free_gib", "context"),
    [
        (STARTER, 22.9, 8192),  # all that it was trained for
        (OPENHERMES, 32, 8192),  # more would fit; nobody asked for it
        (OPENHERMES, 6, 8192),  # 4.48 + 0.5 + 1.0 GiB of cache
        (OPENHERMES, 5.5, 4352),  # by hand: (5.5 - 4.477 - 0.5) GiB / 128 KiB, down to a multiple of 256
    ],
)
def test_context(model: ModelFacts, free_gib: float, context: int) -> None:
    """Broken: the context would not be the one that fits the model and the memory."""
    plan = choose(machine(free_gib), model)
    assert abs(plan.context_size - context) <= 256
    assert plan.context_size % 256 == 0
    assert plan.kv_bytes == plan.context_size * model.kv_bytes_per_token
    assert plan.headroom_bytes == 512 * MIB + model.weight_bytes // 10
    assert plan.memory_needed <= plan.memory_available


def test_summary_and_reason() -> None:
    """Broken: the choice would reach the screen without its numbers or without its reason."""
    plan = choose(machine(22.9, cores=2), STARTER)
    assert plan.summary == "starter · Q4_1 · cpu, 2 threads · needs 0.8 GiB, 22.9 GiB free · context 8192"
    assert "2 physical cores" in plan.reason
    assert "8,192" in plan.reason
    assert "--context" in choose(machine(32), OPENHERMES).reason
    assert "free memory" in choose(machine(5.5), OPENHERMES).reason
    # By hand, for the engine's message when memory runs out all the same: 4.48 + 0.5 + 0.5 GiB.
    assert choose(machine(32), OPENHERMES).smaller == "--context 4096 needs 5.5 GiB"


def test_wishes() -> None:
    """Broken: what was asked for would be changed in silence."""
    plan = choose(machine(32), OPENHERMES, Wishes(context_size=32_768, threads=3))
    assert (plan.context_size, plan.threads) == (32_768, 3)
    assert "asked for" in plan.reason


@pytest.mark.parametrize("wishes", [Wishes(context_size=32_769), Wishes(context_size=0), Wishes(threads=0)])
def test_impossible_wishes(wishes: Wishes) -> None:
    """Broken: a wish that the model cannot grant would crash the engine instead of being refused."""
    with pytest.raises(UsageError):
        choose(machine(32), OPENHERMES, wishes)


def test_context_beyond_the_memory() -> None:
    """Broken: the machine would swap itself to death over a context that was asked for."""
    with pytest.raises(
        ResourcesExhausted, match=r"32,768 tokens needs 9\.0 GiB .* and 6\.0 GiB are free"
    ) as caught:
        choose(machine(6), OPENHERMES, Wishes(context_size=32_768))
    assert "would fit" in caught.value.hint


def test_weights_beyond_the_memory() -> None:
    """Broken: a model too large would be loaded all the same, or refused without the sums and a way out."""
    with pytest.raises(ResourcesExhausted, match=r"4\.1 weights") as caught:
        choose(machine(4), OPENHERMES)
    assert "-m starter" in caught.value.hint


def test_never_more_than_free() -> None:
    """Broken: at some amount of free memory the plan would take more than there is."""
    for tenth in range(1, 120):
        try:
            plan = choose(machine(tenth / 10), OPENHERMES)
        except ResourcesExhausted:
            assert tenth < 52
        else:
            assert plan.memory_needed <= plan.memory_available
            assert 512 <= plan.context_size <= 8192


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (Wishes(device="cuda"), "computes on the processor"),
        (Wishes(device="cuda:0"), "computes on the processor"),
        (Wishes(precision="bf16"), "is Q4_K_M already"),
        (Wishes(precision="8bit"), "is Q4_K_M already"),
    ],
)
def test_wishes_that_a_gguf_cannot_grant(wishes: Wishes, said: str) -> None:
    """Broken: a GGUF would run on the processor, as it is, for somebody who asked for something else."""
    card = Gpu("RTX 3090", 24 * GIB, 24 * GIB, "cuda", 0, (8, 6))
    with pytest.raises(UsageError, match=said) as caught:
        choose(Hardware(4, 8, 64 * GIB, 32 * GIB, "", (card,)), OPENHERMES, wishes)
    assert caught.value.hint


@pytest.mark.parametrize(
    "wishes", [Wishes(device="cpu", precision="4bit"), Wishes(device="auto", precision="auto")]
)
def test_wishes_for_what_a_gguf_is_anyway(wishes: Wishes) -> None:
    """Broken: a config that says what is so already would be refused."""
    assert choose(machine(32), OPENHERMES, wishes).precision == "Q4_K_M"


def test_what_was_weighed() -> None:
    """Broken: `hermes models plan` would print no sums, least of all where nothing fits."""
    plan = choose(machine(32), OPENHERMES)
    assert [(row.chosen, row.fits, row.memory_needed) for row in plan.considered] == [
        (True, True, plan.memory_needed)
    ]
    with pytest.raises(DoesNotFit) as caught:
        choose(machine(4), OPENHERMES)
    assert [(row.chosen, row.fits) for row in caught.value.considered] == [(False, False)]


def test_facts(make_gguf: MakeGguf) -> None:
    """Broken: the plan would be made from other numbers than the file's."""
    path = make_gguf()
    facts = facts_of("small", read_header(path))
    assert facts == ModelFacts("small", path, Format.GGUF, "Q4_1", path.stat().st_size, 1024, 128)
    assert choose(machine(1), facts).context_size == 1024


def test_no_language_model(make_gguf: MakeGguf) -> None:
    """Broken: a file of another kind would reach llama.cpp, which says only that it failed."""
    with pytest.raises(ModelUnavailable, match="not a language model"):
        facts_of("x", read_header(make_gguf(blocks=0)))
