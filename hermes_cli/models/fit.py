"""Estimates whether a model on the hub fits this machine, from its size alone.

The layers and the KV cache of such a model are unknown. Those of Llama 3.1 8B stand in for them, because most
models of 2 to 30 billion parameters need between 0.1 and 0.2 MiB of KV cache per token.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from hermes_cli.errors import HermesError, ModelUnavailable
from hermes_cli.models import requirements
from hermes_cli.models.catalogue import LLAMA_3_1_8B as TYPICAL
from hermes_cli.models.catalogue import WeightFormat, find_variant
from hermes_cli.models.facts import ModelFacts, facts_of_variant
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.hub.repository import HubFile, gguf_files, snapshot_files
from hermes_cli.models.hub.search import FoundModel
from hermes_cli.models.plan.context import COMFORTABLE_CONTEXT, DEFAULT_CONTEXT
from hermes_cli.models.plan.planner import Plan
from hermes_cli.models.plan.refusal import DoesNotFit
from hermes_cli.models.plan.request import CPU
from hermes_cli.models.reference import hub_argument
from hermes_cli.models.units import KV_ELEMENT_BYTES, gib

_PRECISION: Final = re.compile(
    r"(?:^|[-._/])((?:UD-)?I?Q\d\w*|TQ\d\w*|MXFP4\w*|BF16|F16|F32)\.gguf", re.IGNORECASE
)
_NOT_A_WHOLE_MODEL: Final = re.compile(r"-\d{5}-of-\d{5}\.gguf$|(^|/)imatrix", re.IGNORECASE)
_QUANTIZED: Final = {
    "gptq": WeightFormat.GPTQ,
    "awq": WeightFormat.AWQ,
    "compressed-tensors": WeightFormat.COMPRESSED_TENSORS,
    "bitsandbytes": WeightFormat.BITSANDBYTES,
}
_OTHER_SHARE: Final = 1 - TYPICAL.linear_parameters / TYPICAL.parameters
_MAX_OTHERS: Final = 2_102_132_736
"""The embeddings and the head of Llama 3.1 70B, 128,256 x 8,192 each, which grow less than the layers."""


class LoadableFile(NamedTuple):
    """A GGUF file, or the weights of a repository, that hermes can load.

    `argument` is the argument for -m, `size` is in bytes, or 0 if unknown, and `fit` states whether and where
    it fits.
    """

    argument: str
    precision: str
    size: int
    fit: str


def loadable_files(
    model: FoundModel, machine: Hardware, finder: requirements.Finder = requirements.find_package
) -> list[LoadableFile]:
    """Return the GGUF files of a repository, smallest first, or else its weights. The list may be empty.

    Left out are split files, weights with code of their own, and weights in other formats.
    """
    found = list(model.files)
    ggufs = gguf_files(found)
    if ggufs:
        whole = [file for file in ggufs if not _NOT_A_WHOLE_MODEL.search(file.name)]
        return [row for file in whole if (row := _gguf(model, file, machine, finder))]
    row = _weights(model, found, machine, finder)
    return [row] if row else []


def _gguf(
    model: FoundModel, file: HubFile, machine: Hardware, finder: requirements.Finder
) -> LoadableFile | None:
    argument = hub_argument(model.repo, file.name)
    if argument is None:
        return None
    match = _PRECISION.search(file.name)
    precision, size = match.group(1).upper() if match else "GGUF", file.size or 0
    known = find_variant(model.repo, file.name)
    facts = facts_of_variant(*known) if known else _gguf_facts(argument, file.name, precision, size)
    return LoadableFile(argument, precision, size, _fit(facts, machine, finder) if size else "")


def _gguf_facts(name: str, file: str, precision: str, size: int) -> ModelFacts:
    layer = size // (TYPICAL.layers + 1)
    return replace(
        _typical_facts(name, Path(file), WeightFormat.GGUF, precision, size),
        layer_bytes=(layer,) * TYPICAL.layers,
        output_bytes=size - layer * TYPICAL.layers,
        dtype="float16",
        bits=4,
    )


def _typical_facts(
    name: str, path: Path, weight_format: WeightFormat, precision: str, size: int
) -> ModelFacts:
    return ModelFacts(
        name=name,
        path=path,
        format=weight_format,
        precision=precision,
        weight_bytes=size,
        context_length=DEFAULT_CONTEXT,
        kv_bytes_per_token=2 * TYPICAL.layers * TYPICAL.kv_heads * TYPICAL.head_dim * KV_ELEMENT_BYTES,
        layers=TYPICAL.layers,
        width=TYPICAL.width,
        vocabulary=TYPICAL.vocabulary,
        head_widths=(TYPICAL.head_dim,),
    )


def _weights(
    model: FoundModel, files: Sequence[HubFile], machine: Hardware, finder: requirements.Finder
) -> LoadableFile | None:
    argument = hub_argument(model.repo, None)
    if argument is None or model.needs_code or not model.architecture.endswith("ForCausalLM"):
        return None
    if model.quantization and model.quantization not in _QUANTIZED:
        return None
    try:
        names = snapshot_files(model.repo, list(files))
    except ModelUnavailable:
        return None
    weights = [file for file in files if file.name in names and file.name.endswith((".safetensors", ".bin"))]
    size = sum(file.size or 0 for file in weights)
    weight_format = _QUANTIZED.get(model.quantization, WeightFormat.SAFETENSORS)
    precision = weight_format.value if weight_format.has_fixed_precision else "16-bit"
    known = find_variant(model.repo, None)
    facts = facts_of_variant(*known) if known else _weight_facts(model, argument, weight_format, size)
    return LoadableFile(argument, precision, size, _fit(facts, machine, finder) if size else "")


def _weight_facts(model: FoundModel, name: str, weight_format: WeightFormat, size: int) -> ModelFacts:
    is_quantized = weight_format.has_fixed_precision
    parameters = size * 2 if is_quantized else model.parameters or size // 2
    linear = parameters - min(int(parameters * _OTHER_SHARE), _MAX_OTHERS)
    precision = weight_format.value if is_quantized else "bf16"
    return replace(
        _typical_facts(name, Path(model.repo), weight_format, precision, size),
        repo=model.repo,
        parameters=parameters,
        linear_parameters=linear,
        dtype="bfloat16",
        bits=4 if is_quantized else 16,
    )


def _fit(facts: ModelFacts, machine: Hardware, finder: requirements.Finder) -> str:
    """Return whether the model fits, and where, as text for the user."""
    try:
        plan = requirements.plan_with_installed(machine, facts, None, finder)
    except DoesNotFit as error:
        own = [candidate for candidate in error.considered if candidate.model.name == facts.name]
        least = min(own, key=lambda candidate: candidate.memory_needed)
        return f"needs about {gib(least.memory_needed)} GiB, {gib(least.memory_available)} available"
    except HermesError as error:
        return error.message.removeprefix(f"{facts.name} ")
    problem = requirements.unmet(plan, facts, finder)
    first = f"; first {problem.hint.partition('; or')[0]}" if problem else ""
    short = ", with a short context" if plan.context_size < COMFORTABLE_CONTEXT else ""
    return f"{_place(plan)}{short}{first}"


def _place(plan: Plan) -> str:
    if plan.device == CPU:
        return "fits in memory" if plan.engine == "llama.cpp" else "fits in memory, slow without a GPU"
    if plan.engine == "llama.cpp" and plan.gpu_layers < plan.layer_count:
        return "fits in memory and partly on the GPU"
    return f"fits the GPU{' in 4-bit' if plan.quantization else ''}"
