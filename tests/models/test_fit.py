"""Estimates of whether the files of a model on the hub fit a machine."""

import time
from importlib.machinery import ModuleSpec

import pytest

from hermes_cli.models.catalogue import CATALOGUE
from hermes_cli.models.facts import facts_of_variant
from hermes_cli.models.fit import LoadableFile, loadable_files
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.hub.repository import HubFile
from hermes_cli.models.hub.search import FoundModel
from hermes_cli.models.llama_build import LlamaBuild
from hermes_cli.models.plan.planner import choose
from tests.models.plan.machines import gpu, machine

RTX_3090 = gpu("RTX 3090", 24, 23.6, (8, 6))
RTX_3070 = gpu("RTX 3070", 8, 7.6, (8, 6))
GB = 1_000_000_000


def find_any(name: str) -> ModuleSpec:
    """Find every package, without a version file."""
    return ModuleSpec(name, None)


def find_none(_name: str) -> None:
    """Find no package."""


def with_llama(hardware: Hardware) -> Hardware:
    """Return the machine with a llama.cpp that supports its GPUs."""
    llama = LlamaBuild("cuda", hardware.gpus)
    return Hardware(8, 16, hardware.memory_total, hardware.memory_available, "", hardware.gpus, llama)


def ggufs(*sizes: float, repo: str = "a/b-GGUF") -> FoundModel:
    """Return a repository of GGUF files with these sizes in GB."""
    return FoundModel(repo, files=tuple(HubFile(f"b.Q{i}_0.gguf", int(s * GB)) for i, s in enumerate(sizes)))


def weights(size: float, **facts: object) -> FoundModel:
    """Return a repository of weights with this size in GB."""
    files = (HubFile("config.json", 600), HubFile("model.safetensors", int(size * GB)))
    return FoundModel("a/b", files=files, **{"architecture": "LlamaForCausalLM", **facts})  # type: ignore[arg-type]


def fits(model: FoundModel, hardware: Hardware) -> list[str]:
    """Return the estimates for the files of a model."""
    return [file.fit for file in loadable_files(model, hardware, find_any)]


@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        (
            machine(ram=16, free=12),
            ["fits in memory", "fits in memory", "needs about 15.8 GiB, 12.0 available"],
        ),
        (machine(RTX_3070), ["fits in memory", "fits in memory", "fits in memory"]),
        (
            with_llama(machine(RTX_3070)),
            ["fits the GPU", "fits in memory and partly on the GPU", "fits in memory and partly on the GPU"],
        ),
        (with_llama(machine(RTX_3090)), ["fits the GPU", "fits the GPU", "fits the GPU"]),
    ],
    ids=["no GPU", "no llama.cpp for the GPU", "8 GB", "24 GB"],
)
def test_ggufs(hardware: Hardware, expected: list[str]) -> None:
    """On the CPU, 14 GB take 13.0 GiB, a tenth for buffers, half a GiB and 1 GiB of KV cache."""
    assert fits(ggufs(2.5, 8, 14), hardware) == expected


@pytest.mark.parametrize(
    ("model", "hardware", "expected"),
    [
        (weights(16), machine(RTX_3090), "fits the GPU"),
        (weights(16), machine(gpu("RTX 3080", 10, 9.5, (8, 6))), "fits the GPU in 4-bit"),
        (weights(2), machine(), "fits in memory, slow without a GPU"),
        (weights(5, quantization="awq"), machine(RTX_3070), "fits the GPU"),
        (weights(5, quantization="gptq"), machine(RTX_3090), "fits the GPU"),
    ],
)
def test_weights(model: FoundModel, hardware: Hardware, expected: str) -> None:
    """On a GPU that is too small for them, 16-bit weights may fit in 4-bit."""
    assert fits(model, hardware) == [expected]


def test_weights_that_do_not_fit() -> None:
    """70 billion parameters in NF4 take 36.5 GiB, a tenth for buffers and 1 GiB of KV cache."""
    assert fits(weights(140), machine(RTX_3090)) == ["needs about 41.2 GiB, 23.6 available"]


def test_missing_packages_are_named() -> None:
    """The GGUF needs none."""
    (row,) = loadable_files(weights(2), machine(RTX_3090), find_none)
    assert row.fit == "fits the GPU; first run pip install 'openhermes-cli[transformers]'"
    assert [row.fit for row in loadable_files(ggufs(2), machine(), find_none)] == ["fits in memory"]


