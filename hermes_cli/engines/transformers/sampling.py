"""Sampling: chooses the next token id from the logits.

SamplingParams uses only tensor operations that do not wait for the device, so a CUDA graph can contain them.
Sampler adds DRY and banned ids. `options.py` documents the order of the samplers.
"""

import dataclasses
from collections.abc import Collection, Sequence

import torch
from transformers.generation.logits_process import MinPLogitsWarper, TopPLogitsWarper

from hermes_cli.engines.transformers.torch_errors import NonFiniteLogits
from hermes_cli.errors import HermesError
from hermes_cli.options import GenerationOptions

MIN_TEMPERATURE = 1e-6
"""Lower temperatures are treated as 0, because dividing by them would overflow."""
BLOCK = 256
"""Number of samples whose random numbers are generated at once."""
MAX_MATCHES = 256
"""Maximum number of earlier occurrences of the last id that are examined. It bounds the cost per token."""
DRY_MAX_LENGTH = 50
"""Maximum length of a repetition that DRY measures. Longer repetitions get the same penalty."""


class History:
    """The ids of a prompt and of its answer so far, and the positions of each id."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids: list[int] = []
        self.positions: dict[int, list[int]] = {}
        for token in ids:
            self.append(token)

    def append(self, token: int) -> None:
        """Append an id."""
        self.positions.setdefault(token, []).append(len(self.ids))
        self.ids.append(token)

    def truncate(self, length: int) -> None:
        """Remove all ids from position `length` on."""
        while len(self.ids) > length:
            self.positions[self.ids.pop()].pop()

    def continuation(self, matched: int, count: int) -> list[int]:
        """Return up to `count` ids that followed the latest earlier copy of the last `matched` ids."""
        ids = self.ids
        if not ids:
            return []
        recent = ids[-matched:]
        for position in reversed(self.positions[ids[-1]][-1 - MAX_MATCHES : -1]):
            if ids[max(position + 1 - matched, 0) : position + 1] == recent:
                return ids[position + 1 : position + 1 + count]
        return []


@dataclasses.dataclass(frozen=True, slots=True)
class SamplingParams:
    """The sampling options that a captured CUDA graph depends on."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    repetition_range: int
    xtc_probability: float
    xtc_threshold: float

    @classmethod
    def from_options(cls, options: GenerationOptions) -> "SamplingParams":
        """Return the parameters from `options`. At temperature 0, only the repetition penalty applies."""
        if options.temperature < MIN_TEMPERATURE:
            return cls(0, 0, 1, 0, options.repetition_penalty, options.repetition_range, 0, 0)
        return cls(*(getattr(options, field.name) for field in dataclasses.fields(cls)))

    def penalized_count(self, length: int) -> int:
        """Return how many of the last ids the repetition penalty covers in a context of `length` ids."""
        return 0 if self.repetition_penalty == 1 else min(self.repetition_range or length, length)

    def penalize(self, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits (vocabulary) with the repetition penalty applied to `ids`.

        Source: the CTRL paper (arXiv 1909.05858). An id that occurs more than once is penalized once.
        """
        penalty = float(self.repetition_penalty)
        scores = logits.index_select(0, ids)
        return logits.scatter(0, ids, torch.where(scores < 0, scores * penalty, scores / penalty))

    def sample(self, logits: torch.Tensor, random: torch.Tensor) -> torch.Tensor:
        """Return the sampled id, a 0-d tensor. `logits`, (vocabulary), may contain -inf.

        `random` is two numbers in [0, 1): the first selects the id, the second decides whether XTC applies.
        """
        if self.temperature < MIN_TEMPERATURE:
            return logits.argmax()
        # After top-k, the other samplers process only the remaining ids instead of the whole vocabulary.
        size = logits.shape[0]
        top_k = min(self.top_k or size, size)
        logits, ids = logits.topk(top_k) if top_k < size else (logits, None)
        if self.top_p < 1:
            logits = TopPLogitsWarper(max(float(self.top_p), 1e-9))(None, logits[None])[0]
        if self.min_p > 0:
            logits = MinPLogitsWarper(float(self.min_p))(None, logits[None])[0]
        if self.xtc_probability:
            logits = self._apply_xtc(logits, random[1])
        cumulative = (logits / self.temperature).softmax(-1).cumsum(-1)
        # An id with probability 0 does not increase the sum, so it is never the first above the threshold.
        index = (cumulative <= random[0] * cumulative[-1]).sum().clamp(max=top_k - 1)
        return index if ids is None else ids.index_select(0, index[None])[0]

    def _apply_xtc(self, logits: torch.Tensor, random: torch.Tensor) -> torch.Tensor:
        """With probability `xtc_probability`, remove all tokens above the threshold but the least likely.

        Source: the XTC sampler of text-generation-webui (oobabooga/text-generation-webui, pull request 6335).
        """
        probabilities = logits.softmax(-1)
        likely = (probabilities >= self.xtc_threshold) & (probabilities > 0)
        least = probabilities.masked_fill(~likely, torch.inf).argmin()
        removed = likely.index_fill(0, least[None], value=False) & (random < self.xtc_probability)
        return logits.masked_fill(removed, -torch.inf)


class RandomNumbers:
    """Two random numbers in [0, 1) per sample. A seed gives the same numbers on every device."""

    def __init__(self, seed: int | None, device: torch.device) -> None:
        self._generator = torch.Generator()
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)
        self._device = device
        self._blocks: list[torch.Tensor] = []

    def block(self, number: int) -> torch.Tensor:
        """Return the numbers for BLOCK samples, (BLOCK, 2), from sample `number * BLOCK` on."""
        while len(self._blocks) <= number:
            self._blocks.append(torch.rand((BLOCK, 2), generator=self._generator).to(self._device))
        return self._blocks[number]

    def at(self, index: int) -> torch.Tensor:
        """Return the two numbers for a sample."""
        return self.block(index // BLOCK)[index % BLOCK]


class Sampler:
    """Samples token ids. The same seed gives the same ids for the same logits.

    DRY ends a repeated sequence at an id in `breakers`. Ids in `never` are never sampled. `count` is the
    number of samples so far.
    """

    def __init__(
        self,
        options: GenerationOptions,
        device: torch.device,
        breakers: Collection[int] = (),
        never: Collection[int] = (),
    ) -> None:
        self.params = SamplingParams.from_options(options)
        self.random = RandomNumbers(options.seed, device)
        self.count = 0
        self.needs_host = bool(options.dry_multiplier or options.ban)
        """Whether sampling uses DRY or banned phrases, which cannot run in a CUDA graph."""
        self._options = options
        self._breakers = breakers
        self._never = torch.tensor(sorted(never), dtype=torch.long, device=device)

    @torch.inference_mode()
    def sample(self, logits: torch.Tensor, history: History, banned: Collection[int] = ()) -> int:
        """Return the next id, which is not in `banned`. `logits` is a float32 tensor (vocabulary).

        Raises NonFiniteLogits if the logits are not finite, and HermesError if every id is banned.
        """
        if not bool(torch.isfinite(logits).all()):
            raise NonFiniteLogits
        length = len(history.ids)
        recent = history.ids[length - self.params.penalized_count(length) :]
        logits = self.params.penalize(logits, torch.tensor(recent, dtype=torch.long, device=logits.device))
        if self._options.dry_multiplier:
            logits = self._apply_dry(logits, history)
        if banned or len(self._never):
            logits = self._remove_banned(logits, banned)
        random = self.random.at(self.count)
        self.count += 1
        return int(self.params.sample(logits, random))

    def _remove_banned(self, logits: torch.Tensor, banned: Collection[int]) -> torch.Tensor:
        logits = logits.index_fill(0, self._never, -torch.inf)
        logits[list(banned)] = -torch.inf
        if not bool(torch.isfinite(logits).any()):
            raise HermesError("'ban' excludes every possible next token", "ban fewer phrases: see /set ban")
        return logits

    def _apply_dry(self, logits: torch.Tensor, history: History) -> torch.Tensor:
        """Penalize ids that would continue a repeated sequence. Longer sequences are penalized more.

        Source: the DRY sampler of text-generation-webui (oobabooga/text-generation-webui, pull request 5677).
        """
        options, penalties = self._options, dict[int, float]()
        for token, length in self._repeats(history).items():
            if length >= options.dry_allowed_length and token not in self._breakers:
                exponent = length - options.dry_allowed_length
                penalties[token] = options.dry_multiplier * options.dry_base**exponent
        if not penalties:
            return logits
        tokens = torch.tensor(list(penalties), device=logits.device)
        values = torch.tensor(list(penalties.values()), device=logits.device, dtype=logits.dtype)
        return logits.index_add(0, tokens, -values)

    def _repeats(self, history: History) -> dict[int, int]:
        """Map each id that followed an earlier copy of the last ids to the length of the longest copy."""
        longest: dict[int, int] = {}
        ids = history.ids
        last = len(ids) - 1
        if last < 0 or ids[last] in self._breakers:
            return longest
        for position in history.positions[ids[last]][-1 - MAX_MATCHES : -1]:
            length = 1
            while (
                length < min(DRY_MAX_LENGTH, position + 1)
                and ids[position - length] == ids[last - length]
                and ids[last - length] not in self._breakers
            ):
                length += 1
            following = ids[position + 1]
            longest[following] = max(length, longest.get(following, 0))
        return longest
