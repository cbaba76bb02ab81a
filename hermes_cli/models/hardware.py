"""Detects CPU cores, memory and GPUs within the limits of a container or `taskset`, without loading torch."""

import contextlib
import math
import os
import platform
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hermes_cli import child_process
from hermes_cli.models import gpus
from hermes_cli.models.gpus import Gpu, read_number, read_text
from hermes_cli.models.llama_build import LlamaBuild, installed_build

NVIDIA_SMI_TIMEOUT_S = 3.0
_UNLIMITED = 1 << 60  # in cgroup v1, "no limit" is a number near 2^63


@dataclass(frozen=True, slots=True)
class Hardware:
    """The resources of this machine that this process may use. Sizes are in bytes.

    `gpus` are the GPUs with a working driver, even if the installed torch does not support them. `llama`
    includes the GPUs that the installed llama.cpp can use. `without_driver` lists the vendors of GPUs whose
    driver does not respond.
    """

    physical_cores: int
    logical_cores: int
    memory_total: int
    memory_available: int
    cpu: str = ""
    gpus: tuple[Gpu, ...] = ()
    llama: LlamaBuild = field(default_factory=LlamaBuild)
    without_driver: tuple[str, ...] = ()


def probe(environ: Mapping[str, str] = os.environ) -> Hardware:
    """Return the resources that this process may use now.

    This takes tens of milliseconds, and longer with an NVIDIA driver or a GPU build of llama.cpp. Variables
    in `environ`, such as CUDA_VISIBLE_DEVICES, can hide GPUs.
    """
    import psutil

    root = Path("/")
    logical = _affinity()
    threads = len(logical) if logical else os.cpu_count() or 1
    physical = physical_cores(logical, root) or psutil.cpu_count(logical=False) or threads
    quota = cpu_quota(root)
    memory = psutil.virtual_memory()
    limit, used = memory_limit(root)
    available = max(0, min(memory.available, limit - used))
    cpu = cpu_name(root)
    found = (
        (gpus.apple_gpu(cpu, memory.total, available),) if is_apple_silicon() else system_gpus(root, environ)
    )
    return Hardware(
        physical_cores=within_quota(min(physical, threads), quota),
        logical_cores=within_quota(threads, quota),
        memory_total=min(memory.total, limit),
        memory_available=available,
        cpu=cpu,
        gpus=found,
        llama=installed_build(),
        without_driver=gpus.without_driver(root, found),
    )


def is_apple_silicon() -> bool:
    """Return whether this is a Mac with an Apple chip, which includes a GPU."""
    return platform.system() == "Darwin" and platform.machine() == "arm64"


