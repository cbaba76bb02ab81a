"""What `make chat` installs for a GPU, with stubs of pip and nvidia-smi."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_cli.models.gpus import Gpu, Kind
from tools import gpu_packages
from tools.install import PROJECT

PIP = """#!/bin/sh
echo "$@" >> "{folder}/calls"
case "$*" in *transformers*) exit {code};; esac
"""
NVIDIA_SMI = "#!/bin/sh\necho '0, GPU-1, 8.9, 24564, 24000, NVIDIA GeForce RTX 4090'\n"


def program(path: Path, text: str) -> None:
    """Write an executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def install(
    folder: Path, gpu: str, *, pip_fails: bool = False
) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run the installer as the Makefile does, and return its result and the arguments that pip got."""
    program(folder / "bin" / "python", PIP.format(folder=folder, code=int(pip_fails)))
    program(folder / "path" / "nvidia-smi", NVIDIA_SMI)
    environ = {**os.environ, "PATH": f"{folder / 'path'}:{os.environ['PATH']}"}
    environ.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-m", "tools.install", str(folder), f"--gpu={gpu}", "."]
    result = subprocess.run(
        command, cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    return result, (folder / "calls").read_text()


def test_an_nvidia_gpu_gets_torch_after_its_size_is_printed(tmp_path: Path) -> None:
    """The size, and how to do without it, are printed before pip runs."""
    result, calls = install(tmp_path, "auto")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[1] == (
        "NVIDIA GeForce RTX 4090 found. Installing PyTorch with CUDA, a download of about 3 GB …"
    )
    assert "GPU=no" in lines[2]
    assert calls.splitlines()[-1].endswith("--editable .[transformers]")


def test_gpu_no_installs_nothing_for_the_gpu(tmp_path: Path) -> None:
    """With GPU=no only hermes itself is installed."""
    result, calls = install(tmp_path, "no")
    assert result.returncode == 0
    assert "NVIDIA" not in result.stdout
    assert "transformers" not in calls


def test_hermes_is_installed_even_if_the_packages_for_the_gpu_are_not(tmp_path: Path) -> None:
    """If they cannot be installed, the reason is printed and the installation succeeds."""
    result, _ = install(tmp_path, "auto", pip_fails=True)
    assert result.returncode == 0
    assert result.stderr.startswith("hermes: the GPU will not be used: the installation failed")


@pytest.mark.parametrize(
    ("kind", "packages"),
    [("cuda", "[transformers]"), ("rocm", "xllamacpp"), ("xpu", "xllamacpp"), ("mps", "")],
)
def test_each_kind_of_gpu_gets_what_runs_models_on_it(kind: Kind, packages: str) -> None:
    """NVIDIA gets torch, AMD and Intel llama.cpp with Vulkan, and Apple nothing: Metal is in the wheel."""
    found = gpu_packages.for_gpu(Gpu("a GPU", 1 << 33, 1 << 33, kind))
    if not packages:
        assert found is None
        return
    assert found is not None
    assert packages in (f"[{found.extra}]", *found.arguments)
    assert "GB" in found.what or "MB" in found.what
