"""Parsing the drivers' output and sysfs, and numbering the GPUs."""

from pathlib import Path

import pytest

from hermes_cli.models.gpus import Gpu, apple_gpu, parse_nvidia_smi, rocm_gpus, visible, xpu_gpus
from hermes_cli.models.units import GIB, MIB

A, B, C = (
    Gpu(name, 8 * GIB, 7 * GIB, "cuda", index, (8, 6), "", f"GPU-{name}b1c2d3-e4")
    for index, name in enumerate("abc")
)


def test_the_output_of_nvidia_smi_is_parsed() -> None:
    """The output of nvidia-smi is parsed, and incomplete lines are skipped."""
    text = (
        "0, GPU-1f2e, 8.6, 24576, 23000, NVIDIA GeForce RTX 3090\n"
        "1, GPU-77aa, 9.0, 143771, 143000, NVIDIA H200, SXM\n"
        "2, GPU-88bb, [N/A], 12288, 11000, Tesla K80\n"
        "3, GPU-99cc, 12.1, [N/A], [N/A], NVIDIA GB10\n"
        "4, GPU-00dd, 6144, 6000, GeForce GTX 1060\n"
        "[Not Supported]\n"
    )
    assert parse_nvidia_smi(text) == (
        Gpu("NVIDIA GeForce RTX 3090", 24576 * MIB, 23000 * MIB, "cuda", 0, (8, 6), "", "GPU-1f2e"),
        Gpu("NVIDIA H200, SXM", 143771 * MIB, 143000 * MIB, "cuda", 1, (9, 0), "", "GPU-77aa"),
        Gpu("Tesla K80", 12288 * MIB, 11000 * MIB, "cuda", 2, None, "", "GPU-88bb"),
        Gpu("GeForce GTX 1060", 6144 * MIB, 6000 * MIB, "cuda", 4, None, "", "GPU-00dd"),
    )
    assert parse_nvidia_smi("") == ()


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        (None, "abc"),
        ("", ""),
        ("-1", ""),
        ("NoDevFiles", ""),
        ("1", "b"),
        ("2,0", "ca"),
        (" 1 , 2 ", "bc"),
        ("0,7,1", "a"),  # CUDA stops at the first missing one
        ("1,-1,0", "b"),
        ("GPU-b", "b"),
        ("gpu-cB1C,0", "ca"),
        ("GPU-", ""),  # ambiguous
        ("MIG-5c1d", ""),
        ("1,1", ""),
        ("99999999999999999999", ""),
    ],
)
def test_cuda_visible_devices_selects_and_renumbers_gpus(setting: str | None, names: str) -> None:
    """CUDA_VISIBLE_DEVICES selects and renumbers the GPUs as CUDA does."""
    gpus = visible((A, B, C), setting)
    assert "".join(gpu.name for gpu in gpus) == names
    assert [gpu.index for gpu in gpus] == list(range(len(names)))


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        (Gpu("RTX 3090", 1, 1, "cuda", 0, (8, 6)), True),
        (Gpu("T4", 1, 1, "cuda", 0, (7, 5)), False),
        (Gpu("old driver", 1, 1, "cuda", 0, None), False),
        (Gpu("RX 7900 XTX", 1, 1, "rocm", 0, None, "gfx1100"), True),
        (Gpu("MI300X", 1, 1, "rocm", 0, None, "gfx942"), True),
        (Gpu("RX 6800", 1, 1, "rocm", 0, None, "gfx1030"), False),
        (Gpu("unknown", 1, 1, "rocm", 0), False),
        (Gpu("Arc", 1, 1, "xpu", 0), True),
        (Gpu("M2", 1, 1, "mps", 0), True),
    ],
)
def test_only_a_gpu_known_to_compute_bfloat16_has_it(gpu: Gpu, expected: bool) -> None:  # noqa: FBT001 - a table
    """Only a GPU that is known to compute bfloat16 has it."""
    assert gpu.has_bfloat16 is expected


def test_torch_calls_an_amd_gpu_cuda() -> None:
    """In torch, an AMD GPU is called `cuda`, and the others have the name of their kind."""
    names = [
        (Gpu("", 1, 1, kind, 1).label, Gpu("", 1, 1, kind, 1).torch_name)
        for kind in ("cuda", "rocm", "xpu", "mps")
    ]
    assert names == [("cuda:1", "cuda:1"), ("rocm:1", "cuda:1"), ("xpu:1", "xpu:1"), ("mps", "mps")]


