"""The line that says what an answer cost."""

from hermes_cli.chat.statistics import statistics
from hermes_cli.engines.base import Completion, FinishReason, Timings, Usage


def test_both_rates_and_what_was_held() -> None:
    """By hand: 30 - 10 tokens in 2 s; 41 tokens, of which the first came with the prefill, in 4 s."""
    done = Completion(FinishReason.STOP, Usage(30, 41, 10), Timings(2.0, 4.0))
    assert statistics(done) == (
        "prefill 20 tokens in 2.00 s, 10.0 tok/s, 10 more were held · decode 40 tokens in 4.00 s, 10.0 tok/s"
    )


def test_nothing_said_has_no_rate() -> None:
    """A division by zero would end the chat."""
    assert statistics(Completion(FinishReason.CANCELLED)) == (
        "prefill 0 tokens in 0.00 s · decode 0 tokens in 0.00 s"
    )
