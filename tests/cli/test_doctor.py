"""Tests of the findings of `hermes doctor`: for each problem, what it prints and its exit code."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hermes_cli import system_packages
from hermes_cli.application.findings import CODES
from hermes_cli.models import gpu_advice
from hermes_cli.models.llama_build import LlamaBuild
from hermes_cli.store.store import Store
from tests.cli.test_models import set_hardware
from tests.database import OpenStore, raw_database
from tests.models.plan.machines import gpu, machine
from tests.run_hermes import hermes, script

Env = Mapping[str, str]


def findings(env: Env) -> list[dict[str, Any]]:
    """Return the findings, and check the exit code and that each finding has a message and a fix."""
    result = hermes("doctor", "--json", env=env)
    found: list[dict[str, Any]] = result.json["findings"]
    assert result.code == any(finding["is_problem"] for finding in found)
    assert all(finding["code"] in CODES for finding in found)
    assert all(finding["message"] and finding["fix"] for finding in found), found
    return found


def codes(env: Env) -> list[str]:
    """Return the codes of the findings, without the suggestion about the processor, which depends on it."""
    return [finding["code"] for finding in findings(env) if finding["code"] != "cpu-unused"]


@pytest.fixture
def scripted(home: Env, tmp_path: Path) -> Env:
    """An environment in which the scripted engine is the default model."""
    return {**home, "OPENHERMES_MODEL": script(tmp_path, {"text": "hi"})}


def config_file(env: Env) -> Path:
    """Return the path of the config file, whose folder exists."""
    path = Path(env["OPENHERMES_HOME"]) / "config" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_a_working_installation_has_no_findings(scripted: Env) -> None:
    """The exit code is 0, and the text says that there is no problem."""
    assert codes(scripted) == []
    assert "problems\n  none found\n" in hermes("doctor", env=scripted).stdout.decode()


def test_without_a_model_a_full_size_one_is_suggested(home: Env) -> None:
    """It is not a problem: the starter is downloaded on the first use."""
    (finding,) = (one for one in findings(home) if one["code"] == "no-model")
    assert finding["fix"] == "run: hermes models pull openhermes-2"
    assert not finding["is_problem"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle = 'x'", "unknown key 'modle'"),
        ("model =", "config.toml"),
        ("context = 'large'", "context takes a whole number"),
        ("precision = '7bit'", "precision takes"),
    ],
)
def test_an_invalid_setting_is_reported_beside_the_rest(home: Env, text: str, message: str) -> None:
    """Doctor shows the versions and folders although no model can be chosen."""
    config_file(home).write_text(text)
    finding, *_ = findings(home)
    assert finding["code"] == "settings"
    assert message in finding["message"]
    shown = hermes("doctor", env=home).stdout.decode()
    assert "versions\n" in shown
    assert "(settings)" in shown


def test_a_missing_persona_is_reported(scripted: Env) -> None:
    """The fix names a command."""
    config_file(scripted).write_text("persona = 'nobody'")
    (finding,) = findings(scripted)
    assert finding["code"] == "persona"
    assert "hermes personas" in finding["fix"]


def test_a_missing_model_is_reported(home: Env) -> None:
    """A model that is configured and not installed is a problem."""
    assert "model" in codes({**home, "OPENHERMES_MODEL": "/nowhere/model.gguf"})


def test_a_broken_model_is_reported_with_the_command_that_removes_it(scripted: Env) -> None:
    """The models folder has a file that is no GGUF."""
    folder = Path(scripted["OPENHERMES_HOME"]) / "data" / "models"
    folder.mkdir(parents=True)
    (folder / "mine.gguf").write_bytes(b"GGUF")
    (finding,) = (one for one in findings(scripted) if one["code"] == "broken-model")
    assert "hermes models rm mine" in finding["fix"]


def test_a_damaged_database_is_reported_and_unchanged(scripted: Env) -> None:
    """Only `sessions check --rescue` changes it."""
    path = Path(scripted["OPENHERMES_HOME"]) / "data" / "conversations.db"
    store = Store(path)
    store.close()
    damaged = path.read_bytes()[:4096] + b"\xff" * 8192
    path.write_bytes(damaged)
    (finding,) = findings(scripted)
    assert (finding["code"], finding["fix"]) == (
        "conversations",
        "'hermes sessions check --rescue' recovers what can be read",
    )
    assert path.read_bytes() == damaged


def test_the_database_of_another_program_is_reported(scripted: Env) -> None:
    """It is left as it is."""
    path = Path(scripted["OPENHERMES_HOME"]) / "data" / "conversations.db"
    path.parent.mkdir(parents=True)
    with raw_database(path) as connection:
        connection.execute("CREATE TABLE t (x)")
    assert codes(scripted) == ["conversations"]


def test_a_healthy_database_is_not_reported(scripted: Env, open_store: OpenStore) -> None:
    """Neither while another process has it open."""
    open_store(Path(scripted["OPENHERMES_HOME"]) / "data" / "conversations.db")
    assert codes(scripted) == []


def test_a_missing_library_is_reported(scripted: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fix is the command of the package manager."""
    monkeypatch.setattr(system_packages, "missing_libraries", lambda: ["libgomp.so.1"])
    (finding,) = findings(scripted)
    assert finding["code"] == "library"
    assert "libgomp" in finding["fix"]


def test_gpus_that_cannot_be_used_are_reported(scripted: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build for GPUs that cannot list them is a problem; an unused GPU is a suggestion."""
    monkeypatch.setattr(gpu_advice, "unused_instructions", lambda: "AVX-512")
    set_hardware(monkeypatch, replace(machine(), llama=LlamaBuild("cuda", (), "it crashed")))
    assert [(f["code"], f["is_problem"]) for f in findings(scripted)] == [
        ("gpu-list", True),
        ("cpu-unused", False),
    ]
    set_hardware(monkeypatch, replace(machine(gpu("RTX 3070", 8, 7.6, (8, 6))), without_driver=("AMD",)))
    assert [(f["code"], f["is_problem"]) for f in findings(scripted)] == [
        ("gpu-driver", False),
        ("gpu-unused", False),
        ("cpu-unused", False),
    ]
