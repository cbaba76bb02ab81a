"""8-bit weights for the CPU: a linear layer with one scale per row, for torch's int8 kernel.

On a CPU, bitsandbytes' 8-bit layers are no faster than 16-bit layers; torch's kernel reads half as many
bytes. The scale is the largest absolute value in a row, divided by 127; docs/measurements/transformers.md
lists the loss of quality. Each matrix is quantized as soon as it is read, so that the whole model is never
in memory in 16 bits. The hook is transformers' quantizer interface (source: "Contributing a quantization
method").
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.core_model_loading import ConversionOps
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

KERNEL_ROWS = 4
"""Maximum number of tokens for the int8 kernel. For more, converting the weights to bfloat16 is faster."""
ROWS = 1024
"""Rows that are quantized at a time: their float32 copy takes four times the memory of the 8-bit rows."""
METHOD = "hermes-int8"


class Int8Linear(nn.Module):
    """A replacement for `nn.Linear` with 8-bit weights. It computes in bfloat16."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight: torch.Tensor
        self.scale: torch.Tensor
        weight, scale = quantize_rows(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the output (…, out) for inputs (…, in), in bfloat16."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        if len(rows) <= KERNEL_ROWS:
            product = torch._weight_int8pack_mm(rows, self.weight, self.scale)  # noqa: SLF001 - torch has no public name
        else:
            product = functional.linear(rows, self.weight.to(torch.bfloat16)) * self.scale
        if self.bias is not None:
            product += self.bias
        return product.reshape(*inputs.shape[:-1], -1)


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize a matrix (out, in) to int8. Return it and the scale of each row, (out)."""
    quantized = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    scales = torch.empty(len(weight), dtype=torch.bfloat16, device=weight.device)
    for first in range(0, len(weight), ROWS):
        rows = weight[first : first + ROWS].float()
        scale = rows.abs().amax(dim=1).clamp(min=1e-12) / 127
        quantized[first : first + ROWS] = (rows / scale[:, None]).round()
        scales[first : first + ROWS] = scale
    return quantized, scales


def replace_linear_layers(model: Any) -> None:
    """Replace every linear layer of `model` with an Int8Linear."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, Int8Linear(child))


@register_quantization_config(METHOD)
class Int8Config(QuantizationConfigMixin):  # type: ignore[misc]  # transformers is not typed
    """The quantization config with which `from_pretrained` quantizes all linear layers but the head."""

    def __init__(self) -> None:
        self.quant_method = METHOD


@register_quantizer(METHOD)
class _Quantizer(HfQuantizer):  # type: ignore[misc]
    """Quantizes all linear layers except the head, which may share its weights with the embeddings."""

    requires_calibration = False

    def _process_model_before_weight_loading(self, model: Any, **_: object) -> Any:
        replace_linear_layers(model.get_decoder())
        return model

    def param_needs_quantization(self, model: Any, param_name: str, **_: object) -> bool:
        path, _dot, name = param_name.rpartition(".")
        return name == "weight" and isinstance(model.get_submodule(path), Int8Linear)

    def get_quantize_ops(self) -> ConversionOps:
        return _QuantizeRows()

    def is_serializable(self) -> bool:
        return False

    @property
    def is_trainable(self) -> bool:
        return False


class _QuantizeRows(ConversionOps):  # type: ignore[misc]
    def convert(self, input_dict: dict[str, Any], **_: object) -> dict[str, torch.Tensor]:
        """Return the quantized weight and the scale for each weight in `input_dict`."""
        tensors: dict[str, torch.Tensor] = {}
        for name, value in input_dict.items():
            weight, scale = quantize_rows(value[0] if isinstance(value, list) else value)
            tensors |= {name: weight, f"{name.removesuffix('weight')}scale": scale}
        return tensors
