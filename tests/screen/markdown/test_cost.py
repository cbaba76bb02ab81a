"""The limit of the text that is rendered as Markdown."""

import pytest

from hermes_cli.screen.markdown.cost import Allowance, estimated_cost

TEXT = "- *a* [b](c) `d` word\n" * 20


def test_the_cost_of_a_text_is_that_of_its_pieces() -> None:
    """The estimate does not depend on how the text is split."""
    assert estimated_cost(TEXT) == sum(map(estimated_cost, TEXT))


@pytest.mark.parametrize("size", [1, 7, len(TEXT)])
@pytest.mark.parametrize(("length", "cost_us"), [(100, 10**6), (10**6, 1000), (0, 0), (10**6, 10**6)])
def test_the_same_text_is_covered_in_pieces_and_as_a_whole(size: int, length: int, cost_us: int) -> None:
    """An allowance covers the longest beginning within both limits, however the text is split."""
    allowance, taken = Allowance(length, cost_us), ""
    for start in range(0, len(TEXT), size):
        piece = TEXT[start : start + size]
        covered = allowance.take(piece)
        taken += covered
        if covered != piece:
            break
    assert TEXT.startswith(taken)
    assert len(taken) <= length
    assert estimated_cost(taken) <= cost_us
    longer = TEXT[: len(taken) + 1]
    assert taken == TEXT or len(longer) > length or estimated_cost(longer) > cost_us
