"""The notice about another default model."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.application.local_choice import default_notice
from hermes_cli.models import hardware
from hermes_cli.models.catalogue import STARTER_FILE
from tests.application.test_load import runtime_with
from tests.models.gguf.small_gguf import write_small
from tests.models.plan.machines import machine

Env = Mapping[str, str]


@pytest.fixture
def models(home: Env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder of a machine with a small starter."""
    monkeypatch.setattr(hardware, "probe", machine)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = Path(home["OPENHERMES_HOME"]) / "data" / "models"
    folder.mkdir(parents=True)
    write_small(folder / STARTER_FILE, width=64)
    return folder


def test_a_new_model_that_becomes_the_default_is_reported(home: Env, models: Path) -> None:
    """The notice names both models, the reason and the remedy. A smaller one changes nothing."""
    runtime, shown = runtime_with(home)
    with default_notice(runtime):
        write_small(models / "tiny.gguf")
    assert shown.getvalue().startswith("the default model was starter and is now tiny, because any other ")
    assert "hermes config path" in shown.getvalue()
    runtime, shown = runtime_with(home)
    with default_notice(runtime):
        write_small(models / "a.gguf", width=8)
    assert shown.getvalue() == ""


@pytest.mark.parametrize("configured", ["starter", "scripted:x"])
def test_a_configured_model_stays_the_default(home: Env, models: Path, configured: str) -> None:
    """No notice is printed."""
    runtime, shown = runtime_with({**home, "OPENHERMES_MODEL": configured})
    with default_notice(runtime):
        write_small(models / "tiny.gguf")
    assert shown.getvalue() == ""


def test_the_first_model_is_not_reported(home: Env, models: Path) -> None:
    """There was no other default before."""
    (models / STARTER_FILE).unlink()
    runtime, shown = runtime_with(home)
    with default_notice(runtime):
        write_small(models / "tiny.gguf")
    assert shown.getvalue() == ""
