"""Fixtures that every test may use: the real starter, and a home folder of one's own."""

import gc
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from hermes_cli.models import starter
from tests.cli import environment

# How long a case takes says nothing of what it finds, and a busy machine would fail it.
settings.register_profile("hermes", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=15)


def pytest_configure(config: pytest.Config) -> None:
    """The fast half of the tests tries fewer examples."""
    settings.load_profile("quick" if config.option.markexpr == "not slow" else "hermes")


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later search for garbage, which takes a third of a second else."""
    gc.freeze()


MODELS = Path(__file__).parents[1] / ".cache" / "models"


@pytest.fixture(scope="session")
def starter_path() -> Path:
    """The starter's file, fetched once a checkout through the package index, as a user's first run does."""
    return starter.fetch(MODELS)


@pytest.fixture
def home(tmp_path: Path) -> Mapping[str, str]:
    """An environment with an empty home, and nothing of the person's who runs the tests."""
    root = tmp_path / "home"
    root.mkdir()
    return environment(root)


@pytest.fixture
def starter_home(home: Mapping[str, str], starter_path: Path) -> Mapping[str, str]:
    """A home in which the starter has been fetched."""
    models = Path(home["OPENHERMES_HOME"]) / "data" / "models"
    models.mkdir(parents=True)
    (models / starter_path.name).symlink_to(starter_path)
    return home
