"""Sampling with the parts that depend on the previous ids: repetition penalty, DRY and banned ids.

The samplers run in the order of `options.py`.
"""

from collections.abc import Collection, Sequence

import torch

from hermes_cli.engines.transformers.device_sampling import Draws, SamplingStep
from hermes_cli.engines.transformers.torch_errors import NotFinite
from hermes_cli.errors import HermesError
from hermes_cli.options import GenerationOptions

DRY_PLACES = 256
"""Number of most recent occurrences of the last id that DRY examines, which bounds the cost of a token."""
DRY_LONGEST = 50
"""Longest repeated sequence that DRY measures; a longer one gets the same penalty."""


class History:
    """The ids of a prompt and its answer so far, with the positions of each id."""

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
        """Remove all ids from position `length` on."""
        while len(self.ids) > length:
            places = self.places[self.ids.pop()]
            places.pop()
            if not places:
                self.distinct.pop()  # `distinct` is in the order of first occurrence


class Sampler:
    """A sampler of token ids. The same seed chooses the same ids from the same logits.

    `breakers` are the ids that end a repeated sequence for DRY, `never` those that are never chosen. `made`
    counts the choices.
    """

    def __init__(
        self,
        options: GenerationOptions,
        device: torch.device,
        breakers: Collection[int] = (),
        never: Collection[int] = (),
    ) -> None:
        self.choice = SamplingStep.by(options)
        self.draws = Draws(options.seed, device)
        self.made = 0
        self._options = options
        self._breakers = breakers
        self._never = torch.tensor(sorted(never), dtype=torch.long, device=device)
        self._seen = torch.empty(0, dtype=torch.bool, device=device)
        self._marked: list[int] = []

    @torch.inference_mode()
    def choose(self, logits: torch.Tensor, history: History, banned: Collection[int] = ()) -> int:
        """Return the next id, none of `banned`. `logits` are (vocabulary), in float32.

        Raises NotFinite if the logits are not finite numbers, and HermesError if every id is banned.
        """
        if not bool(torch.isfinite(logits).all()):
            raise NotFinite
        scores = self.choice.penalized(logits, self.seen(history, len(logits)))
        if self._options.dry_multiplier:
            scores = self._dry(scores, history)
        if banned or len(self._never):
            scores = self._without(scores, banned)
        draw = self.draws.at(self.made)
        self.made += 1
        return int(self.choice.chosen(scores, draw))

    @property
    def needs_words(self) -> bool:
        """Whether the choice depends on more than logits and seen ids: on DRY or banned phrases."""
        return bool(self._options.dry_multiplier or self._options.ban)

    @torch.inference_mode()
    def seen(self, history: History, size: int) -> torch.Tensor:
        """Return a mask, (size), of the ids that occurred so far in prompt and answer."""
        said, marked = history.distinct, len(self._marked)
        if self._seen.shape[0] != size or self._marked != said[:marked]:
            self._seen = torch.zeros(size, dtype=torch.bool, device=self._seen.device)
            self._marked, marked = [], 0  # the first call, or ids were removed
        if new := said[marked:]:
            self._seen[torch.tensor(new, device=self._seen.device)] = True
            self._marked += new
        return self._seen

    def _without(self, scores: torch.Tensor, banned: Collection[int]) -> torch.Tensor:
        """Return the scores with `banned` and the ids that are never chosen set to -inf."""
        scores = scores.index_fill(0, self._never, -torch.inf)
        scores[list(banned)] = -torch.inf
        if not bool(torch.isfinite(scores).any()):
            raise HermesError("every token that could come next is banned", "ban less: see /set ban")
        return scores

    def _dry(self, scores: torch.Tensor, history: History) -> torch.Tensor:
        """Penalize ids that would continue a repeated sequence, more strongly for a longer one.

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
        return scores.index_add(0, tokens, -discount)
