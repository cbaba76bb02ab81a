"""The values of --precision, their meaning in torch and bitsandbytes, and the GPUs that support them."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from hermes_cli.errors import UsageError
from hermes_cli.models.catalogue import DTYPES, WeightFormat
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.gpus import Gpu
from hermes_cli.models.plan.request import AUTO

NF4, INT8 = "nf4", "int8"
_QUANTIZATIONS: Final = {"4bit": NF4, "8bit": INT8}
_VALUES: Final = {NF4: "4bit", INT8: "8bit"}
_TEXTS: Final = {NF4: "4-bit nf4", INT8: "8-bit int8"}
_TORCH_TYPES: Final = {short: dtype for dtype, short in DTYPES.items()}

# Source: for CUDA, the installation guide of bitsandbytes 0.50; for other GPUs, its registered kernels:
# ROCm, XPU and Metal support NF4, and all but Metal support 8 bits.
_CAPABILITY_FOR: Final = {
    "bf16": ("bfloat16", (8, 0)),
    "4bit": ("4-bit", (6, 0)),
    "8bit": ("8-bit", (7, 5)),
}
NF4_BITS: Final = 4


class Precision(NamedTuple):
    """The precision in which a model runs.

    `dtype` is torch's name for the type of the unquantized weights, and empty for a GGUF. `quantization` is
    the quantization applied while loading, or empty. `stored` is the name to display for weights that run
    only in the precision they were saved in, and empty for other weights.
    """

    dtype: str
    quantization: str = ""
    stored: str = ""

    @property
    def text(self) -> str:
        """The name to display: `bf16`, `4-bit nf4`, `Q4_K_M`."""
        return self.stored or _TEXTS.get(self.quantization) or DTYPES[self.dtype]

    @property
    def flag_value(self) -> str:
        """The value of --precision that requests this precision."""
        return _VALUES.get(self.quantization) or DTYPES.get(self.dtype, "")

    @property
    def is_half(self) -> bool:
        """Whether the weights are 16-bit and not quantized."""
        return not self.quantization and not self.stored and self.dtype != "float32"


def values_to_try(model: ModelFacts, value: str, *, on_cpu: bool) -> tuple[str, ...]:
    """Return the values of --precision to try, best first."""
    if model.format.has_fixed_precision or value != AUTO:
        return (value,)
    return ("16bit",) if on_cpu else ("16bit", "4bit")


def resolve(model: ModelFacts, value: str, gpus: Sequence[Gpu]) -> Precision:
    """Return the Precision for a value of --precision on `gpus`, or on the CPU if `gpus` is empty."""
    if model.format is WeightFormat.GGUF:
        return Precision("", stored=model.precision)
    if model.format.has_fixed_precision:
        keeps_dtype = model.dtype in DTYPES and model.dtype != "bfloat16"
        return Precision(model.dtype if keeps_dtype else _half_type(gpus), stored=model.precision)
    return Precision(_TORCH_TYPES.get(value) or _half_type(gpus), _QUANTIZATIONS.get(value, ""))


def _half_type(gpus: Iterable[Gpu]) -> str:
    """Return bfloat16, or float16 if one of the GPUs does not support bfloat16."""
    return "bfloat16" if all(gpu.has_bfloat16 for gpu in gpus) else "float16"


def problem(model: ModelFacts, value: str, gpu: Gpu) -> str:
    """Return a clause that explains why a GPU cannot run a model in a precision, or an empty string."""
    if model.format is WeightFormat.BITSANDBYTES:
        value = "4bit" if model.bits == NF4_BITS else "8bit"
    if value == "8bit" and gpu.kind == "mps":
        return "bitsandbytes has no 8-bit kernels for Metal"
    name, needed = _CAPABILITY_FOR.get(value, ("", (0, 0)))
    if gpu.kind != "cuda" or gpu.capability is None or gpu.capability >= needed:
        return ""
    return (
        f"{name} needs compute capability {needed[0]}.{needed[1]}, and {gpu.label} has {capability_text(gpu)}"
    )


def capability_text(gpu: Gpu) -> str:
    """Return a GPU's compute capability in NVIDIA's notation: `8.6`."""
    return ".".join(map(str, gpu.capability or ()))


def check_stored(model: ModelFacts, value: str) -> None:
    """Raise UsageError if the requested precision differs from the stored one."""
    if value == AUTO or value == _stored_value(model):
        return
    raise UsageError(
        f"{model.name} is stored in {model.precision} and cannot run in {value}",
        "omit --precision and the setting 'precision', or use the 16-bit weights",
    )


def _stored_value(model: ModelFacts) -> str:
    """Return the value of --precision for the stored precision, or an empty string if there is none."""
    name = model.precision.upper().removeprefix("IQ").removeprefix("Q")
    exact = {"F16": "fp16", "BF16": "bf16", "F32": "fp32"}.get(name)
    return exact or {"4": "4bit", "8": "8bit"}.get(name[:1], "")
