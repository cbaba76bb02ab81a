"""The properties of a model that a plan needs, from a GGUF header, a checkpoint or the catalogue."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.catalogue import CatalogueEntry, Variant, WeightFormat
from hermes_cli.models.gguf.model import GgufHeader
from hermes_cli.models.units import KV_ELEMENT_BYTES
from hermes_cli.prompts.chat_template import ChatTemplate
from hermes_cli.prompts.chatml import missing_tokens
from hermes_cli.prompts.format_choice import ModelTemplates

if TYPE_CHECKING:
    from hermes_cli.models.checkpoint import Checkpoint  # imported only for a folder of weights


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The properties of a model that a plan needs. Sizes are in bytes; an unknown `context_length` is 0.

    `kv_bytes_per_token` assumes 16-bit K and V. `dtype` is torch's name for the type of the unquantized
    weights, and `bits` is the number of bits per weight. `linear_parameters` is the number of parameters that
    bitsandbytes would quantize. If `is_tied` is true, the embeddings also serve as the head. If `is_pickled`
    is true, the weights are .bin files. For a GGUF, `layer_bytes` is the size of each layer's weights,
    `output_bytes` the size of the output layer, `width` the width of the residual stream, `vocabulary` the
    number of tokens, and `head_widths` the widths of the K and V heads. `templates` decides the format of the
    prompts.
    """

    name: str
    path: Path
    format: WeightFormat
    precision: str
    weight_bytes: int
    context_length: int = 0
    kv_bytes_per_token: int = 0
    repo: str | None = None
    layers: int = 1
    parameters: int = 0
    linear_parameters: int = 0
    dtype: str = ""
    bits: int = 16
    is_tied: bool = False
    is_pickled: bool = False
    layer_bytes: tuple[int, ...] = ()
    output_bytes: int = 0
    width: int = 0
    vocabulary: int = 0
    head_widths: tuple[int, ...] = ()
    revision: str | None = None
    templates: ModelTemplates = field(default_factory=ModelTemplates, repr=False)

    @property
    def engine(self) -> str:
        """The engine that runs the model: `llama.cpp` or `transformers`."""
        return "llama.cpp" if self.format is WeightFormat.GGUF else "transformers"


def facts_of(name: str, header: GgufHeader) -> ModelFacts:
    """Return the facts of a GGUF file.

    Raises ModelUnavailable if the file is one part of a split model, or is not a language model.
    """
    if header.split_count > 1:
        raise ModelUnavailable(
            f"{header.path} is one of the {header.split_count} files of a split model",
            "merge them with 'llama-gguf-split --merge', and use the merged file",
        )
    if not header.tensors or not header.block_count or not header.context_length:
        content = "a vocabulary without weights" if not header.tensors else f"'{header.architecture}' weights"
        raise ModelUnavailable(
            f"{header.path} contains {content}, not a language model",
            "choose a chat model, such as openhermes-2 or the starter",
        )
    return ModelFacts(
        name,
        header.path,
        WeightFormat.GGUF,
        header.file_type,
        header.file_size,
        header.context_length,
        header.kv_bytes_per_token,
        layers=header.block_count,
        layer_bytes=header.layer_bytes,
        output_bytes=header.output_bytes,
        width=header.embedding_length,
        vocabulary=header.vocabulary_size,
        head_widths=(header.key_length, header.value_length),
        templates=header.templates,
    )


def facts_of_checkpoint(name: str, checkpoint: "Checkpoint", repo: str | None = None) -> ModelFacts:
    """Return the facts of a folder of Hugging Face weights.

    Raises ModelUnavailable if it has no tokenizer.
    """
    from hermes_cli.models.checkpoint.folder import has_tokenizer, no_tokenizer

    if not has_tokenizer(checkpoint.path):
        raise no_tokenizer(checkpoint.path)
    config, weights = checkpoint.config, checkpoint.weights
    return ModelFacts(
        name=name,
        path=checkpoint.path,
        format=checkpoint.format,
        precision=checkpoint.precision,
        weight_bytes=weights.stored_bytes,
        context_length=config.context_length,
        kv_bytes_per_token=config.kv_elements * KV_ELEMENT_BYTES,
        repo=repo,
        layers=config.layers,
        parameters=weights.parameters,
        linear_parameters=weights.linear_parameters,
        dtype=checkpoint.dtype,
        bits=checkpoint.bits,
        is_tied=config.tied,
        is_pickled=weights.is_pickled,
        revision=checkpoint.revision,
        templates=checkpoint.templates,
    )


TEMPLATE_OF_ITS_OWN: Final = ModelTemplates(missing_tokens(()), ChatTemplate(""))
"""The prompt format of a model in the catalogue without ChatML's tokens; its file has the template."""


def facts_of_variant(entry: CatalogueEntry, variant: Variant) -> ModelFacts:
    """Return the facts of a model that is not downloaded yet, from the catalogue."""
    shape = entry.shape
    is_plain = variant.format is WeightFormat.SAFETENSORS
    bytes_per_parameter = variant.size / shape.parameters
    layer = int(shape.linear_parameters / shape.layers * bytes_per_parameter)
    is_gguf = variant.format is WeightFormat.GGUF
    return ModelFacts(
        name=entry.spelling(variant),
        path=Path(variant.file or variant.repo),
        format=variant.format,
        precision=variant.precision,
        weight_bytes=shape.parameters * 2 if is_plain else variant.size,
        context_length=entry.context_length,
        kv_bytes_per_token=2 * shape.layers * shape.kv_heads * shape.head_dim * KV_ELEMENT_BYTES,
        repo=variant.repo,
        layers=shape.layers,
        parameters=shape.parameters,
        linear_parameters=shape.linear_parameters,
        dtype="bfloat16" if is_plain else "float16",
        bits=16 if is_plain else 4,
        is_tied=shape.tied,
        layer_bytes=(layer,) * shape.layers if is_gguf else (),
        output_bytes=int(shape.vocabulary * shape.width * bytes_per_parameter),
        width=shape.width,
        vocabulary=shape.vocabulary,
        head_widths=(shape.head_dim,),
        templates=ModelTemplates() if entry.is_chatml else TEMPLATE_OF_ITS_OWN,
    )
