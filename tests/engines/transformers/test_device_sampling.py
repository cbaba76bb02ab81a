"""Tests of the choice of an id, with tensors alone. Its frequencies are tested in test_sampling.py."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.engines.transformers.sampling import BLOCK, RandomNumbers, SamplingParams
from hermes_cli.options import GenerationOptions
from tests.engines.transformers.conftest import CPU

OPEN = GenerationOptions(temperature=1, top_k=0, top_p=1, min_p=0, repetition_penalty=1)
LAST_DRAW = 1 - 2**-24
"""The largest number below 1 that float32 holds: torch.rand returns none larger."""


def chosen(options: GenerationOptions, probabilities: list[float], draw: float, chance: float = 0) -> int:
    """Return the id that is chosen if the ids have these probabilities."""
    scores = torch.tensor(probabilities).log()
    return int(SamplingParams.from_options(options).sample(scores, torch.tensor([draw, chance])))


@pytest.mark.parametrize(
    ("draw", "token"), [(0, 1), (0.19, 1), (0.21, 2), (0.69, 2), (0.71, 4), (LAST_DRAW, 4)]
)
def test_a_draw_selects_an_id_by_its_probability(draw: float, token: int) -> None:
    """By hand: 0, 0.2, 0.5, 0, 0.3, 0. Ids of probability 0 are at both ends and in between."""
    assert chosen(OPEN, [0, 0.2, 0.5, 0, 0.3, 0], draw) == token


OPTIONS = st.builds(
    GenerationOptions,
    temperature=st.floats(0, 5),
    top_k=st.integers(0, 12),
    top_p=st.floats(0, 1),
    min_p=st.floats(0, 1),
    xtc_probability=st.floats(0, 1),
    xtc_threshold=st.floats(0, 1),
)
SCORES = st.lists(st.one_of(st.just(-math.inf), st.floats(-60, 60, width=32)), min_size=1, max_size=10)
UNIT = st.one_of(st.just(0.0), st.just(LAST_DRAW), st.floats(0, LAST_DRAW, width=32))


@given(OPTIONS, SCORES.filter(lambda scores: max(scores) > -math.inf), UNIT, UNIT)
def test_an_id_of_probability_zero_is_never_chosen(
    options: GenerationOptions, scores: list[float], draw: float, chance: float
) -> None:
    """An id with a logit of minus infinity is never chosen, whatever the options and the draw."""
    token = int(
        SamplingParams.from_options(options).sample(torch.tensor(scores), torch.tensor([draw, chance]))
    )
    assert scores[token] > -math.inf


def test_the_repetition_penalty_lowers_the_logits_of_seen_ids() -> None:
    """By hand: with a penalty of 2 a logit of 3 becomes 1.5, and one of -3 becomes -6, even if seen twice."""
    params = SamplingParams.from_options(GenerationOptions(repetition_penalty=2))
    penalized = params.penalize(torch.tensor([3.0, -3.0, 3.0, -3.0]), torch.tensor([1, 0, 1]))
    assert penalized.tolist() == [1.5, -6, 3, -3]


def test_all_greedy_options_have_equal_sampling_params() -> None:
    """Greedy parameters are equal whatever top-p and seed are, so that a GPU captures one step for all."""
    greedy = {
        SamplingParams.from_options(GenerationOptions(temperature=0, top_p=p, seed=s))
        for p, s in [(0.1, 1), (0.9, 2)]
    }
    assert len(greedy) == 1


def test_random_numbers_depend_on_the_seed_and_the_position() -> None:
    """A random number depends on the seed and its position only, not on the order of the draws."""
    late, early = RandomNumbers(7, CPU), RandomNumbers(7, CPU)
    last = late.at(3 * BLOCK + 5)
    for place in (0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 5):
        assert torch.equal(early.at(place), late.at(place))
        assert torch.equal(early.at(place), early.block(place // BLOCK)[place % BLOCK])
    assert torch.equal(last, early.at(3 * BLOCK + 5))
    assert not torch.equal(RandomNumbers(8, CPU).block(0), early.block(0))
    assert not torch.equal(RandomNumbers(None, CPU).block(0), RandomNumbers(None, CPU).block(0))
    whole = torch.cat([early.block(number) for number in range(4)])
    assert whole.min() >= 0
    assert whole.max() < 1
