"""The names and repositories of the catalogue."""

import pytest

from hermes_cli.models.catalogue import (
    CATALOGUE,
    GEMMA_LICENCE,
    LLAMA_LICENCE,
    STARTER,
    CatalogueEntry,
    entry_for,
    spelling_of,
)
from hermes_cli.models.facts import facts_of_variant
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.planner import choose
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


# Layers, width, query heads, K and V heads, width of a head, width of the feed-forward layers, vocabulary,
# whether the head is tied, norms in each block besides those of queries and keys, whether those exist
# (source: config.json and modeling code of the 16-bit repositories), and the number of parameters
# (source: the hub's count in the safetensors or GGUF files).
@pytest.mark.parametrize(
    ("alias", "config", "parameters"),
    [
        ("starter", (30, 576, 9, 3, 64, 1536, 49152, True, 2, False), 134_515_008),
        ("smollm2-1.7b", (24, 2048, 32, 32, 64, 8192, 49152, True, 2, False), 1_711_376_384),
        ("gemma-3-4b", (34, 2560, 8, 4, 256, 10240, 262144, True, 4, True), 3_880_099_328),
        ("phi-4-mini", (32, 3072, 24, 8, 128, 8192, 200064, True, 2, False), 3_836_021_760),
        ("qwen3-4b", (36, 2560, 32, 8, 128, 9728, 151936, True, 2, True), 4_022_468_096),
        ("openhermes-2", (32, 4096, 32, 8, 128, 14336, 32002, False, 2, False), 7_241_748_480),
        ("mistral-7b", (32, 4096, 32, 8, 128, 14336, 32768, False, 2, False), 7_248_023_552),
        ("llama-3.1-8b", (32, 4096, 32, 8, 128, 14336, 128256, False, 2, False), 8_030_261_248),
        ("qwen3-8b", (36, 4096, 32, 8, 128, 12288, 151936, False, 2, True), 8_190_735_360),
        ("qwen3-14b", (40, 5120, 40, 8, 128, 17408, 151936, False, 2, True), 14_768_307_200),
        ("mistral-small-24b", (40, 5120, 32, 8, 128, 32768, 131072, False, 2, False), 23_572_403_200),
    ],
)
def test_shapes_follow_from_the_configs(
    alias: str, config: tuple[int, int, int, int, int, int, int, bool, int, bool], parameters: int
) -> None:
    """Both the configs and the hub's counts give the number of parameters of each shape."""
    layers, width, heads, kv_heads, head_dim, forward, vocabulary, tied, norms, has_head_norms = config
    linear = layers * width * (2 * heads * head_dim + 2 * kv_heads * head_dim + 3 * forward)
    norm_weights = layers * (norms * width + 2 * head_dim * has_head_norms) + width
    shape = CATALOGUE[alias].shape
    assert (shape.layers, shape.kv_heads, shape.head_dim) == (layers, kv_heads, head_dim)
    assert (shape.width, shape.vocabulary, shape.tied) == (width, vocabulary, tied)
    assert shape.linear_parameters == linear
    assert shape.parameters == parameters
    assert linear + norm_weights + vocabulary * width * (1 if tied else 2) == parameters


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_sizes_match_the_precision(entry: CatalogueEntry) -> None:
    """A GGUF takes 4 to 9 bits per parameter, and 16-bit weights take 16."""
    for variant in entry.variants:
        bits = 8 * variant.size / entry.shape.parameters
        assert 15.99 < bits < 16.01 if variant.name == "16bit" else 4 < bits < 9, variant


def test_the_licences_that_are_not_open_source_are_named() -> None:
    """Llama and Gemma have terms of their own, and Llama's weights are gated."""
    special = {name: e.licence for name, e in CATALOGUE.items() if e.licence not in ("Apache-2.0", "MIT")}
    assert special == {"gemma-3-4b": GEMMA_LICENCE, "llama-3.1-8b": LLAMA_LICENCE}
    gated = [variant.repo for entry in CATALOGUE.values() for variant in entry.variants if variant.gated]
    assert gated == ["meta-llama/Llama-3.1-8B-Instruct"]


def test_models_without_chatml_use_their_own_template() -> None:
    """The facts of a model that is not downloaded state its prompt format."""
    facts = {name: facts_of_variant(entry, entry.gguf) for name, entry in CATALOGUE.items()}
    without = {name for name, fact in facts.items() if fact.templates.chatml_problem is not None}
    assert without == {"gemma-3-4b", "phi-4-mini", "mistral-7b", "llama-3.1-8b", "mistral-small-24b"}


@pytest.mark.parametrize("repo", ["teknium/OpenHermes-2-Mistral-7B", "TheBloke/OpenHermes-2-Mistral-7B-AWQ"])
def test_the_gguf_of_weights_in_another_format_is_found(repo: str) -> None:
    """For weights in another format, the GGUF of the same model is found."""
    entry = entry_for(repo, "")
    assert entry is not None
    assert entry.spelling(entry.gguf) == "openhermes-2:gguf"
