"""Engines for the hermes side, opened from the settings of a row, and a count of the ids a model looks up."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hermes_cli.engines.base import Engine
from hermes_cli.models import hardware
from hermes_cli.models.gguf.model import read_header
from hermes_cli.models.local import describe_folder
from hermes_cli.models.plan import Plan, PlanRequest, choose
from hermes_cli.options import GenerationOptions

GREEDY = GenerationOptions(temperature=0, repetition_penalty=1)
"""Always the likeliest token. All other options are hermes' defaults."""


def opened(ask: Mapping[str, Any]) -> Engine:
    """Return an engine on the CPU.

    `ask` has the keys engine, model, threads, n_ctx, and for transformers precision.
    """
    if ask["engine"] == "transformers":
        from hermes_cli.engines.transformers.engine import TransformersEngine

        return TransformersEngine.open(plan(ask))
    from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine

    header = read_header(Path(ask["model"]))
    return LlamaCppEngine(header, name="starter", context_size=ask["n_ctx"], threads=ask["threads"])


def plan(ask: Mapping[str, Any]) -> Plan:
    """Return hermes' own plan for a folder of weights, with settings as of `--precision` and `--context`."""
    model = describe_folder(Path(ask["model"]), Path(ask["model"]).name)
    if model is None:
        raise FileNotFoundError(ask["model"])
    request = PlanRequest(ask["n_ctx"], ask["threads"], ask["precision"], "cpu")
    return choose(hardware.probe(), model.facts, request)


class LookedUp:
    """Counts the ids that torch models in this process look up, which is how many they evaluate."""

    def __init__(self) -> None:
        from torch import nn

        self.ids = 0
        self._kind = nn.Embedding
        nn.modules.module.register_module_forward_pre_hook(self._look)

    def _look(self, module: Any, given: Any) -> None:
        if isinstance(module, self._kind):
            self.ids += given[0].numel()