@pytest.mark.parametrize(
    "alias", ["smollm2-1.7b", "qwen3-4b", "mistral-7b", "qwen3-14b", "mistral-small-24b"]
)
def test_the_estimate_is_close_to_the_plan(alias: str) -> None:
    """For the models of the catalogue, the plan from their shape needs at most 0.6 GiB more or less."""
    entry = CATALOGUE[alias]
    needed = choose(machine(ram=64), facts_of_variant(entry, entry.gguf)).memory_needed / (1 << 30)
    (fit,) = fits(ggufs(entry.gguf.size / GB), machine(ram=1, free=0.1))
    assert float(fit.split()[2]) == pytest.approx(needed, abs=0.6)


def test_a_model_of_the_catalogue_is_planned_with_its_own_shape() -> None:
    """SmolLM2 1.7B has 0.98 GiB of weights, 1.5 GiB of KV cache, and a headroom of a tenth and 0.5 GiB."""
    name = "smollm2-1.7b-instruct-q4_k_m.gguf"
    model = FoundModel("HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF", files=(HubFile(name, 1_055_609_536),))
    assert fits(model, machine(ram=1, free=0.1)) == ["needs about 3.1 GiB, 0.1 available"]


def test_rows_have_the_shortest_argument_and_the_precision() -> None:
    """Image encoders, split files, importance matrices and names that cannot be given to -m are left out."""
    names = {
        "Qwen3-4B-Q4_K_M.gguf": 5,
        "sub/x-UD-IQ2_XXS.gguf": 4,
        "bf16.gguf": 9,
        "unknown.gguf": 3,
        "mmproj-F16.gguf": 1,
        "big-Q8_0-00001-of-00002.gguf": 2,
        "imatrix.gguf": 2,
        "a:b.gguf": 2,
        "../up.gguf": 2,
        "a\\b.gguf": 2,
        "red\u001b[31m.gguf": 2,
        "hidden\u202e.gguf": 2,
        "model.safetensors": 2,
    }
    model = FoundModel("Qwen/Qwen3-4B-GGUF", files=tuple(HubFile(n, s * GB) for n, s in names.items()))
    rows = loadable_files(model, machine(ram=64), find_any)
    assert [(row.argument, row.precision) for row in rows] == [
        ("Qwen/Qwen3-4B-GGUF:unknown.gguf", "GGUF"),
        ("Qwen/Qwen3-4B-GGUF:sub/x-UD-IQ2_XXS.gguf", "UD-IQ2_XXS"),
        ("qwen3-4b:gguf", "Q4_K_M"),
        ("Qwen/Qwen3-4B-GGUF:bf16.gguf", "BF16"),
    ]


def test_the_size_of_weights_is_that_of_the_files_that_are_downloaded() -> None:
    """The pickled copy is not downloaded."""
    files = ("config.json", "model-1.safetensors", "model-2.safetensors", "pytorch_model.bin", "onnx/m.onnx")
    model = FoundModel("a/b", files=tuple(HubFile(n, GB) for n in files), architecture="XForCausalLM")
    assert loadable_files(model, machine(), find_any) == [
        LoadableFile("a/b", "16-bit", 2 * GB, "fits in memory, slow without a GPU")
    ]


@pytest.mark.parametrize(
    "model",
    [
        weights(2, architecture="BertModel"),
        weights(2, architecture=""),
        weights(2, needs_code=True),
        weights(2, quantization="fp8"),
        FoundModel("a/b", architecture="XForCausalLM", files=(HubFile("model.safetensors", 1),)),
        FoundModel("a/b"),
    ],
    ids=["encoder", "unknown", "code", "quantization", "no config", "no files"],
)
def test_weights_that_hermes_rejects_are_left_out(model: FoundModel) -> None:
    """Models with code, other architectures and other quantizations are rejected when they are loaded."""
    assert loadable_files(model, machine(RTX_3090), find_any) == []


def test_a_file_of_unknown_size_has_no_estimate() -> None:
    """A mirror may not report sizes."""
    model = FoundModel("a/b", files=(HubFile("x-Q8_0.gguf", None),))
    assert loadable_files(model, machine(), find_any) == [LoadableFile("a/b:x-Q8_0.gguf", "Q8_0", 0, "")]


def test_many_files_take_little_time() -> None:
    """500 files, the most that a search reads, take less than 2 seconds."""
    start = time.thread_time()
    assert len(fits(ggufs(*range(1, 501)), with_llama(machine(RTX_3070)))) == 500
    assert time.thread_time() - start < 2