def write(root: Path, files: dict[str, str]) -> None:
    """Write files under a fake root."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def amd(number: int, total: int, used: int, minor: int, version: int) -> dict[str, str]:
    """Return the sysfs files of one AMD GPU."""
    folder = f"sys/class/drm/card{number}/device"
    node = f"sys/class/kfd/kfd/topology/nodes/{number}/properties"
    return {
        f"{folder}/vendor": "0x1002\n",
        f"{folder}/mem_info_vram_total": f"{total}\n",
        f"{folder}/mem_info_vram_used": f"{used}\n",
        f"{folder}/unique_id": f"{number:x}{'0' * 15}\n",
        f"{folder}/drm/renderD{minor}/dev": "226:128\n",
        node: f"cpu_cores_count 0\nsimd_count 96\ngfx_target_version {version}\ndrm_render_minor {minor}\n",
    }


def test_amd_gpus_are_read_from_sysfs(tmp_path: Path) -> None:
    """AMD GPUs are read from sysfs, except a CPU's graphics with 512 MiB; ROCm's variables hide them."""
    write(tmp_path, amd(10, 16 * GIB, 2 * GIB, 130, 90010))
    write(tmp_path, amd(1, 24 * GIB, GIB, 128, 110000))
    write(tmp_path, amd(0, GIB // 2, 0, 129, 100306))
    write(
        tmp_path,
        {
            "sys/class/drm/card3/device/vendor": "0x10de\n",
            "sys/class/drm/card4/device/vendor": "0x1002\n",  # the old radeon driver reports no memory
            "sys/class/drm/card1-DP-1/device/vendor": "0x1002\n",
        },
    )
    gpus = rocm_gpus(tmp_path, {})
    assert [(gpu.label, gpu.arch, gpu.memory_total, gpu.memory_free) for gpu in gpus] == [
        ("rocm:0", "gfx1100", 24 * GIB, 23 * GIB),
        ("rocm:1", "gfx90a", 16 * GIB, 14 * GIB),
    ]
    assert gpus[0].name == "AMD gfx1100"
    hidden = rocm_gpus(tmp_path, {"HIP_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "0"})
    assert [(gpu.label, gpu.arch) for gpu in hidden] == [("rocm:0", "gfx90a")]
    by_uuid = rocm_gpus(tmp_path, {"ROCR_VISIBLE_DEVICES": "GPU-a0"})
    assert [gpu.arch for gpu in by_uuid] == ["gfx90a"]
    assert rocm_gpus(tmp_path, {"CUDA_VISIBLE_DEVICES": ""}) == ()
    assert rocm_gpus(tmp_path / "none", {}) == ()


def test_intel_gpus_with_dedicated_memory_are_found(tmp_path: Path) -> None:
    """Intel GPUs with known dedicated memory are found; a CPU's graphics are not."""
    write(
        tmp_path,
        {
            "sys/class/drm/card0/device/vendor": "0x8086\n",  # integrated: no dedicated memory
            "sys/class/drm/card1/device/vendor": "0x8086\n",  # i915
            "sys/class/drm/card1/lmem_total_bytes": f"{16 * GIB}\n",
            "sys/class/drm/card1/lmem_avail_bytes": f"{15 * GIB}\n",
            "sys/class/drm/card2/device/vendor": "0x8086\n",  # xe
            "sys/class/drm/card2/device/tile0/physical_vram_size_bytes": f"{12 * GIB}\n",
            "sys/class/drm/card3/device/vendor": "0x8086\n",
            "sys/class/drm/card3/lmem_total_bytes": "many\n",
        },
    )
    assert [(gpu.label, gpu.memory_total, gpu.memory_free) for gpu in xpu_gpus(tmp_path)] == [
        ("xpu:0", 16 * GIB, 15 * GIB),
        ("xpu:1", 12 * GIB, 12 * GIB),
    ]


@pytest.mark.parametrize(
    ("ram", "available", "total", "free"),
    [(24, 20, 16, 16), (24, 10, 16, 10), (36, 30, 24, 24), (64, 60, 48, 48)],
)
def test_a_macs_gpu_has_the_memory_that_metal_grants(ram: int, available: int, total: int, free: int) -> None:
    """A Mac's GPU has the memory that Metal grants, and at most what is free. By hand."""
    gpu = apple_gpu("Apple M2", ram * GIB, available * GIB)
    assert (gpu.memory_total, gpu.memory_free, gpu.label) == (total * GIB, free * GIB, "mps")
