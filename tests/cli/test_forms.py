"""A short name on the command line: `models pull`, `list` and `plan` use the form that runs best here."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hermes_cli.models.plan.report import HEADER
from tests.cli.test_models import set_hardware
from tests.models.hub.fake_hub import FakeHub
from tests.models.plan.machines import gpu, machine
from tests.models.plan.test_offload import device, with_llama
from tests.models.small_checkpoint import checkpoint_files
from tests.run_hermes import hermes

Env = Mapping[str, str]
WEIGHTS = "teknium/OpenHermes-2-Mistral-7B"
GGUFS = "TheBloke/OpenHermes-2-Mistral-7B-GGUF"
GGUF = "openhermes-2-mistral-7b.Q4_K_M.gguf"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with empty packages of the transformers engine: a torch for CUDA, and its companions."""
    folder = tmp_path / "packages"
    for name in ("torch", "transformers", "accelerate", "bitsandbytes"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").touch()
    (folder / "torch" / "version.py").write_text("cuda = '13.0'\n")
    return folder


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A hub with the repositories of both forms."""
    with FakeHub({WEIGHTS: checkpoint_files(), GGUFS: {GGUF: b"GGUF", "README.md": b""}}) as hub:
        yield hub


def pull(home: Env, packages: Path, url: str, gpus: str = "") -> tuple[list[str], str]:
    """Run `hermes models pull openhermes-2`; `gpus` is what nvidia-smi prints. Return errors and output."""
    tools = packages.parent / "bin"
    tools.mkdir()
    (tools / "nvidia-smi").write_text(f"#!/bin/sh\necho '{gpus}'\n")
    (tools / "nvidia-smi").chmod(0o755)
    env = {
        **home,
        "PATH": f"{tools}:{home['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(packages), *sys.path]),
        "HF_ENDPOINT": url,
    }
    done = subprocess.run(
        [sys.executable, "-m", "hermes_cli", "models", "pull", "openhermes-2"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines(), done.stdout.strip()


@pytest.mark.parametrize(
    ("memory", "precision"), [("24576, 24100", "bf16"), ("8192, 7780", "4-bit nf4")], ids=["24 GB", "8 GB"]
)
def test_pull_downloads_the_weights_for_a_gpu(
    home: Env, packages: Path, hub: FakeHub, memory: str, precision: str
) -> None:
    """With a GPU and the packages, pull downloads the weights, and first says so with size and reason."""
    errors, output = pull(home, packages, hub.url, f"0, GPU-aa, 8.6, {memory}, RTX 3090")
    assert errors[0] == (
        f"openhermes-2:16bit (14.48 GB): runs in {precision} on cuda:0 (RTX 3090); "
        "openhermes-2:gguf would run in Q4_K_M on the CPU, "
        "because the installed llama.cpp does not support cuda:0"
    )
    assert "models--teknium--OpenHermes-2-Mistral-7B" in output
    assert {name for name, *_ in hub.served} >= {"config.json", "model.safetensors"}
    assert GGUF not in {name for name, *_ in hub.served}


def test_pull_downloads_the_gguf_without_a_gpu(home: Env, packages: Path, hub: FakeHub) -> None:
    """Without a GPU, pull downloads the GGUF, and first says so with its size."""
    errors, output = pull(home, packages, hub.url)
    assert errors[0].startswith("openhermes-2:gguf (4.37 GB): ")
    assert output.endswith(GGUF)
    assert [name for name, *_ in hub.served] == [GGUF]


def test_pull_of_gated_weights_names_the_form_that_is_not_gated(home: Env) -> None:
    """The hub refuses the download, and the error names the page with the terms."""
    weights = "meta-llama/Llama-3.1-8B-Instruct"
    with FakeHub({weights: checkpoint_files()}, gated={weights}) as hub:
        done = subprocess.run(
            [sys.executable, "-m", "hermes_cli", "models", "pull", "llama-3.1-8b:16bit"],
            env={**home, "PYTHONPATH": os.pathsep.join(sys.path), "HF_ENDPOINT": hub.url},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 69
    _, notice, _, hint = done.stderr.splitlines()
    assert notice == (
        "llama-3.1-8b:16bit is gated: its terms must be accepted; llama-3.1-8b:gguf is not gated"
    )
    assert f"https://huggingface.co/{weights}" in hint


def test_plan_shows_both_forms_and_the_reason(home: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan of a short name shows the table of the chosen form, both forms, and the reason."""
    set_hardware(monkeypatch, machine(free=24))
    result = hermes("models", "plan", "openhermes-2", env=home)
    lines = result.stdout.decode().splitlines()
    assert lines[0].split() == " ".join(HEADER).split()
    assert "openhermes-2:gguf runs in Q4_K_M on the CPU" in lines
    assert lines[-1] == (
        "chosen: openhermes-2:gguf runs in Q4_K_M on the CPU; "
        "no GPU was found, and 16-bit weights are slower on the CPU"
    )


def test_plan_gives_the_forms_to_scripts(home: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --json, the plan of a short name has its forms and the reason; that of a variant has none."""
    set_hardware(monkeypatch, machine(free=24))
    found = hermes("models", "plan", "openhermes-2", "--json", env=home).json
    assert found["model"] == "openhermes-2:gguf"
    assert found["forms"][0] == {
        "name": "openhermes-2:gguf",
        "runs": True,
        "how": "runs in Q4_K_M on the CPU",
        "installed": False,
    }
    assert found["forms"][1]["name"] == "openhermes-2:16bit"
    assert found["form_reason"].startswith("openhermes-2:gguf runs in Q4_K_M on the CPU")
    assert (found["plan"]["layers"], found["plan"]["layer_count"], found["plan"]["smaller"]) == (
        [],
        33,
        "--context 4096 needs 5.5 GiB",
    )
    assert "forms" not in hermes("models", "plan", "openhermes-2:gguf", "--json", env=home).json


def test_layers_on_a_gpu_are_planned_from_the_command_line(
    home: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--gpu-layers and --kv are in the plan."""
    set_hardware(monkeypatch, with_llama(device("RTX 3070", 8, 7.6)))
    arguments = ("models", "plan", "openhermes-2", "--json", "--gpu-layers", "10", "--kv", "q8_0")
    plan = hermes(*arguments, env=home).json["plan"]
    assert (plan["layers"], plan["kv_type"], plan["device"]) == ([10], "q8_0", "cuda:0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--gpu-layers", "many"), "--gpu-layers takes a number of layers or all, not 'many'"),
        (("--gpu-layers", "-1"), "--gpu-layers takes a number of layers or all, not '-1'"),
        (("--gpu-layers", "34"), "has 33 layers, including the output layer, not 34"),
        (("--kv", "q4_0"), "--kv takes f16 or q8_0, not 'q4_0'"),
        (("--device", "cuda:3"), "there is no device cuda:3 on this machine"),
        (("--device", "tpu"), "--device takes auto, cpu, cuda, rocm, xpu, mps or vulkan"),
    ],
)
def test_an_impossible_request_is_a_usage_error(
    home: Env, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    """An unknown device, type or number of layers exits with the code of a usage error."""
    set_hardware(monkeypatch, with_llama(device("RTX 3070", 8, 7.6)))
    result = hermes("models", "plan", "openhermes-2:gguf", *arguments, env=home)
    assert (result.code, message in result.stderr) == (2, True), result.stderr


def test_list_marks_the_best_form(home: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of models marks the form that a short name selects here."""
    set_hardware(monkeypatch, machine(free=24))
    lines = hermes("models", "list", env=home).stdout.decode().splitlines()
    (marked,) = (line for line in lines if line.startswith("  openhermes-2:") and "best form here" in line)
    assert marked.split()[0] == "openhermes-2:gguf"


def test_doctor_gives_its_sections_to_scripts(home: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --json, doctor prints one JSON object of its sections, with the GPUs of llama.cpp."""
    set_hardware(monkeypatch, with_llama(device("RTX 3070", 8, 7.6)))
    found = hermes("doctor", "--json", env=home).json
    assert list(found) == [
        "versions",
        "hardware",
        "llama.cpp",
        "system libraries",
        "folders",
        "models",
        "would load",
        "findings",
    ]
    findings = found.pop("findings")
    assert all(finding.keys() == {"code", "message", "fix", "is_problem"} for finding in findings)
    assert found["llama.cpp"][0] == ["gpu", "cuda:0  RTX 3070", "7.6 of 8.0 GiB free"]
    assert all(isinstance(cell, str) for rows in found.values() for row in rows for cell in row)


def test_doctor_has_the_command_for_a_gpu_that_llama_cpp_does_not_support(
    home: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a GPU that the build does not support, doctor has the command that installs one that does."""
    set_hardware(monkeypatch, machine(gpu("RTX 3070", 8, 7.6, (8, 6)), free=24))
    found = hermes("doctor", "--json", env=home).json
    assert found["llama.cpp"] == [["gpu", "none: it runs on the CPU"]]
    (finding,) = (one for one in found["findings"] if one["code"] == "gpu-unused")
    assert finding["fix"].endswith("--index-url https://xorbitsai.github.io/xllamacpp/whl/cu128")
    assert finding["is_problem"] is False
