"""Tests for `hermes_cli.chat.expressions`."""

from typing import Any

from hermes_cli.chat.expressions import Expressions


def test_an_expression_whose_search_needs_too_much_memory_is_disabled() -> None:
    """The search ends without a result, the reason is kept, and other expressions still run."""
    expressions = Expressions("these books")

    def search(_: Any) -> bool:
        raise MemoryError

    assert expressions.run("/(a|b)*$/", search) is None
    assert expressions.disabled == {"/(a|b)*$/": "there is not enough memory for its search"}
    assert expressions.run("/(a|b)*$/", lambda pattern: pattern.search("b")) is None
    assert expressions.run("/ab/", lambda pattern: pattern.search("cab").start()) == 1
