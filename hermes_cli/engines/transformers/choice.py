"""From logits to the next id with tensors alone: nothing here waits for the device, so a graph can hold it.

The order is that of `options.py`. It refuses to know what was said: `seen` and `draw` are all it is given.
"""

import dataclasses

import torch
from transformers.generation.logits_process import LogitsProcessor, MinPLogitsWarper, TopPLogitsWarper

from hermes_cli.options import GenerationOptions

COLDEST = 1e-6
"""A temperature below it is 0: dividing by it leaves the range of the numbers."""
BLOCK = 256
"""Choices whose random numbers are drawn at once."""


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """What of the options decides between ids. Two that are equal choose alike."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    xtc_probability: float
    xtc_threshold: float

    @classmethod
    def by(cls, options: GenerationOptions) -> "Choice":
        """Return the choice that the options ask for; at temperature 0 only the penalty counts."""
        if options.temperature < COLDEST:
            return cls(0, 0, 1, 0, options.repetition_penalty, 0, 0)
        return cls(*(getattr(options, field.name) for field in dataclasses.fields(cls)))

    def penalised(self, logits: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Return the logits (vocabulary) with those of the ids that are `seen`, a mask, made less likely.

        Source: the CTRL paper (arXiv 1909.05858). Saying an id twice counts as saying it once.
        """
        if self.repetition_penalty == 1:
            return logits
        penalty = float(self.repetition_penalty)
        return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)

    def chosen(self, scores: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
        """Return an id, a tensor without dimensions, for scores (vocabulary), of which some may be -inf.

        `draw` is two random numbers in [0, 1): one for the id, one for whether XTC strikes.
        """
        if self.temperature < COLDEST:
            return scores.argmax()
        # What top-k leaves is a short list: the rest works on that instead of the whole vocabulary.
        size = scores.shape[0]
        kept = min(self.top_k or size, size)
        scores, ids = scores.topk(kept) if kept < size else (scores, None)
        for warper in self._warpers():
            scores = warper(None, scores[None])[0]
        if self.xtc_probability:
            scores = self._xtc(scores, draw[1])
        whole = (scores / self.temperature).softmax(-1).cumsum(-1)
        # An id without a probability adds nothing to the sum before it, so it is never the first above.
        place = (whole <= draw[0] * whole[-1]).sum().clamp(max=kept - 1)
        return place if ids is None else ids.index_select(0, place[None])[0]

    def _warpers(self) -> list[LogitsProcessor]:
        warpers: list[LogitsProcessor] = []
        if self.top_p < 1:
            warpers.append(TopPLogitsWarper(max(float(self.top_p), 1e-9)))
        if self.min_p > 0:
            warpers.append(MinPLogitsWarper(float(self.min_p)))
        return warpers

    def _xtc(self, scores: torch.Tensor, chance: torch.Tensor) -> torch.Tensor:
        """By chance, leave out all but the least likely of the tokens above the threshold.

        Source: the XTC sampler of text-generation-webui (oobabooga/text-generation-webui, pull request 6335).
        """
        probabilities = scores.softmax(-1)
        likely = (probabilities >= self.xtc_threshold) & (probabilities > 0)
        least = probabilities.masked_fill(~likely, torch.inf).argmin()
        left_out = likely.index_fill(0, least[None], value=False) & (chance < self.xtc_probability)
        return scores.masked_fill(left_out, -torch.inf)


class Draws:
    """Two random numbers in [0, 1) for each choice of an answer, for a seed the same on any device."""

    def __init__(self, seed: int | None, device: torch.device) -> None:
        self._random = torch.Generator()
        if seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(seed)
        self._device = device
        self._blocks: list[torch.Tensor] = []

    def block(self, number: int) -> torch.Tensor:
        """Return the draws from choice number `number` times BLOCK on, (BLOCK, 2)."""
        while len(self._blocks) <= number:
            self._blocks.append(torch.rand((BLOCK, 2), generator=self._random).to(self._device))
        return self._blocks[number]

    def at(self, place: int) -> torch.Tensor:
        """Return the draw for choice number `place`, (2)."""
        return self.block(place // BLOCK)[place % BLOCK]
