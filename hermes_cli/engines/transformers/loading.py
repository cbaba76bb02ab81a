"""Loads the model of a Plan with the plan's dtype, quantization and devices.

This module downloads nothing, runs no code from the model's files, and reads only tensors from pickled files.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from hermes_cli.engines.transformers.torch_errors import free_memory, hermes_error, is_out_of_memory
from hermes_cli.errors import HermesError, ModelUnavailable, first_line
from hermes_cli.models.checkpoint.json_file import read_object
from hermes_cli.models.plan.planner import Plan
from hermes_cli.placement import Placement

DOWNLOAD_AGAIN = "download the model again, or choose another"

Report = Callable[[int, int], None]
"""A callback that receives the number of loaded tensors and the total number."""


def load_model(plan: Plan, report: Report | None = None) -> tuple[Any, torch.device]:
    """Load the model of a plan. Return it and the device for its input ids.

    Raises ResourcesExhausted if memory runs out, and ModelUnavailable if the files are not a complete model,
    if a library cannot read them, or if the device does not exist.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # the plan numbers the GPUs in this order
    device = torch.device(plan.devices[0])
    _check_device(device, plan)
    if device.type == "cpu":
        torch.set_num_threads(plan.threads)
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(str(plan.path), local_files_only=True, trust_remote_code=False)
        _check_size(plan, config)
        with _progress(report):
            model, info = AutoModelForCausalLM.from_pretrained(str(plan.path), **_settings(plan, config))
        if _is_int8_on_cpu(plan):
            from hermes_cli.engines.transformers.int8 import replace_linear_layers

            replace_linear_layers(model)  # replaces the head, which the quantizer skips
    except HermesError:
        raise
    except Exception as error:
        free_memory(device)
        if is_out_of_memory(error):
            raise hermes_error(error, device, plan.smaller.advice if plan.smaller else "") from error
        raise _loading_error(plan, error) from error
    _check_tensors(plan, info)
    model.eval()
    return model, device


def _check_size(plan: Plan, config: Any) -> None:
    """Raise ModelUnavailable if the config describes a larger model than the weight files contain.

    transformers would allocate the missing weights and initialize them at random. The model is built on
    torch's device `meta`, which allocates no memory.
    """
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    files = sorted(plan.path.glob("*.safetensors"))
    if not files or getattr(config, "quantization_config", None) is not None:
        return
    with torch.device("meta"):
        expected = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    actual = 0
    for file in files:
        with safe_open(file, "pt") as part:
            actual += sum(math.prod(part.get_slice(name).get_shape()) for name in part.keys())  # noqa: SIM118
    if expected > actual:
        raise ModelUnavailable(
            f"{plan.model}: config.json describes {expected:,} weights, but its files contain {actual:,}",
            DOWNLOAD_AGAIN,
        )


def _check_tensors(plan: Plan, info: dict[str, Any]) -> None:
    """Raise ModelUnavailable if transformers initialized some tensors at random."""
    wrong = sorted(info.get("missing_keys", ())) + sorted(map(str, info.get("mismatched_keys", ())))
    if wrong:
        raise ModelUnavailable(
            f"{len(wrong):,} tensors of {plan.model} are missing or have the wrong shape: {wrong[0][:120]}",
            DOWNLOAD_AGAIN,
        )


def _settings(plan: Plan, config: Any) -> dict[str, Any]:
    from hermes_cli.engines.transformers.attention import implementation_for

    settings: dict[str, Any] = {
        "dtype": getattr(torch, plan.dtype),
        "device_map": device_map(plan),
        "attn_implementation": implementation_for(config),
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": any(plan.path.glob("*.safetensors")),
        "weights_only": True,  # reads only tensors from a pickled .bin file
        "output_loading_info": True,
    }
    if plan.quantization:
        settings["quantization_config"] = _quantization(plan)
    return settings


def _is_int8_on_cpu(plan: Plan) -> bool:
    return plan.quantization == "int8" and plan.devices == ("cpu",)


