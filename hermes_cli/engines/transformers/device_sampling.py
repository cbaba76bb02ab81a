"""Sampling of one id from logits, with tensor operations only.

Nothing here waits for the device, so a CUDA graph can contain it. The samplers run in the order of
`options.py`.
"""

import dataclasses

import torch
from transformers.generation.logits_process import LogitsProcessor, MinPLogitsWarper, TopPLogitsWarper

from hermes_cli.options import GenerationOptions

COLDEST = 1e-6
"""A temperature below this counts as 0: dividing by it would overflow."""
BLOCK = 256
"""Number of choices whose random numbers are drawn at once."""


@dataclasses.dataclass(frozen=True, slots=True)
class SamplingStep:
    """The sampling options of a choice. Equal instances choose the same ids."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    xtc_probability: float
    xtc_threshold: float

    @classmethod
    def by(cls, options: GenerationOptions) -> "SamplingStep":
        """Return the choice for these options. At temperature 0 only the repetition penalty applies."""
        if options.temperature < COLDEST:
            return cls(0, 0, 1, 0, options.repetition_penalty, 0, 0)
        return cls(*(getattr(options, field.name) for field in dataclasses.fields(cls)))

    def penalized(self, logits: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Return the logits (vocabulary) with the repetition penalty applied to the ids in the mask `seen`.

        Source: the CTRL paper (arXiv 1909.05858). An id that occurs twice is penalized once.
        """
        if self.repetition_penalty == 1:
            return logits
        penalty = float(self.repetition_penalty)
        return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)

    def chosen(self, scores: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
        """Return an id, a tensor without dimensions, for scores (vocabulary), some of which may be -inf.

        `draw` holds two random numbers in [0, 1): one selects the id, one decides whether XTC applies.
        """
        if self.temperature < COLDEST:
            return scores.argmax()
        # The other samplers work on the short list that top-k returns instead of the whole vocabulary.
        size = scores.shape[0]
        kept = min(self.top_k or size, size)
        scores, ids = scores.topk(kept) if kept < size else (scores, None)
        for warper in self._warpers():
            scores = warper(None, scores[None])[0]
        if self.xtc_probability:
            scores = self._xtc(scores, draw[1])
        whole = (scores / self.temperature).softmax(-1).cumsum(-1)
        # An id with probability 0 does not raise the sum, so it is never the first one above the draw.
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
        """At random, remove all but the least likely of the tokens above the threshold.

        Source: the XTC sampler of text-generation-webui (oobabooga/text-generation-webui, pull request 6335).
        """
        probabilities = scores.softmax(-1)
        likely = (probabilities >= self.xtc_threshold) & (probabilities > 0)
        least = probabilities.masked_fill(~likely, torch.inf).argmin()
        left_out = likely.index_fill(0, least[None], value=False) & (chance < self.xtc_probability)
        return scores.masked_fill(left_out, -torch.inf)


class Draws:
    """Two random numbers in [0, 1) for each choice of an answer. A seed gives the same on every device."""

    def __init__(self, seed: int | None, device: torch.device) -> None:
        self._random = torch.Generator()
        if seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(seed)
        self._device = device
        self._blocks: list[torch.Tensor] = []

    def block(self, number: int) -> torch.Tensor:
        """Return the draws of block `number`, (BLOCK, 2), which begins at choice `number * BLOCK`."""
        while len(self._blocks) <= number:
            self._blocks.append(torch.rand((BLOCK, 2), generator=self._random).to(self._device))
        return self._blocks[number]

    def at(self, place: int) -> torch.Tensor:
        """Return the draw for choice number `place`, (2)."""
        return self.block(place // BLOCK)[place % BLOCK]
