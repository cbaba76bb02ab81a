"""A Hypothesis strategy for records."""

from collections.abc import Callable
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Record = TypeVar("Record")


def records(kind: Callable[..., Record], /, **fields: SearchStrategy[object]) -> SearchStrategy[Record]:
    """Return records with these fields; the others have their defaults, which `st.builds` would replace."""
    return st.fixed_dictionaries(fields).map(lambda values: kind(**values))
