"""From a Plan to a model in memory: the dtype, the quantisation and the devices that it names, nothing else.

No code of the model's own is ever run, nothing is fetched, and pickled weights are read as plain tensors.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from hermes_cli.engines.transformers.faults import freed_memory, named
from hermes_cli.engines.transformers.int8 import with_int8_weights
from hermes_cli.errors import HermesError, ModelUnavailable
from hermes_cli.models.checkpoint.json_file import read_object
from hermes_cli.models.plan import Plan

Report = Callable[[int, int], None]
"""Called with how many of the model's tensors are loaded, and how many there are."""


def load_model(plan: Plan, report: Report | None = None) -> tuple[Any, torch.device]:
    """Return the model and the device that takes its ids.

    Raises ResourcesExhausted where the memory runs out, and ModelUnavailable where the files are no whole
    model, a library cannot read them, or the device is not there.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # the order in which the plan counts the cards
    device = torch.device(plan.devices[0])
    _require(device, plan)
    if device.type == "cpu":
        torch.set_num_threads(plan.threads)
    _stay_at_home()
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - two more seconds; first of all _require

    try:
        with _progress(report):
            model = AutoModelForCausalLM.from_pretrained(str(plan.path), **_settings(plan))
    except (torch.OutOfMemoryError, MemoryError) as error:
        freed_memory(device)
        raise named(error, device, plan.smaller) from error
    except Exception as error:
        freed_memory(device)
        raise _broken(plan, error) from error
    model.eval()
    return (with_int8_weights(model) if _is_int8_on_cpu(plan) else model), device


def _settings(plan: Plan) -> dict[str, Any]:
    """Return what `from_pretrained` is told."""
    settings: dict[str, Any] = {
        "dtype": getattr(torch, plan.dtype),
        "device_map": device_map(plan),
        "attn_implementation": "sdpa",
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": any(plan.path.glob("*.safetensors")),
        "weights_only": True,  # of a .bin nothing but numbers is read
    }
    if plan.quantisation and not _is_int8_on_cpu(plan):
        settings["quantization_config"] = _quantisation(plan)
    return settings


def _is_int8_on_cpu(plan: Plan) -> bool:
    return plan.quantisation == "int8" and plan.devices == ("cpu",)


def _stay_at_home() -> None:
    """Keep the libraries from fetching compiled kernels from the hub and running them.

    bitsandbytes and transformers do so unasked where the package `kernels` is installed (source: bitsandbytes
    0.50, `backends/cpu/ops.py`). For them it is as if it were not.
    """
    sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]  # the way to say: no import
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def _require(device: torch.device, plan: Plan) -> None:
    """Raise ModelUnavailable where torch does not have the device that the plan chose."""
    if device.type == "cpu":
        return
    backend = getattr(torch, device.type, None)
    there = backend is not None and backend.is_available()
    if there and (device.index or 0) < getattr(backend, "device_count", lambda: 1)():
        return
    build = f"torch {torch.__version__} has no {device.type.upper()} device"
    raise ModelUnavailable(
        f"the plan is {plan.device}, and {build} here",
        "install a torch build for it (pytorch.org/get-started), or wish for --device cpu",
    )


def device_map(plan: Plan) -> dict[str, str]:
    """Return which part of the model goes to which device: as many layers to each as the plan says.

    The names are those of transformers' decoders. Words go in at the first card, logits come out at the
    last; where both share one matrix, the first card has it.
    """
    first, last = plan.devices[0], plan.devices[-1]
    if first == last:
        return {"": first}
    places = {"model.embed_tokens": first, "model.rotary_emb": first}
    number = 0
    for device, count in zip(plan.devices, plan.layers, strict=True):
        for _ in range(count):
            places[f"model.layers.{number}"] = device
            number += 1
    tied = read_object(plan.path / "config.json").get("tie_word_embeddings", False)
    return places | {"model.norm": last, "lm_head": first if tied else last}


def _quantisation(plan: Plan) -> Any:
    """Return what bitsandbytes is asked for. Source: the QLoRA paper (arXiv 2305.14314) for NF4."""
    from transformers import BitsAndBytesConfig  # noqa: PLC0415

    if plan.quantisation == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, plan.dtype),
    )


@contextmanager
def _progress(report: Report | None) -> Iterator[None]:
    """Hand transformers' own progress on, and keep its words and its warnings off the screen."""
    from transformers.utils import logging as library  # noqa: PLC0415

    def hook(factory: Any, args: Any, settings: dict[str, Any]) -> Any:
        if report is None or "eight" not in str(settings.get("desc", "")):
            return factory(*args, **settings)
        return _counted(args[0] if args else settings["iterable"], report)

    verbosity = library.get_verbosity()
    library.set_verbosity_error()
    library.disable_progress_bar()
    previous = library.set_tqdm_hook(hook)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        library.set_tqdm_hook(previous)
        library.set_verbosity(verbosity)


def _counted(items: Any, report: Report) -> Iterator[Any]:
    """Yield the items and tell how many have passed."""
    everything = list(items)
    for number, item in enumerate(everything):
        report(number, len(everything))
        yield item
    report(len(everything), len(everything))


def _broken(plan: Plan, error: Exception) -> HermesError:
    text = str(error).strip().split("\n")[0][:300] or type(error).__name__
    if isinstance(error, ImportError):
        return ModelUnavailable(f"a package that {plan.model} needs is missing: {text}")
    return ModelUnavailable(
        f"{plan.model} could not be loaded: {text}",
        f"'hermes models show {plan.model}' names its files; what is damaged can be fetched again",
    )
