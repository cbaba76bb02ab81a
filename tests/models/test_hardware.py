"""The hardware probe: the system's files and programs, valid, missing or failing."""

import time
import tracemalloc
from pathlib import Path

import pytest

from hermes_cli.models import hardware
from hermes_cli.models.hardware import (
    NVIDIA_SMI_TIMEOUT_S,
    cgroup_folders,
    cpu_name,
    cpu_quota,
    memory_limit,
    parse_cpu_max,
    physical_cores,
    probe,
    within_quota,
)
from hermes_cli.models.units import GIB, MIB


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_the_probe_of_this_machine_is_consistent() -> None:
    """The values for this machine are consistent."""
    found = probe()
    assert 1 <= found.physical_cores <= found.logical_cores
    assert 0 < found.memory_available <= found.memory_total
    assert found.cpu


@pytest.mark.parametrize(
    ("text", "cores"),
    [("150000 100000\n", 1.5), ("max 100000\n", None), ("-1 100000", None), ("", None), ("0 100000", None)],
)
def test_a_cpu_quota_is_parsed(text: str, cores: float | None) -> None:
    """A CPU quota is parsed; an absent or invalid one is None."""
    assert parse_cpu_max(text) == cores


def test_a_quota_limits_the_number_of_cores() -> None:
    """A quota limits the number of cores, rounded up."""
    assert [within_quota(8, q) for q in (None, 0.3, 1.5, 4.0, 99.0)] == [8, 1, 2, 4, 8]


def test_the_hyper_threads_of_a_core_count_once(tmp_path: Path) -> None:
    """The hyper-threads of a core count once; an incomplete topology gives None."""
    topology = "sys/devices/system/cpu/cpu{}/topology/"
    files = {}
    for cpu, (package, core) in enumerate([(0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (1, 0)]):
        files[topology.format(cpu) + "core_id"] = f"{core}\n"
        files[topology.format(cpu) + "physical_package_id"] = f"{package}\n"
    root = _write(tmp_path, files)
    assert physical_cores(range(6), root) == 3
    assert physical_cores([0, 1], root) == 1
    assert physical_cores([0, 9], root) is None


def test_the_limits_of_cgroup_v2_and_its_parents_are_read(tmp_path: Path) -> None:
    """The limits of the process's cgroup and its parents count; inactive file cache is free memory."""
    root = _write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user/app\n",
            "sys/fs/cgroup/user/cpu.max": "200000 100000\n",
            "sys/fs/cgroup/user/app/cpu.max": "max 100000\n",
            "sys/fs/cgroup/user/app/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/user/app/memory.current": f"{3 * GIB}\n",
            "sys/fs/cgroup/user/app/memory.stat": f"anon 1\ninactive_file {GIB}\n",
        },
    )
    assert cpu_quota(root) == 2.0
    assert memory_limit(root) == (4 * GIB, 2 * GIB)


def test_the_limits_of_cgroup_v1_are_read(tmp_path: Path) -> None:
    """The limits of cgroup v1 are read."""
    root = _write(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB // 4}\n",
            "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert cpu_quota(root) == 0.5
    assert memory_limit(root) == (GIB, GIB // 4)


def test_without_cgroups_there_is_no_limit(tmp_path: Path) -> None:
    """Without cgroups there is no CPU quota, no memory in use, and a limit beyond any machine's memory."""
    assert cpu_quota(tmp_path) is None
    limit, used = memory_limit(tmp_path)
    assert limit > 1 << 50
    assert used == 0


def test_a_cgroup_path_cannot_leave_the_hierarchy(tmp_path: Path) -> None:
    """A path with .. in it, as in nested containers, is not followed out of the hierarchy."""
    folders = cgroup_folders("0::/../../etc\nnonsense\n", tmp_path)
    assert all(".." not in f.parts for f in folders[""])


def fake_nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program called nvidia-smi first on PATH."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_a_failing_nvidia_smi_gives_no_cuda_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nvidia-smi fails, the probe returns no CUDA GPUs."""
    fake_nvidia_smi(tmp_path, monkeypatch, "echo 'NVIDIA-SMI has failed' ; exit 9")
    assert [gpu for gpu in probe({}).gpus if gpu.kind == "cuda"] == []


def test_an_nvidia_smi_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An nvidia-smi that hangs is stopped after the time limit, and gives no CUDA GPUs."""
    assert NVIDIA_SMI_TIMEOUT_S == 3
    monkeypatch.setattr("hermes_cli.models.hardware.NVIDIA_SMI_TIMEOUT_S", 0.2)
    fake_nvidia_smi(tmp_path, monkeypatch, "echo '0, GPU-aa, 8192, 8000, A'; sleep 60")
    start = time.monotonic()
    assert [gpu for gpu in probe({}).gpus if gpu.kind == "cuda"] == []
    assert time.monotonic() - start < 20


def test_an_nvidia_smi_that_ignores_signals_and_prints_without_end_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 1 MiB of its output is read."""
    fake_nvidia_smi(tmp_path, monkeypatch, "trap '' TERM INT HUP; head -c 1000000000 /dev/zero; sleep 60")
    start = time.monotonic()
    tracemalloc.start()
    try:
        assert hardware._nvidia_gpus() == ()
        assert tracemalloc.get_traced_memory()[1] < 10 * MIB
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("line", ["", "no devices were found", "0, GPU-aa, 8.6, many, 1, A", "\\377\\376"])
def test_nonsense_from_nvidia_smi_gives_no_cuda_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """Output that is not a list of GPUs, or no text at all, gives no CUDA GPUs."""
    fake_nvidia_smi(tmp_path, monkeypatch, f"printf '{line}'")
    assert [gpu for gpu in probe({}).gpus if gpu.kind == "cuda"] == []


def test_the_gpus_of_an_old_driver_are_found_and_can_be_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPUs of an old driver are found, and CUDA_VISIBLE_DEVICES hides them."""
    script = (
        'case "$1" in *compute_cap*) echo "Field compute_cap is not a valid field to query."; exit 2;; esac\n'
        "echo '0, GPU-aa, 8192, 8000, A'; echo '1, GPU-bb, 4096, 4000, B'"
    )
    fake_nvidia_smi(tmp_path, monkeypatch, script)
    assert [(gpu.label, gpu.name, gpu.memory_free) for gpu in probe({"CUDA_VISIBLE_DEVICES": "1"}).gpus] == [
        ("cuda:0", "B", 4000 * MIB)
    ]
    assert probe({"CUDA_VISIBLE_DEVICES": ""}).gpus == ()


def test_the_name_of_the_cpu_is_read_from_cpuinfo(tmp_path: Path) -> None:
    """The name of the CPU is read from /proc/cpuinfo, and is not empty without that file."""
    _write(tmp_path, {"proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU @ 2GHz\n"})
    assert cpu_name(tmp_path) == "Some CPU @ 2GHz"
    assert cpu_name(tmp_path / "none")
