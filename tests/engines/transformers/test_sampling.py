"""Tests of the sampler against transformers' own processors, and of DRY and XTC by hand."""

import math
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation import logits_process

from hermes_cli.engines.transformers.sampling import MAX_MATCHES, History, Sampler
from hermes_cli.errors import HermesError
from hermes_cli.options import GenerationOptions
from tests.engines.transformers.conftest import CPU

LOGITS = torch.randn(500, generator=torch.Generator().manual_seed(3)) * 3
PLAIN = GenerationOptions(temperature=0, repetition_penalty=1)


def reference(options: GenerationOptions, seen: list[int], logits: torch.Tensor) -> torch.Tensor:
    """Return the probabilities that transformers' processors give, over the whole vocabulary."""
    library: Any = logits_process
    steps = [
        library.RepetitionPenaltyLogitsProcessor(options.repetition_penalty),
        library.TopKLogitsWarper(options.top_k),
        library.TopPLogitsWarper(options.top_p),
        library.MinPLogitsWarper(options.min_p),
        library.TemperatureLogitsWarper(float(options.temperature)),
    ]
    ids, scores = torch.tensor([seen]), logits.unsqueeze(0)
    for step in steps:
        scores = step(ids, scores)
    probabilities: torch.Tensor = scores.softmax(-1)[0]
    return probabilities


@pytest.mark.parametrize("top_k", [12, 500])
def test_frequencies_match_the_probabilities_of_transformers(top_k: int) -> None:
    """The frequencies of 4,000 draws are within 5 standard deviations of transformers' probabilities."""
    options = GenerationOptions(
        temperature=0.9, top_k=top_k, top_p=0.9, min_p=0.02, repetition_penalty=1.3, seed=5
    )
    seen = [int(LOGITS.argmax()), 4, 4, 9]
    expected = reference(options, seen, LOGITS)
    sampler, history = Sampler(options, CPU), History(seen)
    draws = 4000
    counts = Counter(sampler.sample(LOGITS, history) for _ in range(draws))
    assert set(counts) <= set(expected.nonzero().flatten().tolist())
    for token, probability in enumerate(expected.tolist()):
        deviation = math.sqrt(probability * (1 - probability) / draws)
        assert abs(counts[token] / draws - probability) <= 5 * deviation + 1e-9


def test_greedy_takes_the_likeliest_id_after_the_penalty() -> None:
    """Temperature 0 chooses the id with the largest logit, after the repetition penalty."""
    first, second = LOGITS.topk(2).indices.tolist()
    assert Sampler(PLAIN, CPU).sample(LOGITS, History([])) == first
    harsh = GenerationOptions(temperature=0, repetition_penalty=5)
    assert Sampler(harsh, CPU).sample(LOGITS, History([first])) == second


