"""Searches the hub for models, and estimates which of their files fit this machine."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from hermes_cli.errors import UsageError
from hermes_cli.models import hardware
from hermes_cli.models.fit import LoadableFile, loadable_files
from hermes_cli.models.hub.search import FoundModel, search

MAX_WORDS = 200
"""The length of the words together, in characters."""
_INSPECTED = 4
"""For each model to show, at most so many repositories are looked at."""


class SearchResult(NamedTuple):
    """A model on the hub, and its files that hermes can load."""

    model: FoundModel
    files: tuple[LoadableFile, ...]


def search_models(words: str, limit: int) -> Iterator[SearchResult]:
    """Yield up to `limit` models that the hub finds and hermes can load, most downloads first.

    A model whose files could not be listed is included. Raises UsageError for invalid words, and
    DownloadError if the hub cannot be searched.
    """
    text = words.strip()
    if not text or not text.isprintable() or len(text) > MAX_WORDS:
        raise UsageError(
            f"a search takes 1 to {MAX_WORDS} printable characters",
            "for example 'hermes models search qwen3'",
        )
    machine = hardware.probe()
    found = islice(search(text), _INSPECTED * limit)
    results = (SearchResult(model, tuple(loadable_files(model, machine))) for model in found)
    yield from islice((result for result in results if result.files or result.model.problem), limit)
