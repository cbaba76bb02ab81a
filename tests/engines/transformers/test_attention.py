"""Attention with shared keys and values equals torch's own attention on copies of them."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, GptOssConfig, MistralConfig

from hermes_cli.engines.transformers.attention import EAGER, PACKED_SDPA, implementation_for, packed_sdpa
from hermes_cli.engines.transformers.cuda_graphs import unsupported_reason


@pytest.mark.parametrize(("heads", "kv_heads"), [(9, 3), (8, 2), (4, 4), (6, 1)])
@pytest.mark.parametrize("queries", [1, 5, 34])
def test_the_result_is_that_of_attention_with_copied_keys_and_values(
    heads: int, kv_heads: int, queries: int
) -> None:
    """With a mask over earlier and new keys, the result is that of repeated keys and values, in float64."""
    torch.manual_seed(0)
    keys, width = queries + 40, 16
    query = torch.randn(1, heads, queries, width, dtype=torch.float64)
    key, value = (torch.randn(1, kv_heads, keys, width, dtype=torch.float64) for _ in range(2))
    mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)[None, None]
    module: Any = torch.nn.Module()
    module.num_key_value_groups = heads // kv_heads
    keys_of_all, values_of_all = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (key, value))
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, keys_of_all, values_of_all, attn_mask=mask, scale=0.3
    )
    output, _ = packed_sdpa(module, query, key, value, mask, scaling=0.3)
    torch.testing.assert_close(output, expected.transpose(1, 2))


def test_keys_and_values_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention receives the keys and values themselves, with one head for all queries that share them."""
    seen: list[tuple[int, ...]] = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def observed(query: Any, key: Any, value: Any, **settings: Any) -> Any:
        seen.append((key.data_ptr(), *query.shape))
        return attention(query, key, value, **settings)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", observed)
    query, key = torch.randn(1, 6, 5, 8), torch.randn(1, 2, 9, 8)
    mask = torch.ones(1, 1, 5, 9, dtype=torch.bool)
    packed_sdpa(torch.nn.Module(), query, key, key, mask)
    assert seen == [(key.data_ptr(), 1, 2, 15, 8)]


SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}


@pytest.mark.parametrize(
    ("config", "implementation"),
    [
        (MistralConfig(**SMALL), PACKED_SDPA),
        (Gemma2Config(**SMALL), EAGER),
        (GptOssConfig(**SMALL, num_local_experts=2, num_experts_per_tok=1), EAGER),
    ],
)
def test_attention_with_sinks_or_limits_is_eager(config: Any, implementation: str) -> None:
    """A model can be made with the implementation, and its steps are captured only if it is not eager."""
    assert implementation_for(config) == implementation
    loader: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model = loader.from_config(config, attn_implementation=implementation)
    assert (unsupported_reason(model) == "") is (implementation == PACKED_SDPA)
