"""The names and repositories of the catalogue."""

import pytest

from hermes_cli.models.catalogue import CATALOGUE, STARTER, entry_for, spelling_of
from hermes_cli.models.facts import facts_of_variant
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan import choose
from hermes_cli.models.reference import parse
from hermes_cli.models.units import GIB


def test_every_spelling_is_parsed() -> None:
    """Every spelling in the catalogue is parsed as its variant."""
    for entry in CATALOGUE.values():
        for variant in entry.variants:
            ref = parse(entry.spelling(variant))
            assert (ref.repo, ref.file, ref.variant) == (variant.repo, variant.file, variant)
            assert spelling_of(variant.repo, variant.file) == entry.spelling(variant) == ref.name


def test_both_models_have_the_variants_of_their_model_cards() -> None:
    """Both models have the variants of their model cards, with the names that the model cards use."""
    for alias in ("openhermes-2", "openhermes-2.5"):
        entry = CATALOGUE[alias]
        assert [v.name for v in entry.variants] == ["gguf", "q5_k_m", "q8_0", "16bit", "gptq", "awq"]
    two = CATALOGUE["openhermes-2"]
    assert two.gguf.repo == "TheBloke/OpenHermes-2-Mistral-7B-GGUF"
    assert two.gguf.file == "openhermes-2-mistral-7b.Q4_K_M.gguf"
    assert two.variants[3].repo == "teknium/OpenHermes-2-Mistral-7B"


def test_the_starter_runs_on_a_small_machine() -> None:
    """The starter is a small download and fits 1 GiB of free memory with its whole context."""
    assert STARTER.gguf.size < 100_000_000
    plan = choose(Hardware(1, 1, 2 * GIB, GIB), facts_of_variant(STARTER, STARTER.gguf))
    assert (plan.engine, plan.device, plan.context_size) == ("llama.cpp", "cpu", STARTER.context_length)


@pytest.mark.parametrize("repo", ["teknium/OpenHermes-2-Mistral-7B", "TheBloke/OpenHermes-2-Mistral-7B-AWQ"])
def test_the_gguf_of_weights_in_another_format_is_found(repo: str) -> None:
    """For weights in another format, the GGUF of the same model is found."""
    entry = entry_for(repo, "")
    assert entry is not None
    assert entry.spelling(entry.gguf) == "openhermes-2:gguf"
