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
    assert (
        statistics(Completion(FinishReason.STOP)) == "prefill 0 tokens in 0.00 s · decode 0 tokens in 0.00 s"
    )


def test_a_prompt_that_was_not_read_to_its_end_has_none() -> None:
    """5,029 tokens would have been read in the 11 s in which 256 were."""
    stopped = Completion(FinishReason.CANCELLED, Usage(5164, 0, 135), Timings(11.1, 0))
    assert statistics(stopped) == "stopped before the first token, after 11.10 s"


def test_why_it_was_slower_is_said() -> None:
    """Nobody would know that the card could do better."""
    done = Completion(FinishReason.STOP, Usage(3, 2, 0), Timings(1, 1), None, "it cannot be recorded")
    assert statistics(done).endswith("1.0 tok/s, token by token: it cannot be recorded")
