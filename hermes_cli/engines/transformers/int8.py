"""8-bit weights for the CPU: a linear layer with one scale a row, for torch's own int8 kernel.

bitsandbytes' 8-bit layers are no faster than 16-bit ones there, and this kernel reads half the bytes. The
rounding is the plainest there is (absolute maximum of a row); docs/measurements.md has what it costs.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

KERNEL_ROWS = 4
"""Up to so many tokens at once the int8 kernel is the faster one; for more, the weights are widened first."""


class Int8Linear(nn.Module):
    """Takes the place of a bias-free bfloat16 `nn.Linear`."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight: torch.Tensor
        self.scale: torch.Tensor
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / 127
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale.to(torch.bfloat16))
        self.bias = linear.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the product, (…, in) → (…, out), in bfloat16."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        if len(rows) <= KERNEL_ROWS:
            product = torch._weight_int8pack_mm(rows, self.weight, self.scale)  # noqa: SLF001 - torch's own way in
        else:
            product = functional.linear(rows, self.weight.to(torch.bfloat16)) * self.scale
        if self.bias is not None:
            product += self.bias
        return product.reshape(*inputs.shape[:-1], -1)


def with_int8_weights(model: Any) -> Any:
    """Replace every linear layer of `model`, the output layer among them, and return the model."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, Int8Linear(child))
    return model
