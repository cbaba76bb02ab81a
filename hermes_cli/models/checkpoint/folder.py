"""Reads a checkpoint, a folder of Hugging Face weights, into a Checkpoint."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.catalogue import WeightFormat
from hermes_cli.models.checkpoint import config as configs
from hermes_cli.models.checkpoint.code import refuse_code
from hermes_cli.models.checkpoint.config import DTYPES, Config
from hermes_cli.models.checkpoint.json_file import read_object
from hermes_cli.models.checkpoint.tokens import has_chatml
from hermes_cli.models.checkpoint.weights import Weights, read_weights

CONFIG: Final = "config.json"
OTHER_SETTINGS: Final = (
    "tokenizer_config.json",
    "generation_config.json",
    "processor_config.json",
    "preprocessor_config.json",
)
ADAPTER: Final = "adapter_config.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Checkpoint:
    """A folder of Hugging Face weights that is complete and does not request custom code."""

    path: Path
    config: Config
    weights: Weights = field(repr=False)

    @property
    def format(self) -> WeightFormat:
        """The storage format of the weights."""
        if self.config.quantization is not None:
            return self.config.quantization.format
        return WeightFormat.PICKLE if self.weights.is_pickled else WeightFormat.SAFETENSORS

    @property
    def dtype(self) -> str:
        """The type of the weights that are not quantized, by its name in torch, or empty."""
        return self.config.dtype or self.weights.dtype

    @property
    def precision(self) -> str:
        """The precision for the user: `bf16`, `4-bit GPTQ`."""
        quantization = self.config.quantization
        return quantization.text if quantization else DTYPES.get(self.dtype, "")

    @property
    def bits(self) -> int:
        """The number of bits per weight."""
        quantization = self.config.quantization
        return quantization.bits if quantization else 32 if self.dtype == "float32" else 16

    @property
    def revision(self) -> str | None:
        """The hub's commit if the folder is a snapshot in the hub's cache, else None."""
        folder = self.path.absolute()
        is_snapshot = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
        return folder.name if is_snapshot and _COMMIT.fullmatch(folder.name) else None

    @cached_property
    def is_chatml(self) -> bool:
        """Whether its tokenizer seems to have both ChatML tokens."""
        return has_chatml(self.path)


def read(path: Path) -> Checkpoint:
    """Read the folder `path` in milliseconds, without loading a weight.

    Raises ModelUnavailable if the folder is broken, is not a language model, or requests custom code.
    """
    settings = read_object(path / CONFIG)
    others = {name: read_object(path / name) for name in OTHER_SETTINGS if (path / name).exists()}
    refuse_code({CONFIG: settings, **others})
    if (path / ADAPTER).exists():
        raise ModelUnavailable(
            f"it holds an adapter ({ADAPTER}) for another model, which hermes does not run",
            "merge it into its base model and name the result",
        )
    config = configs.parse(settings)
    return Checkpoint(path, config, read_weights(path, config))