def _check_device(device: torch.device, plan: Plan) -> None:
    """Raise ModelUnavailable if torch cannot use the device."""
    if device.type == "cpu":
        return
    backend = getattr(torch, device.type, None)
    available = backend is not None and backend.is_available()
    if available and (device.index or 0) < getattr(backend, "device_count", lambda: 1)():
        return
    missing = f"torch {torch.__version__} finds no such {device.type.upper()} device"
    raise ModelUnavailable(
        f"the plan uses {plan.device}, but {missing}",
        "install a torch build that supports it (pytorch.org/get-started), or use --device cpu",
    )


def device_map(plan: Plan) -> dict[str, str]:
    """Return the device of each module. The plan sets the number of layers per device.

    The keys are module names in transformers' decoder models. The embeddings are on the first device and the
    head on the last. If they share one matrix, both are on the first.
    """
    first, last = plan.devices[0], plan.devices[-1]
    if first == last:
        return {"": first}
    layers = [device for device, n in zip(plan.devices, plan.layers, strict=True) for _ in range(n)]
    devices = {"model.embed_tokens": first, "model.rotary_emb": first, "model.norm": last}
    devices |= {f"model.layers.{number}": device for number, device in enumerate(layers)}
    tied = read_object(plan.path / "config.json").get("tie_word_embeddings", False)
    return devices | {"lm_head": first if tied else last}


def placement_of(model: Any) -> Placement:
    """Return the placement of the decoder layers of a transformers model."""
    layers = model.get_decoder().layers
    devices = [next(layer.parameters()).device for layer in layers]
    places = [device.type if device.type == "mps" else str(device) for device in devices]  # not "mps:0"
    on_gpu = [place for place in places if place not in ("cpu", "meta")]
    return Placement(tuple(dict.fromkeys(on_gpu)), len(on_gpu), len(places))


def _quantization(plan: Plan) -> Any:
    """Return the `quantization_config` of a plan. Source of NF4: the QLoRA paper (arXiv 2305.14314)."""
    from transformers import BitsAndBytesConfig

    if _is_int8_on_cpu(plan):
        from hermes_cli.engines.transformers.int8 import Int8Config

        return Int8Config()
    if plan.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, plan.dtype),
    )


@contextmanager
def _progress(report: Report | None) -> Iterator[None]:
    """Forward transformers' loading progress to `report`, and suppress its log messages and warnings."""
    from transformers.utils import logging as transformers_logging

    def hook(factory: Any, args: Any, settings: dict[str, Any]) -> Any:
        if report is None or "eight" not in str(settings.get("desc", "")):  # a part of "Loading weights"
            return factory(*args, **settings)
        return _report_progress(list(args[0] if args else settings["iterable"]), report)

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    previous_hook = transformers_logging.set_tqdm_hook(hook)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_tqdm_hook(previous_hook)
        transformers_logging.set_verbosity(verbosity)


def _report_progress(items: list[Any], report: Report) -> Iterator[Any]:
    for number, item in enumerate(items):
        report(number, len(items))
        yield item
    report(len(items), len(items))


def _loading_error(plan: Plan, error: Exception) -> HermesError:
    text = first_line(error)
    if isinstance(error, ImportError):
        return ModelUnavailable(f"a package that {plan.model} needs is missing: {text}")
    if "ignore_mismatched_sizes" in text:
        text = "its weights do not have the shapes that its config.json describes"
    if "weights_only" in text:  # torch's advice is to turn this protection off
        return ModelUnavailable(
            f"{plan.model} could not be loaded: its pickled weights (.bin) contain more than tensors, such "
            "as code, which hermes never runs",
            "choose a model with safetensors weights",
        )
    return ModelUnavailable(
        f"{plan.model} could not be loaded: {text}",
        f"{DOWNLOAD_AGAIN}; 'hermes models show {plan.model}' lists its files",
    )
