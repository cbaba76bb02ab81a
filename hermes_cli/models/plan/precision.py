"""The values of --precision, their meaning for torch and bitsandbytes, and the GPUs that support them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hermes_cli.errors import UsageError
from hermes_cli.models.catalogue import WeightFormat
from hermes_cli.models.checkpoint.config import DTYPES
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.gpus import Gpu
from hermes_cli.options import suggestion

AUTO: Final = "auto"
WORDS: Final = (AUTO, "16bit", "bf16", "fp16", "fp32", "8bit", "4bit")
NF4, INT8 = "nf4", "int8"
_TEXTS: Final = {NF4: "4-bit nf4", INT8: "8-bit int8"}
_WORDS_OF: Final = {NF4: "4bit", INT8: "8bit"}
_DTYPES_OF: Final = {short: dtype for dtype, short in DTYPES.items()}

# Source: bitsandbytes 0.50's installation guide for CUDA; for the rest, the kernels that it registers:
# ROCm, XPU and Metal have NF4, and Metal has no 8-bit ones.
_CAPABILITY_FOR: Final = {"bf16": (8, 0), "4bit": (6, 0), "8bit": (7, 5)}
NF4_BITS: Final = 4


@dataclass(frozen=True, slots=True)
class Precision:
    """A precision to run a model in.

    `dtype` is torch's name of the type of the weights that are not quantized. `quantization` is applied while
    loading; it may be empty. `own` is the precision, for the user, of weights that were saved quantized, else
    empty.
    """

    dtype: str
    quantization: str = ""
    own: str = ""

    @property
    def text(self) -> str:
        """The name for the user: `bf16`, `4-bit nf4`."""
        return self.own or _TEXTS.get(self.quantization) or DTYPES[self.dtype]

    @property
    def word(self) -> str:
        """The value of --precision that requests it."""
        return _WORDS_OF.get(self.quantization) or DTYPES[self.dtype]

    @property
    def is_half(self) -> bool:
        """Whether the weights are in 16 bits and not quantized."""
        return not self.quantization and not self.own and self.dtype != "float32"


def check_word(requested: str | None) -> str:
    """Return the requested precision in lower case, `auto` for None. Raises UsageError if it is unknown."""
    word = (requested or AUTO).strip().lower()
    if word not in WORDS:
        raise UsageError(
            f"--precision takes {', '.join(WORDS)}, not '{(requested or '')[:40]}'"
            f"{suggestion(word[:40], WORDS)}"
        )
    return word


def half(gpus: Iterable[Gpu]) -> str:
    """Return the 16-bit type for some GPUs: bfloat16, or float16 if one of them has no bfloat16."""
    return "bfloat16" if all(gpu.has_bfloat16 for gpu in gpus) else "float16"


def words_to_try(model: ModelFacts, word: str, *, on_cpu: bool) -> tuple[str, ...]:
    """Return the precisions that a plan may choose from, best first."""
    if model.format.is_quantized or word != AUTO:
        return (word,)
    return ("16bit",) if on_cpu else ("16bit", "4bit")


def meant(model: ModelFacts, word: str, gpus: Sequence[Gpu]) -> Precision:
    """Return the Precision of a --precision value for a model on `gpus`, or on the CPU if there are none."""
    if model.format.is_quantized:
        is_set = model.dtype in DTYPES and model.dtype != "bfloat16"
        return Precision(model.dtype if is_set else half(gpus), own=model.precision)
    if word in _DTYPES_OF:
        return Precision(_DTYPES_OF[word])
    return Precision(half(gpus), {"4bit": NF4, "8bit": INT8}.get(word, ""))


def problem(word: str, gpu: Gpu) -> str:
    """Return the reason why a GPU cannot compute in a precision, as a clause, or empty if it can."""
    if word == "8bit" and gpu.kind == "mps":
        return "bitsandbytes has no 8-bit kernels for Metal"
    least = _CAPABILITY_FOR.get(word)
    if least is None or gpu.kind != "cuda" or gpu.capability is None or gpu.capability >= least:
        return ""
    name = {"bf16": "bfloat16", "4bit": "4-bit", "8bit": "8-bit"}[word]
    return (
        f"{name} needs compute capability {least[0]}.{least[1]}, and {gpu.label} has {capability_text(gpu)}"
    )


def word_for_format(model: ModelFacts, word: str) -> str:
    """Return the precision to pass to `problem`: for saved bitsandbytes weights theirs, otherwise `word`."""
    if model.format is WeightFormat.BITSANDBYTES:
        return "4bit" if model.bits == NF4_BITS else "8bit"
    return word


def capability_text(gpu: Gpu) -> str:
    """Return a GPU's compute capability in NVIDIA's notation: `8.6`."""
    return ".".join(map(str, gpu.capability or ()))


def check_own(model: ModelFacts, word: str) -> None:
    """Raise UsageError if the requested precision differs from that of quantized weights."""
    if word == AUTO or word == own_word(model):
        return
    raise UsageError(
        f"{model.name} is {model.precision} already, and cannot be run in {word}",
        "leave --precision, or the setting precision, out; or name the 16-bit weights",
    )


def own_word(model: ModelFacts) -> str:
    """Return the --precision value that equals the precision of a quantized model or a GGUF, or empty."""
    name = model.precision.upper().removeprefix("IQ").removeprefix("Q")
    exact = {"F16": "fp16", "BF16": "bf16", "F32": "fp32"}.get(name)
    return exact or {"4": "4bit", "8": "8bit"}.get(name[:1], "")
