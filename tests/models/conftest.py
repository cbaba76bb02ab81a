"""Fixtures: small GGUF files made by ggml's own writer, and a hub on 127.0.0.1."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.models.gguf.small_gguf import write_small
from tests.models.hub.fake_hub import FakeHub

MakeGguf = Callable[..., Path]


@pytest.fixture
def make_gguf(tmp_path: Path) -> MakeGguf:
    """Return a function that writes a small valid model to tmp_path / name."""

    def make(name: str = "small.gguf", **facts: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_small(path, **facts)
        return path

    return make


@pytest.fixture
def fake_hub() -> Iterator[FakeHub]:
    """A running hub without repositories."""
    with FakeHub() as hub:
        yield hub
