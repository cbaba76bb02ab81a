"""How llama.cpp loads a model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hermes_cli.models.plan.planner import Plan  # the child process does not load the planner

PREFILL_BATCH: Final = 128
"""Tokens prefilled between two checks for a cancel.

On a CPU, 128 costs 7 % of the prefill speed of 2048, and a cancelled prompt ends after 0.4 s instead of 7 s.
"""
COPIES_MIB: Final = 1024
ERRORS, DEBUG, REPORTS_DEVICES = 1, 3, 4
"""Log levels of llama.cpp. REPORTS_DEVICES is the lowest that reports the layers on each device."""


@dataclass(frozen=True, slots=True)
class LlamaSettings:
    """How to load the model in the file `path`.

    `gpus` are the indexes of GPUs in llama.cpp's list of devices, and `layers` the number of layers on each.
    Without GPUs, the model runs on the CPU, whatever the build supports. `batch` is the number of tokens
    evaluated at a time, and `verbosity` is llama.cpp's log level. With `lookup`, the ids that followed an
    earlier occurrence of the last ids are evaluated in one batch, and those that the sampler also chooses are
    kept. `stack_bytes` is the size of each thread's stack; 0 is the system's default. `states_folder` is the
    folder of saved states of the KV cache; if it is empty, none are saved. `copies_mib` is the memory for
    copies of the KV cache: llama.cpp makes one before a prompt that shares less than half of it. A prompt
    that continues a copy is evaluated in other batches, so that rounding can change a generated word.
    """

    path: str
    context_size: int
    threads: int
    gpus: tuple[int, ...] = ()
    layers: tuple[int, ...] = ()
    kv_type: str = "f16"
    verbosity: int = ERRORS
    lookup: bool = False
    batch: int = PREFILL_BATCH
    stack_bytes: int = 0
    states_folder: str = ""
    copies_mib: int = 0

    @classmethod
    def from_plan(
        cls, plan: "Plan", verbosity: int, *, lookup: bool = False, keeps_copies: bool = False
    ) -> "LlamaSettings":
        """Return the settings for a plan of a GGUF."""
        from hermes_cli.models.plan.offload import BATCH

        gpus, layers = (plan.gpus, plan.layers) if plan.gpu_layers else ((), ())
        return cls(
            str(plan.path),
            plan.context_size,
            plan.threads,
            gpus,
            layers,
            plan.kv_type,
            verbosity,
            lookup=lookup,
            batch=BATCH if gpus else PREFILL_BATCH,
            copies_mib=COPIES_MIB if keeps_copies else 0,
        )