def test_the_same_seed_draws_the_same_ids() -> None:
    """Two samplers with the same seed draw the same ids."""
    options = GenerationOptions(seed=11, temperature=2)
    one, two = (Sampler(options, CPU) for _ in range(2))
    drawn = [[s.sample(LOGITS, History([])) for _ in range(50)] for s in (one, two)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 5


def test_a_banned_id_is_never_chosen() -> None:
    """A banned id is not chosen: the second most likely one is."""
    first, second = LOGITS.topk(2).indices.tolist()
    assert Sampler(PLAIN, CPU).sample(LOGITS, History([]), {first}) == second


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_nan_and_infinite_logits_raise_an_error(broken: float) -> None:
    """A NaN or infinite logit raises an error with a hint at `--precision`."""
    logits = LOGITS.clone()
    logits[3] = broken
    with pytest.raises(HermesError, match="logits that are not finite") as caught:
        Sampler(PLAIN, CPU).sample(logits, History([]))
    assert "--precision" in caught.value.hint


def test_dry_penalizes_the_continuation_of_a_repeat() -> None:
    """By hand: after 1 2 3 … 1 2 3, id 4 continues a repeat of three: its logit is 2 * 1.5^(3-2) = 3 less."""
    options = GenerationOptions(
        temperature=0, repetition_penalty=1, dry_multiplier=2, dry_base=1.5, dry_allowed_length=2
    )
    logits = torch.zeros(10)
    logits[4], logits[5] = 2.9, 0.0
    history = History([1, 2, 3, 4, 9, 1, 2, 3])
    assert Sampler(options, CPU).sample(logits, history) != 4
    logits[4] = 3.1
    assert Sampler(options, CPU).sample(logits, history) == 4


def test_dry_allows_short_repeats_and_stops_at_a_breaker() -> None:
    """DRY leaves repeats under the allowed length, and those that a breaker interrupts, unpenalized."""
    options = GenerationOptions(temperature=0, repetition_penalty=1, dry_multiplier=50, dry_allowed_length=3)
    logits = torch.zeros(10)
    logits[4] = 1
    assert Sampler(options, CPU).sample(logits, History([2, 3, 4, 9, 2, 3])) == 4
    long = History([1, 2, 3, 4, 9, 1, 2, 3])
    assert Sampler(options, CPU).sample(logits, long) != 4
    assert Sampler(options, CPU, breakers={2}).sample(logits, long) == 4


def test_xtc_keeps_only_the_least_likely_id_above_the_threshold() -> None:
    """By hand: 0.5, 0.3, 0.15 are above the threshold of 0.1; XTC removes the first two."""
    options = GenerationOptions(
        temperature=1, top_k=0, top_p=1, min_p=0, repetition_penalty=1, xtc_probability=1, seed=1
    )
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    sampler = Sampler(options, CPU)
    assert {sampler.sample(logits, History([])) for _ in range(300)} == {2, 3}


def test_xtc_applies_with_its_probability() -> None:
    """XTC keeps a lone id above the threshold, and draws both of two equally likely ids."""
    options = GenerationOptions(
        temperature=1, top_k=0, top_p=1, min_p=0, repetition_penalty=1, xtc_probability=0.5, seed=1
    )
    logits = torch.tensor([0.98, 0.01, 0.01]).log()  # the only one above the threshold: it is kept
    sampler = Sampler(options, CPU)
    assert Counter(sampler.sample(logits, History([])) for _ in range(200))[0] > 180
    two = torch.tensor([0.5, 0.5]).log()
    share = Counter(sampler.sample(two, History([])) for _ in range(2000))
    assert min(share.values()) > 200


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=60))
def test_the_history_follows_appends_and_truncations(steps: list[tuple[bool, int]]) -> None:
    """After any sequence of appends and truncations, the history's ids, counts and places are correct."""
    history, plain = History([]), list[int]()
    for truncates, number in steps:
        if truncates:
            del plain[max(0, len(plain) - number) :]
            history.truncate(len(plain))
        else:
            plain.append(number)
            history.append(number)
        assert history.ids == plain
        assert all(history.positions[t] == [i for i, p in enumerate(plain) if p == t] for t in plain)


@pytest.mark.parametrize(("counted", "expected"), [(1, 1), (2, 2), (3, 3), (4, 3), (500, 3), (0, 3)])
def test_the_penalty_ignores_ids_before_its_range(counted: int, expected: int) -> None:
    """By hand: the last ids are the three likeliest, so the likeliest id before the range is chosen."""
    ids = LOGITS.topk(4).indices.tolist()
    options = GenerationOptions(temperature=0, repetition_penalty=5, repetition_range=counted)
    seen = [ids[2], ids[1], ids[0]]
    assert Sampler(options, CPU).sample(LOGITS, History(seen)) == ids[expected]
    library: Any = logits_process.RepetitionPenaltyLogitsProcessor
    scores = library(5.0)(torch.tensor([seen[-counted:]]), LOGITS[None])
    assert int(scores.argmax()) == ids[expected]


