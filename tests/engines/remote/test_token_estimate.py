"""Tests of the estimated number of tokens."""

from hermes_cli.engines.remote.token_estimate import TokenEstimate
from hermes_cli.messages import Message, Role

LONG = (Message(Role.USER, "word " * 200),)


def test_the_first_estimate_is_cautious() -> None:
    """English text has 0.2 to 0.35 tokens per byte."""
    assert TokenEstimate().count(LONG) >= 0.35 * 1000


def test_an_estimate_follows_the_servers_count() -> None:
    """It is up to a tenth above it; a short prompt teaches nothing."""
    estimate = TokenEstimate()
    estimate.learn((Message(Role.USER, "Hi"),), 900)
    assert not estimate.is_learned
    estimate.learn(LONG, 250)
    assert 250 < estimate.count(LONG) < 275
    assert 500 < estimate.count(LONG * 2) < 550


def test_a_prompt_seems_cut_only_after_an_answer() -> None:
    """Before it, a low count may be a language with few tokens per byte."""
    estimate = TokenEstimate()
    assert not estimate.seems_cut(LONG, 100)
    estimate.learn(LONG, 250)
    assert estimate.seems_cut(LONG, 100)
    assert not estimate.seems_cut(LONG, 240)
