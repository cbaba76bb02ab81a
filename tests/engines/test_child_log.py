"""What is read from llama.cpp's log: the placement of the layers, and whether memory ran out.

The lines are those of llama.cpp at log level 4.
"""

import io
import time

import pytest

from hermes_cli.engines.llama_cpp import child_log
from hermes_cli.engines.llama_cpp.child_log import ChildLog
from hermes_cli.placement import Placement

READY = "srv    load_model: initializing slots, n_slots = 1"
TWO_LAYERS = """\
load_tensors: loading model tensors, this can take a while... (mmap = true)
load_tensors: offloading output layer to GPU
load_tensors: offloading 1 repeating layers to GPU
load_tensors: offloaded 2/31 layers to GPU
load_tensors:   CPU_Mapped model buffer size =    93.80 MiB
load_tensors:      Vulkan0 model buffer size =    30.80 MiB
llama_context: Vulkan_Host  output buffer size =     0.19 MiB
"""
TWO_GPUS = """\
load_tensors: offloaded 33/33 layers to GPU
load_tensors:   CPU_Mapped model buffer size =    70.32 MiB
load_tensors:        CUDA0 model buffer size =  2000.00 MiB
load_tensors:        CUDA1 model buffer size =  2095.05 MiB
"""
NO_LAYERS = """\
load_tensors: offloaded 0/31 layers to GPU
load_tensors:   CPU_Mapped model buffer size =    93.80 MiB
"""


def log(text: str) -> ChildLog:
    """Return the log that a child has written and closed."""
    found = ChildLog(io.BytesIO(f"{text}\n{READY}\n".encode()))
    found.wait()
    return found


@pytest.mark.parametrize(
    ("text", "placement"),
    [
        (TWO_LAYERS, Placement(("Vulkan0",), 2, 31)),
        (TWO_GPUS, Placement(("CUDA0", "CUDA1"), 33, 33)),
        ("load_tensors: offloaded 31/31 layers to GPU", Placement((), 31, 31)),
        (NO_LAYERS, Placement((), 0, 31)),
        ("load_tensors:   CPU_Mapped model buffer size =    93.80 MiB", None),
        ("", None),
        ("load_tensors: offloaded 9999999/31 layers to GPU", None),
    ],
)
def test_the_placement_is_read_from_the_log(text: str, placement: Placement | None) -> None:
    """The placement is read from the number of offloaded layers and the buffers on devices."""
    assert log(text).placement() == placement


@pytest.mark.parametrize(
    ("line", "is_out_of_memory"),
    [
        ("ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory", True),
        ("ggml_vulkan: Device memory allocation of size 1 failed. ErrorOutOfHostMemory", True),
        ("CUDA error: out of memory", True),
        ("alloc_tensor_range: failed to allocate CUDA0 buffer of size 1073741824", True),
        ("llama_kv_cache: unable to allocate Vulkan0 buffer", True),
        ("llama_model_load: error loading model: unknown architecture", False),
        (TWO_LAYERS, False),
    ],
)
def test_messages_about_memory_are_recognized(line: str, is_out_of_memory: bool) -> None:  # noqa: FBT001 - a table
    """A message that memory ran out is recognized, among others."""
    assert log(f"{TWO_LAYERS}\n{line}").out_of_memory is is_out_of_memory


def test_each_line_is_passed_on() -> None:
    """Each line is passed on, without its end; bytes that are not UTF-8 are replaced."""
    lines: list[str] = []
    ChildLog(io.BytesIO(b"one\r\n\xff two\n"), lines.append).wait()
    assert lines == ["one", "\ufffd two"]


def test_a_log_that_does_not_mention_slots_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """If llama.cpp does not report that the model is ready, the wait for its log ends."""
    monkeypatch.setattr(child_log, "_LOG_DELAY_S", 0.05)
    start = time.monotonic()
    assert ChildLog(io.BytesIO(b"nothing")).placement() is None
    assert time.monotonic() - start < 1


def test_a_child_without_a_log_has_no_placement(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child without standard error has no log."""
    monkeypatch.setattr(child_log, "_LOG_DELAY_S", 0.05)
    found = ChildLog(None)
    assert (found.placement(), found.out_of_memory) == (None, False)
