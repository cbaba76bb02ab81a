"""From logits to the next token: transformers' own processors, and DRY and XTC, which it lacks.

The order is that of `options.py`. It knows ids and numbers, and what the tokens spell only as far as DRY's
sequence breakers need it.
"""

from collections.abc import Collection, Sequence

import torch
from transformers.generation.logits_process import (
    LogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from hermes_cli.engines.transformers.faults import not_finite
from hermes_cli.errors import HermesError
from hermes_cli.options import GenerationOptions

COLDEST = 1e-6
"""A temperature below it is 0: dividing by it leaves the range of the numbers."""
DRY_PLACES = 256
"""How many earlier places of the last id are looked at, the latest first: a token's cost stays bounded."""
DRY_LONGEST = 50
"""Ids that a repeated sequence is followed back; what is longer is as strongly discouraged."""


class History:
    """The ids of a prompt and its answer so far, and where each of them stands."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids: list[int] = []
        self.places: dict[int, list[int]] = {}
        self.distinct: list[int] = []
        for token in ids:
            self.append(token)

    def append(self, token: int) -> None:
        """Add the next id."""
        places = self.places.setdefault(token, [])
        if not places:
            self.distinct.append(token)
        places.append(len(self.ids))
        self.ids.append(token)

    def truncate(self, length: int) -> None:
        """Take back all ids from `length` on."""
        while len(self.ids) > length:
            places = self.places[self.ids.pop()]
            places.pop()
            if not places:
                self.distinct.pop()  # an id's first place is behind those of all that came before it


class Sampler:
    """Chooses the next id by the options. The same seed chooses the same ids from the same logits.

    `breakers` are the ids that end a repeated sequence for DRY, `never` those that are never chosen.
    """

    def __init__(
        self,
        options: GenerationOptions,
        device: torch.device,
        breakers: Collection[int] = (),
        never: Collection[int] = (),
    ) -> None:
        self._options = options
        self._breakers = breakers
        self._never = torch.tensor(sorted(never), dtype=torch.long, device=device)
        self._seen = torch.empty((1, 0), dtype=torch.long, device=device)
        self._random = torch.Generator(device)
        if options.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(options.seed)
        self._penalty = None
        if options.repetition_penalty != 1:
            self._penalty = RepetitionPenaltyLogitsProcessor(float(options.repetition_penalty))
        self._warpers = _warpers(options)
        self._temperature = TemperatureLogitsWarper(float(options.temperature or 1))

    def choose(self, logits: torch.Tensor, history: History, banned: Collection[int] = ()) -> int:
        """Return the next id, none of `banned`. `logits` are (vocabulary), in float32.

        Raises HermesError where the logits are not finite.
        """
        if not bool(torch.isfinite(logits).all()):
            raise not_finite()
        scores = logits.unsqueeze(0)
        if self._penalty is not None:
            scores = self._penalty(self._seen_ids(history), scores)
        if self._options.dry_multiplier:
            scores = self._dry(scores, history)
        if banned or len(self._never):
            scores = self._without(scores, banned)
        if self._options.temperature < COLDEST:
            return int(scores.argmax())
        # What top-k leaves is a short list: the rest works on that instead of the whole vocabulary.
        kept = min(self._options.top_k or scores.shape[1], scores.shape[1])
        scores, ids = scores.topk(kept) if kept < scores.shape[1] else (scores, None)
        for warper in self._warpers:
            scores = warper(self._seen, scores)
        if self._options.xtc_probability:
            scores = self._xtc(scores)
        scores = self._temperature(self._seen, scores)
        chosen = int(torch.multinomial(scores.softmax(-1), 1, generator=self._random))
        return chosen if ids is None else int(ids[0, chosen])

    def _seen_ids(self, history: History) -> torch.Tensor:
        """Return the distinct ids so far, (1, ids): saying one twice is penalised as saying it once is."""
        count = len(history.distinct)
        size = self._seen.shape[1]
        if count < size or (size and self._seen[0, -1] != history.distinct[size - 1]):
            size = 0  # an answer was taken back
        new = torch.tensor([history.distinct[size:]], dtype=torch.long, device=self._seen.device)
        self._seen = torch.cat([self._seen[:, :size], new], dim=1) if new.numel() else self._seen
        return self._seen

    def _without(self, scores: torch.Tensor, banned: Collection[int]) -> torch.Tensor:
        """Take `banned`, and what is never chosen, out of the choice."""
        scores = scores.index_fill(1, self._never, -torch.inf)
        scores[0, list(banned)] = -torch.inf
        if not bool(torch.isfinite(scores).any()):
            raise HermesError("every token that could come next is banned", "ban less: see /set ban")
        return scores

    def _dry(self, scores: torch.Tensor, history: History) -> torch.Tensor:
        """Make what would go on repeating an earlier sequence less likely, the more the longer it is.

        Source: the DRY sampler of text-generation-webui (oobabooga/text-generation-webui, pull request 5677).
        """
        options = self._options
        longest: dict[int, int] = {}
        ids = history.ids
        last = len(ids) - 1
        if last < 0 or ids[last] in self._breakers:
            return scores
        for place in history.places[ids[last]][-1 - DRY_PLACES : -1]:
            length = 1
            while (
                length < min(DRY_LONGEST, place + 1)
                and ids[place - length] == ids[last - length]
                and ids[last - length] not in self._breakers
            ):
                length += 1
            following = ids[place + 1]
            longest[following] = max(length, longest.get(following, 0))
        penalties = {
            token: options.dry_multiplier * options.dry_base ** (length - options.dry_allowed_length)
            for token, length in longest.items()
            if length >= options.dry_allowed_length and token not in self._breakers
        }
        if not penalties:
            return scores
        tokens = torch.tensor(list(penalties), device=scores.device)
        discount = torch.tensor(list(penalties.values()), device=scores.device, dtype=scores.dtype)
        return scores.index_add(1, tokens, -discount.unsqueeze(0))

    def _xtc(self, scores: torch.Tensor) -> torch.Tensor:
        """By chance, leave out all but the least likely of the tokens above the threshold.

        Source: the XTC sampler of text-generation-webui (oobabooga/text-generation-webui, pull request 6335).
        """
        chance = torch.rand(1, generator=self._random, device=scores.device)
        if float(chance) >= self._options.xtc_probability:
            return scores
        probabilities = scores.softmax(-1)
        likely = (probabilities >= self._options.xtc_threshold) & (probabilities > 0)
        if int(likely.sum()) < 2:  # noqa: PLR2004 - of one token none is left out
            return scores
        least = probabilities.masked_fill(~likely, torch.inf).argmin()
        likely[0, least] = False
        return scores.masked_fill(likely, -torch.inf)


def _warpers(options: GenerationOptions) -> list[LogitsProcessor]:
    warpers: list[LogitsProcessor] = []
    if options.top_p < 1:
        warpers.append(TopPLogitsWarper(max(float(options.top_p), 1e-9)))
    if options.min_p > 0:
        warpers.append(MinPLogitsWarper(float(options.min_p)))
    return warpers
