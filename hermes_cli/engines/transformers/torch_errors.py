"""Converts torch's errors to HermesErrors, and frees memory after an error."""

import gc

import torch

from hermes_cli.errors import HermesError, ResourcesExhausted, first_line

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
"""Parts of the messages of CUDA, the CPU allocator, Metal and cuBLAS. Only CUDA has an exception type."""


class NonFiniteLogits(HermesError):  # noqa: N818 - the name describes the event
    """The logits contain NaN or infinity."""

    def __init__(self) -> None:
        super().__init__(
            "the model computed logits that are not finite numbers",
            "use --precision bf16 or fp32, which have a wider range; if the error recurs, the weights "
            "may be damaged: 'hermes models show' lists the files",
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that a device ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _OUT_OF_MEMORY)


def hermes_error(error: BaseException, device: torch.device, memory_hint: str = "") -> HermesError:
    """Convert an error of torch. `memory_hint` replaces the default hint if the device ran out of memory."""
    if is_out_of_memory(error):
        hint = "use a smaller --context or --precision 4bit; 'hermes models plan' shows the memory needed"
        return ResourcesExhausted(f"{device} ran out of memory", memory_hint or hint)
    text = first_line(error)
    if device.type != "cpu":
        return HermesError(
            f"{device} failed: {text}", "restart hermes; if the error recurs, check the device's driver"
        )
    return HermesError(f"torch failed: {text}", "try again; --debug shows the traceback")


def free_memory(device: torch.device) -> None:
    """Collect garbage, and return torch's unused memory to the device."""
    gc.collect()
    if device.type in ("cuda", "xpu", "mps"):
        getattr(torch, device.type).empty_cache()