def system_gpus(root: Path, environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the NVIDIA, AMD and Intel GPUs with a working driver. `root` is the root of the file system."""
    nvidia = gpus.visible(_nvidia_gpus(), environ.get("CUDA_VISIBLE_DEVICES"))
    return (*nvidia, *gpus.rocm_gpus(root, environ), *gpus.xpu_gpus(root))


def within_quota(cores: int, quota: float | None) -> int:
    """Return `cores`, or the CPU quota rounded up if that is smaller, but at least 1."""
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def _affinity() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):  # Linux only
        return frozenset(os.sched_getaffinity(0))
    return frozenset()


def physical_cores(logical: Iterable[int], root: Path) -> int | None:
    """Return the number of physical cores that the logical cores belong to, or None if it is unknown."""
    seen = set()
    for index in logical:
        topology = root / f"sys/devices/system/cpu/cpu{index}/topology"
        core, package = read_text(topology / "core_id"), read_text(topology / "physical_package_id")
        if not core or not package:
            return None
        seen.add((package, core))
    return len(seen) or None


def cpu_name(root: Path) -> str:
    """Return the model name of the processor, or its architecture if the name is unknown."""
    match = re.search(r"^model name\s*:\s*(.+)$", read_text(root / "proc/cpuinfo"), re.MULTILINE)
    return match.group(1).strip() if match else platform.machine()


def cgroup_folders(text: str, root: Path) -> dict[str, list[Path]]:
    """Return the cgroup folders whose limits apply, by controller. `text` comes from /proc/self/cgroup.

    The key of the unified hierarchy (v2) is an empty string. Inside a container, the folder of the process is
    often not mounted, so its parents up to the root of the hierarchy are included.
    """
    folders: dict[str, list[Path]] = {}
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:  # noqa: PLR2004 - hierarchy id, controllers, path
            continue
        for controller in parts[1].split(","):
            base = root / "sys/fs/cgroup" / controller
            leaf = Path(parts[2].lstrip("/"))
            chain = [base / leaf, *(base / parent for parent in leaf.parents)] if leaf.parts else [base]
            folders[controller] = [f for f in chain if ".." not in f.parts]
    return folders


def cpu_quota(root: Path) -> float | None:
    """Return the CPU quota of the cgroups in cores, or None if there is none."""
    folders = cgroup_folders(read_text(root / "proc/self/cgroup"), root)
    quotas = [parse_cpu_max(read_text(f / "cpu.max")) for f in folders.get("", [])]
    for folder in folders.get("cpu", []):
        period = read_text(folder / "cpu.cfs_period_us")
        quotas.append(parse_cpu_max(f"{read_text(folder / 'cpu.cfs_quota_us')} {period}"))
    return min((q for q in quotas if q is not None), default=None)


def parse_cpu_max(text: str) -> float | None:
    """Return a quota such as `150000 100000` in cores, or None for `max`, -1 and anything else."""
    match = re.fullmatch(r"(\d+)\s+(\d+)", text.strip())
    if match is None or int(match.group(1)) <= 0 or int(match.group(2)) <= 0:
        return None
    return int(match.group(1)) / int(match.group(2))


def memory_limit(root: Path) -> tuple[int, int]:
    """Return the strictest cgroup memory limit, and the number of bytes in use under it.

    The strictest limit is the one with the least free memory. Without a limit, return _UNLIMITED and 0. File
    cache that the kernel can drop does not count as in use.
    """
    folders = cgroup_folders(read_text(root / "proc/self/cgroup"), root)
    v2, v1 = folders.get("", []), folders.get("memory", [])
    all_limits = [_limit_of(f, "memory.max", "memory.current") for f in v2]
    all_limits += [_limit_of(f, "memory.limit_in_bytes", "memory.usage_in_bytes") for f in v1]
    limits = [(limit, used) for limit, used in all_limits if limit < _UNLIMITED]
    return min(limits, key=lambda pair: pair[0] - pair[1], default=(_UNLIMITED, 0))


def _limit_of(folder: Path, limit_file: str, used_file: str) -> tuple[int, int]:
    match = re.search(r"^(?:total_)?inactive_file (\d+)$", read_text(folder / "memory.stat"), re.MULTILINE)
    used = read_number(folder, used_file) - (int(match.group(1)) if match else 0)
    return read_number(folder, limit_file) or _UNLIMITED, max(0, used)


def _nvidia_gpus() -> tuple[Gpu, ...]:
    deadline = time.monotonic() + NVIDIA_SMI_TIMEOUT_S
    result = _run_nvidia_smi(gpus.NVIDIA_FIELDS, deadline)
    if result is not None and result.returncode and b"not a valid field" in result.stdout + result.stderr:
        result = _run_nvidia_smi(gpus.NVIDIA_FIELDS_BEFORE_510, deadline)
    if result is None or result.returncode:
        return ()
    try:
        return gpus.parse_nvidia_smi(result.stdout.decode())
    except UnicodeDecodeError:
        return ()


def _run_nvidia_smi(fields: tuple[str, ...], deadline: float) -> child_process.CompletedProcess[bytes] | None:
    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    with contextlib.suppress(OSError, child_process.SubprocessError):  # it does not exist, or it hangs
        return child_process.capture(query, timeout_s=deadline - time.monotonic())
    return None
