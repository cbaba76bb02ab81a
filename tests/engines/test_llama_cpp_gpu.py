"""The plan of a GGUF equals what runs, read back from llama.cpp's log.

Any GPU that the installed llama.cpp supports will do, also Mesa's software GPU with a Vulkan build
(GGML_VK_VISIBLE_DEVICES=0). The model is tiny, because a software GPU compiles its kernels for minutes.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hermes_cli.engines.base import Cancel, Completion, FinishReason
from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
from hermes_cli.engines.llama_cpp.settings import REPORTS_DEVICES, LlamaSettings
from hermes_cli.messages import Message, Role
from hermes_cli.models import hardware
from hermes_cli.models.facts import facts_of
from hermes_cli.models.gguf.model import read_header
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.offload import BATCH, MARGIN
from hermes_cli.models.plan.planner import Plan, choose
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.options import GenerationOptions
from hermes_cli.placement import Placement, difference
from tests.gguf_models import write_openhermes_gguf

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

LAYERS = 3
"""Two layers and the output layer."""
GREEDY = GenerationOptions(temperature=0, max_tokens=8)
CONTEXT = 256


@pytest.fixture(scope="module")
def machine() -> Hardware:
    """This machine."""
    found = hardware.probe()
    if not found.llama.gpus:
        pytest.skip("the installed llama.cpp supports no GPU here")
    return found


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model."""
    return write_openhermes_gguf(tmp_path_factory.mktemp("gpu") / "tiny.gguf")


def plan_for(gguf: Path, machine: Hardware, request: PlanRequest) -> Plan:
    """Return the plan for the tiny model with a small context."""
    return choose(machine, facts_of("tiny", read_header(gguf)), request._replace(context_size=CONTEXT))


def opened(plan: Plan) -> LlamaCppEngine:
    """Return the engine of a plan."""
    settings = LlamaSettings.from_plan(plan, REPORTS_DEVICES)
    return LlamaCppEngine(read_header(plan.path), settings, name="tiny")


def answer(engine: LlamaCppEngine, *texts: str, cancel: Cancel | None = None) -> tuple[str, Completion]:
    """Return the greedy answer to a conversation whose turns are `texts`."""
    roles = (Role.USER, Role.ASSISTANT)
    turns = [Message(roles[number % 2], text) for number, text in enumerate(texts)]
    chunks = list(engine.stream(turns, GREEDY, cancel or Cancel()))
    completion = chunks[-1].completion
    assert completion is not None
    return "".join(chunk.text for chunk in chunks), completion


@pytest.fixture(scope="module")
def cpu_text(gguf: Path, machine: Hardware) -> str:
    """The greedy answer of the CPU."""
    engine = opened(plan_for(gguf, machine, PlanRequest(device="cpu")))
    text, _ = answer(engine, "hello")
    engine.close()
    return text


REQUESTS = (
    (PlanRequest(), LAYERS),
    (PlanRequest(device="cpu"), 0),
    (PlanRequest(gpu_layers=0), 0),
    (PlanRequest(gpu_layers=1), 1),
    (PlanRequest(gpu_layers=2), 2),
    (PlanRequest(gpu_layers="all"), LAYERS),
)


@pytest.mark.parametrize(("request_", "on_gpu"), REQUESTS)
def test_the_layers_are_where_the_plan_puts_them(
    gguf: Path, machine: Hardware, cpu_text: str, request_: PlanRequest, on_gpu: int
) -> None:
    """llama.cpp reports the planned layers and device, and the greedy text is that of the CPU."""
    plan = plan_for(gguf, machine, request_)
    engine = opened(plan)
    try:
        assert engine.placement == Placement(plan.placement.devices, on_gpu, LAYERS)
        assert not difference(plan.placement, engine.placement)
        assert answer(engine, "hello")[0] == cpu_text
    finally:
        engine.close()


def test_a_kv_cache_in_q8_0_is_on_the_gpu(tmp_path: Path, machine: Hardware) -> None:
    """With --kv q8_0 the layers are on the GPU, and the engine answers."""
    gguf = write_openhermes_gguf(tmp_path / "wide.gguf", heads=1)  # q8_0 needs heads of 32 elements
    engine = opened(plan_for(gguf, machine, PlanRequest(gpu_layers="all", kv="q8_0")))
    try:
        assert engine.placement is not None
        assert engine.placement.on_gpu == LAYERS
        assert answer(engine, "hello")[1].usage.completion_tokens > 0
    finally:
        engine.close()


def test_a_gpu_with_little_free_memory_gets_some_of_the_layers(gguf: Path, machine: Hardware) -> None:
    """With memory for one layer beside the margin and the buffer, only the output layer is on the GPU."""
    header = read_header(gguf)
    buffer = BATCH * (len(header.tokens) + 8 * header.embedding_length) * 4
    free = MARGIN + buffer + header.output_bytes
    gpu = replace(machine.llama.gpus[0], memory_free=free)
    small = replace(machine, llama=replace(machine.llama, gpus=(gpu,)))
    plan = plan_for(gguf, small, PlanRequest())
    engine = opened(plan)
    try:
        assert engine.placement == Placement((gpu.llama_name,), 1, LAYERS)
    finally:
        engine.close()


@pytest.fixture
def on_gpu(gguf: Path, machine: Hardware) -> Iterator[LlamaCppEngine]:
    """The tiny model with all layers on the GPU."""
    engine = opened(plan_for(gguf, machine, PlanRequest(gpu_layers="all")))
    yield engine
    engine.close()


def test_the_next_turn_reuses_the_cache_on_the_gpu(on_gpu: LlamaCppEngine) -> None:
    """The second turn prefills only what is new: its prompt without the first prompt and its answer."""
    text, first = answer(on_gpu, "hello")
    _, second = answer(on_gpu, "hello", text, "and then?")
    known = first.usage.prompt_tokens
    assert second.usage.cached_tokens >= known


def test_a_cancel_ends_the_answer_on_the_gpu(on_gpu: LlamaCppEngine) -> None:
    """A cancel before the first token ends the answer without text; the engine then answers again."""
    cancel = Cancel()
    cancel.set()
    text, completion = answer(on_gpu, "hello", cancel=cancel)
    assert (text, completion.finish_reason) == ("", FinishReason.CANCELLED)
    assert answer(on_gpu, "hello")[1].usage.completion_tokens > 0


def test_several_gpus_get_the_layers_of_the_plan(gguf: Path, machine: Hardware) -> None:
    """With two GPUs that hold one and two layers, both are used (GGML_VK_VISIBLE_DEVICES=0,0)."""
    if len(machine.llama.gpus) < 2:
        pytest.skip("there is only one GPU")
    header = read_header(gguf)
    buffer = BATCH * (len(header.tokens) + 8 * header.embedding_length) * 4
    free = MARGIN + buffer + header.output_bytes
    gpus = tuple(replace(gpu, memory_free=free) for gpu in machine.llama.gpus[:2])
    plan = plan_for(
        gguf, replace(machine, llama=replace(machine.llama, gpus=gpus)), PlanRequest(gpu_layers=3)
    )
    engine = opened(plan)
    try:
        assert plan.layers == (2, 1)
        assert engine.placement == plan.placement
    finally:
        engine.close()
