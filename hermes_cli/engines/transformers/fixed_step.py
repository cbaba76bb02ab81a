"""A decoding step that never waits for the host: a forward pass and the choice of the next id.

It reads and writes fixed memory addresses, and no shape depends on a value, so a GPU can record it as a CUDA
graph and replay it.
"""

from typing import Any

import torch
from transformers.cache_utils import Cache

from hermes_cli.engines.transformers.device_sampling import BLOCK, Choice
from hermes_cli.engines.transformers.kv_cache import FULL, SLIDING, FixedLayer, RewindableCache

NOT_FINITE = -1
"""Replaces an id that was chosen from logits that are not finite numbers."""


class FixedStep:
    """A step and the tensors that it reads and updates.

    `token` (1, 1) is the id to evaluate, `cursor` (1) its position, `seen` (vocabulary) the mask of the ids
    that occurred, `draws` (BLOCK, 2) the random numbers and `place` (1) the index of the next ones. `chosen`
    (1) is the resulting id, or NOT_FINITE, and `logits` (vocabulary) the logits that it was chosen from.
    """

    def __init__(self, model: Any, cache: RewindableCache, vocabulary: int) -> None:
        self._model = model
        self._cache = cache
        device = cache.layers[0].keys.device
        self.token = torch.zeros((1, 1), dtype=torch.long, device=device)
        self.cursor = torch.zeros(1, dtype=torch.long, device=device)
        self.seen = torch.zeros(vocabulary, dtype=torch.bool, device=device)
        self.draws = torch.zeros((BLOCK, 2), device=device)
        self.place = torch.zeros(1, dtype=torch.long, device=device)
        self.chosen = torch.zeros(1, dtype=torch.long, device=device)
        self.logits = torch.zeros(vocabulary, device=device)

    def begin(self, token: int, position: int, seen: torch.Tensor, block: torch.Tensor, place: int) -> None:
        """Make the next step evaluate `token` at `position` and use draw number `place` of a block."""
        self.token.fill_(token)
        self.cursor.fill_(position)
        self.seen.copy_(seen)
        self.draw_from(block, place)

    def draw_from(self, block: torch.Tensor, place: int) -> None:
        """Make the next step use draw number `place` of a block."""
        self.draws.copy_(block)
        self.place.fill_(place)

    @torch.inference_mode()
    def run(self, span: int, choice: Choice) -> None:
        """Run one step. It attends to the first `span` positions, which must include the cursor."""
        output = self._model(
            input_ids=self.token,
            attention_mask=self._masks(span),
            position_ids=self.cursor[None],
            past_key_values=Cache(layers=[FixedLayer(one, self.cursor, span) for one in self._cache.layers]),
            use_cache=True,
            logits_to_keep=1,
        )
        self.logits.copy_(output.logits[0, -1])
        draw = self.draws.index_select(0, self.place)[0]
        token = choice.chosen(choice.penalised(self.logits, self.seen), draw)
        finite = torch.isfinite(self.logits).all()
        self.chosen.copy_(torch.where(finite, token, NOT_FINITE)[None])
        self.token.copy_(token[None, None])
        self.seen.index_fill_(0, token[None], value=True)
        self.cursor.add_(1)
        self.place.add_(1)

    def _masks(self, span: int) -> Any:
        """Return the attention mask, (1, 1, 1, span), or one mask for each kind of layer."""
        places = torch.arange(span, device=self.cursor.device)
        past = places <= self.cursor
        masks: dict[str, torch.Tensor] = {}
        for layer in self._cache.layers:
            visible = past if layer.window is None else past & (places > self.cursor - layer.window)
            masks.setdefault(FULL if layer.window is None else SLIDING, visible[None, None, None])
        return masks if len(masks) > 1 else next(iter(masks.values()))
