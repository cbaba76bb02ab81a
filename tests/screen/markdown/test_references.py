"""Link definitions above a leaf, and labels that are used before their definition."""

import pytest

from hermes_cli.screen.markdown.references import ReferencesAbove, UsedLabels


def test_only_definitions_above_the_leaf_apply() -> None:
    """A definition in the tail applies if it begins above the end of the leaf."""
    above = {"A": {"href": "/a", "map": [9, 10]}}
    tail = {"B": {"href": "/b", "map": [1, 2]}, "C": {"href": "/c", "map": [5, 6]}}
    references = ReferencesAbove(above, tail, 5)
    assert dict(references) == {"A": above["A"], "B": tail["B"]}
    assert len(references) == 2
    assert references.get("C") is None


@pytest.mark.parametrize("dropped", range(10))
def test_a_label_is_used_from_the_end_of_its_brackets(dropped: int) -> None:
    """The place of a label is the same, however much of the text was dropped from the tail."""
    text, end = "a [B\nxy c] [d\\]] e", len("a [B\nxy c]")
    labels = UsedLabels()
    labels.drop(text[:dropped])
    tail = labels.within(text[dropped:])
    used = [place for place in range(12) if tail.is_used("B XY C", place)]
    assert used == [place for place in range(12) if place + dropped >= end]
    assert tail.is_used("D\\]", len(text))
    assert not tail.is_used("E", len(text))
