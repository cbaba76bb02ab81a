"""Conversion of torch's errors to HermesErrors, and freeing memory after one."""

import gc

import torch

from hermes_cli.errors import HermesError, ResourcesExhausted

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
"""The messages of CUDA, the CPU's allocator, Metal and cuBLAS; only CUDA has its own exception type."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that a device ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def named(error: BaseException, device: torch.device, smaller: str = "") -> HermesError:
    """Return the HermesError for an error of torch. `smaller` is a hint at what needs less memory."""
    if is_out_of_memory(error):
        return ResourcesExhausted(
            f"{device} ran out of memory",
            smaller
            or "ask for a smaller --context, or --precision 4bit; 'hermes models plan' shows the sums",
        )
    text = first_line(error)
    if device.type != "cpu":
        return HermesError(
            f"{device} stopped answering: {text}",
            "the conversation is kept; start hermes again, and if it comes back look at the device's driver",
        )
    return HermesError(f"torch failed: {text}", "ask again; --debug shows where it failed")


def first_line(error: BaseException) -> str:
    """Return the first line of an error message, or the error's type if the message is empty."""
    return str(error).strip().split("\n")[0][:300] or type(error).__name__


def freed_memory(device: torch.device) -> None:
    """Release unused memory to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "xpu":
        torch.xpu.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


class NotFinite(HermesError):  # noqa: N818 - the name describes the event
    """The logits are not finite numbers."""

    def __init__(self) -> None:
        super().__init__(
            "the model's arithmetic overflowed: its logits are not finite numbers",
            "load it with --precision bf16 or fp32, which hold larger numbers; or its weights are damaged: "
            "'hermes models show' names the files",
        )
