"""Tests of the line with an answer's tokens and times."""

from hermes_cli.chat.statistics import statistics
from hermes_cli.engines.base import Completion, FinishReason, Timings, Usage


def test_both_rates_and_the_cached_tokens_are_shown() -> None:
    """By hand: 30 - 10 tokens in 2 s; 41 tokens, of which the first came with the prefill, in 4 s."""
    done = Completion(FinishReason.STOP, Usage(30, 41, 10), Timings(2.0, 4.0))
    assert statistics(done) == (
        "prefill 20 tokens in 2.00 s, 10.0 tok/s, 10 more from the cache · "
        "decode 40 tokens in 4.00 s, 10.0 tok/s"
    )


def test_an_answer_without_tokens_has_no_rates() -> None:
    """A completion without tokens has no rates."""
    assert (
        statistics(Completion(FinishReason.STOP)) == "prefill 0 tokens in 0.00 s · decode 0 tokens in 0.00 s"
    )


def test_a_cancelled_prefill_has_no_rate() -> None:
    """A prefill that was cancelled has a time and no rate: only 256 of its 5,029 tokens were read."""
    stopped = Completion(FinishReason.CANCELLED, Usage(5164, 0, 135), Timings(11.1, 0))
    assert statistics(stopped) == "stopped before the first token, after 11.10 s"


def test_the_reason_for_decoding_without_cuda_graphs_is_shown() -> None:
    """The line ends with the reason for decoding without CUDA graphs."""
    done = Completion(FinishReason.STOP, Usage(3, 2, 0), Timings(1, 1), None, "it cannot be recorded")
    assert statistics(done).endswith("1.0 tok/s, without CUDA graphs: it cannot be recorded")
