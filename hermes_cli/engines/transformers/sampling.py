"""The choice of one token after the other, with what needs to know what was said: seen ids, DRY, bans.

The order is that of `options.py`. It knows ids and numbers, and what the tokens spell only as far as DRY's
sequence breakers need it.
"""

from collections.abc import Collection, Sequence

import torch

from hermes_cli.engines.transformers.choice import Choice, Draws
from hermes_cli.engines.transformers.faults import NotFinite
from hermes_cli.errors import HermesError
from hermes_cli.options import GenerationOptions

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
        self.choice = Choice.by(options)
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

        Raises NotFinite where the logits are no numbers, and HermesError where everything is banned.
        """
        if not bool(torch.isfinite(logits).all()):
            raise NotFinite
        scores = self.choice.penalised(logits, self.seen(history, len(logits)))
        if self._options.dry_multiplier:
            scores = self._dry(scores, history)
        if banned or len(self._never):
            scores = self._without(scores, banned)
        draw = self.draws.at(self.made)
        self.made += 1
        return int(self.choice.chosen(scores, draw))

    @property
    def needs_words(self) -> bool:
        """Whether more than logits and seen ids decide: DRY, or what is banned."""
        return bool(self._options.dry_multiplier or self._options.ban)

    @torch.inference_mode()
    def seen(self, history: History, size: int) -> torch.Tensor:
        """Return which ids of a vocabulary of that size were said so far, a mask."""
        said, marked = history.distinct, len(self._marked)
        if self._seen.shape[0] != size or self._marked != said[:marked]:
            self._seen = torch.zeros(size, dtype=torch.bool, device=self._seen.device)
            self._marked, marked = [], 0  # it is the first time, or something was taken back
        if new := said[marked:]:
            self._seen[torch.tensor(new, device=self._seen.device)] = True
            self._marked += new
        return self._seen

    def _without(self, scores: torch.Tensor, banned: Collection[int]) -> torch.Tensor:
        """Take `banned`, and what is never chosen, out of the choice."""
        scores = scores.index_fill(0, self._never, -torch.inf)
        scores[list(banned)] = -torch.inf
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
        return scores.index_add(0, tokens, -discount)
