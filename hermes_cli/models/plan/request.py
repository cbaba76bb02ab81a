"""The user's requirements for a plan, and the values of their flags."""

import re
from typing import Final, Literal, NamedTuple

from hermes_cli.errors import UsageError
from hermes_cli.options import suggestion
from hermes_cli.prompts.template_request import ANY_MODEL, TemplateRequest

AUTO: Final = "auto"
"""The value of --precision and --device for automatic selection."""
ALL_LAYERS: Final = "all"
KV_TYPES: Final = ("f16", "q8_0")
PRECISIONS: Final = (AUTO, "16bit", "bf16", "fp16", "fp32", "8bit", "4bit")
CPU: Final = "cpu"
GPU_KINDS: Final = ("cuda", "rocm", "xpu", "mps", "vulkan")
"""The values of --device for GPUs, best first."""
_GPU_DEVICE = re.compile(rf"({'|'.join(GPU_KINDS)})(?::(\d{{1,3}}(?:\+\d{{1,3}})*))?")


class PlanRequest(NamedTuple):
    """The user's requirements. None, like the value `auto`, means automatic selection.

    `gpu_layers` is a number or `all`, and `kv` is the type of K and V; both are only for a GGUF. If the user
    did not request `device`, `device_reason` is a clause that explains why it was set. `context_source` is
    the persona or the setting that requests the context size; it is empty for a flag. `chat_template` is the
    format of the prompts. `insecure` permits to send the key of a server over plain HTTP.
    """

    context_size: int | None = None
    threads: int | None = None
    precision: str | None = None
    device: str | None = None
    gpu_layers: int | Literal["all"] | None = None
    kv: str | None = None
    device_reason: str = ""
    context_source: str = ""
    chat_template: TemplateRequest | None = None
    insecure: bool = False

    @property
    def for_any_model(self) -> "PlanRequest":
        """The request for comparing models: a chat template that some of them lack excludes none."""
        return self if self.chat_template is None else self._replace(chat_template=ANY_MODEL)


def parse_gpu_layers(text: str | None) -> int | Literal["all"] | None:
    """Parse a value of --gpu-layers. Raises UsageError if it is neither a number nor `all`."""
    if text is None or text.lower() == ALL_LAYERS:
        return None if text is None else ALL_LAYERS
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise UsageError(f"--gpu-layers takes a number of layers or all, not '{text[:40]}'")
    return int(text)


def check_kv(text: str | None) -> str | None:
    """Return a value of --kv unchanged. Raises UsageError if it is unknown."""
    if text is not None and text not in KV_TYPES:
        raise UsageError(f"--kv takes {' or '.join(KV_TYPES)}, not '{text[:40]}'")
    return text


def normalize_precision(requested: str | None) -> str:
    """Return a value of --precision in lower case, or `auto` for None. Raises UsageError if unknown."""
    value = (requested or AUTO).strip().lower()
    if value not in PRECISIONS:
        raise UsageError(
            f"--precision takes {', '.join(PRECISIONS)}, not '{(requested or '')[:40]}'"
            f"{suggestion(value[:40], PRECISIONS)}"
        )
    return value


def normalize_device(requested: str | None) -> str:
    """Return a value of --device in lower case, or `auto` for None. Raises UsageError if it is unknown."""
    device = (requested or AUTO).strip().lower()
    if device not in (AUTO, CPU) and not _GPU_DEVICE.fullmatch(device):
        raise UsageError(
            f"--device takes auto, cpu, cuda, rocm, xpu, mps or vulkan, optionally with a number (cuda:0), "
            f"not '{(requested or '')[:40]}'"
        )
    return device