def test_an_id_before_the_range_counts_again_after_a_truncation() -> None:
    """An id that left the range is penalized again if the ids after it are removed."""
    first, second, third = LOGITS.topk(3).indices.tolist()
    options = GenerationOptions(temperature=0, repetition_penalty=5, repetition_range=2)
    sampler, history = Sampler(options, CPU), History([second, first, third])
    assert sampler.sample(LOGITS, history) == second
    history.truncate(2)
    assert sampler.sample(LOGITS, history) == third


def test_the_penalty_ignores_ids_that_were_removed() -> None:
    """The penalty no longer applies to ids that were removed."""
    options = GenerationOptions(temperature=0, repetition_penalty=5)
    first, second, third = LOGITS.topk(3).indices.tolist()
    sampler, history = Sampler(options, CPU), History([third, first])
    assert sampler.sample(LOGITS, history) == second
    history.truncate(1)
    history.append(second)
    assert sampler.sample(LOGITS, history) == first


def test_dry_compares_with_a_limited_number_of_earlier_places() -> None:
    """DRY compares with at most MAX_MATCHES earlier places of the last id."""
    options = GenerationOptions(temperature=0, repetition_penalty=1, dry_multiplier=50)
    logits = torch.zeros(10)
    logits[4] = 1
    repeated = [1, 2, 3, 4, 9, 1, 2, 3]
    assert Sampler(options, CPU).sample(logits, History(repeated)) != 4
    between = [5, 3] * MAX_MATCHES  # 3 occurs that often since, and never after 1 2
    assert Sampler(options, CPU).sample(logits, History([*repeated[:5], *between, 9, 1, 2, 3])) == 4


@pytest.mark.parametrize(
    ("ids", "matched", "count", "continuation"),
    [
        ([1, 2, 3, 4, 5, 1, 2, 3], 3, 8, [4, 5, 1, 2, 3]),
        ([1, 2, 3, 4, 5, 1, 2, 3], 3, 2, [4, 5]),
        ([1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3], 3, 2, [5, 1]),  # the latest copy
        ([7, 2, 3, 4, 5, 1, 2, 3], 3, 8, []),
        ([2, 3, 4, 1, 2, 3], 3, 8, []),  # the copy would begin before the first id
        ([5, 5, 5, 5], 3, 8, [5]),
        ([5, 5, 5], 3, 8, []),
        ([5], 3, 8, []),
        ([], 3, 8, []),
    ],
)
def test_the_continuation_follows_the_latest_copy_of_the_last_ids(
    ids: list[int], matched: int, count: int, continuation: list[int]
) -> None:
    """Only a whole copy counts, and only ids that are there are returned."""
    assert History(ids).continuation(matched, count) == continuation


def test_xtc_with_a_threshold_of_zero_keeps_an_id_of_top_p() -> None:
    """With a threshold of 0 XTC keeps an id that top-p left in."""
    options = GenerationOptions(
        temperature=1, top_k=0, top_p=0.6, min_p=0, repetition_penalty=1, xtc_probability=1, xtc_threshold=0
    )
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    sampler = Sampler(options, CPU)
    assert {sampler.sample(logits, History([])) for _ in range(50)} == {1}  # top-p leaves the first two


@pytest.mark.parametrize("temperature", [1e-7, 1e-30, 5e-324])
def test_a_temperature_close_to_zero_is_greedy(temperature: float) -> None:
    """A temperature close to 0 chooses the id with the largest logit."""
    options = GenerationOptions(temperature=temperature, repetition_penalty=1)
    assert Sampler(options, CPU).sample(LOGITS, History([])) == int(LOGITS.argmax())


def test_an_error_is_raised_if_every_id_is_banned() -> None:
    """If every id is banned, the sampler raises an error."""
    with pytest.raises(HermesError, match="excludes every"):
        Sampler(PLAIN, CPU, never=range(500)).sample(LOGITS, History([]))
