"""Grouped-query attention that does not copy the keys and values.

If there are a mask and several queries, transformers' `sdpa` copies the keys and values for each query head.
This implementation stacks the query heads of a group into one head with more rows, and repeats the mask.
"""

from typing import Any, Final

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

PACKED_SDPA: Final = "packed_sdpa"
EAGER: Final = "eager"
"""Values of `attn_implementation`."""


def packed_sdpa(  # noqa: PLR0917 - called by transformers
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention output, (batch, queries, heads, width), like transformers' `sdpa`.

    `query` is (batch, heads, queries, width), `key` and `value` are (batch, kv heads, keys, width), and the
    mask is (batch, 1, queries, keys). Calls that need no copies are passed to transformers.
    """
    batch, heads, count, _ = query.shape
    groups = heads // key.shape[1]
    needs_copies = groups > 1 and count > 1 and settings.get("position_bias") is None
    if attention_mask is None or attention_mask.shape[1] > 1 or not needs_copies:
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, scaling=scaling, **settings
        )
    output = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(batch, key.shape[1], groups * count, -1),
        key,
        value,
        attn_mask=attention_mask.repeat(1, 1, groups, 1),
        scale=scaling,
    )
    return output.reshape(batch, heads, count, -1).transpose(1, 2).contiguous(), None


def implementation_for(config: Any) -> str:
    """Return the value of `attn_implementation` for a model with this config, and register it.

    It is "eager" for models whose attention torch's `scaled_dot_product_attention` cannot compute: gpt-oss
    has attention sinks, and Gemma 2 limits the scores.
    """
    kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if not getattr(kind, "_supports_sdpa", True):  # transformers has no public name for it
        return EAGER
    AttentionInterface.register(PACKED_SDPA, packed_sdpa)
    AttentionMaskInterface.register(PACKED_SDPA, sdpa_mask)
    return PACKED_SDPA
