"""Loading the model of a plan, or a smaller form of it, with a notice if it is not as planned."""

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.application.load import open_engine, open_later
from hermes_cli.application.model_choice import ModelChoice
from hermes_cli.application.runtime import Runtime
from hermes_cli.engines.llama_cpp.settings import COPIES_MIB, ERRORS, REPORTS_DEVICES, LlamaSettings
from hermes_cli.engines.llama_cpp.subprocess_server import out_of_memory
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.errors import HermesError, ResourcesExhausted
from hermes_cli.models import hardware, selection
from hermes_cli.models.gguf.model import GgufHeader
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.local import describe_file
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.selected_model import SelectedModel
from hermes_cli.placement import Placement
from hermes_cli.screen.terminal import Terminal
from tests.models.gguf.small_gguf import write_small
from tests.models.plan.machines import machine
from tests.models.plan.test_offload import device, with_llama

GPU = with_llama(device("RTX 3070", 8, 7.6))
NO_GPU = machine(free=24)
LAYERS = 9
"""The model has eight layers and the output layer."""


@dataclass
class FakeLlama:
    """Takes the place of llama.cpp: it runs out of memory for the first `failures` loads."""

    failures: int = 0
    placement: Placement | None = None
    settings: list[LlamaSettings] = field(default_factory=list)

    def __call__(self, header: GgufHeader, settings: LlamaSettings, **_other: Any) -> ScriptedEngine:
        """Load the model, or raise the error of llama.cpp."""
        self.settings.append(settings)
        if len(self.settings) <= self.failures:
            raise out_of_memory(header.path)
        engine = ScriptedEngine(["Hello."])
        engine.placement = self.placement
        return engine


@pytest.fixture
def llama(monkeypatch: pytest.MonkeyPatch) -> FakeLlama:
    """The engine that is loaded in place of llama.cpp."""
    fake = FakeLlama()
    monkeypatch.setattr("hermes_cli.engines.llama_cpp.engine.LlamaCppEngine", fake)
    return fake


Choose = Callable[..., ModelChoice]


@pytest.fixture
def choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Choose:
    """A function that plans a small GGUF on a machine."""
    write_small(tmp_path / "small.gguf", blocks=LAYERS - 1, width=128)  # heads of 32, as q8_0 needs
    selected = SelectedModel("small", "it was requested", describe_file(tmp_path / "small.gguf", "small"))

    def plan(found: Hardware, request: PlanRequest | None = None) -> ModelChoice:
        monkeypatch.setattr(hardware, "probe", lambda: found)
        request = request or PlanRequest()
        can_use_gpu = bool(found.llama.backend)
        return ModelChoice(selected, selection.make_plan(selected, found, request), can_use_gpu=can_use_gpu)

    return plan


class Keyboard(io.BytesIO):
    """Typed lines; its file descriptor is that of a terminal."""

    def fileno(self) -> int:
        """Return the descriptor of a terminal that nobody uses."""
        return TERMINAL


TERMINAL = os.openpty()[1]


def runtime_with(home: Mapping[str, str], typed: str | None = None) -> tuple[Runtime, io.StringIO]:
    """Return a runtime and its standard error; it has a terminal if the user types something."""
    shown, is_tty = io.StringIO(), typed is not None
    stdin = Keyboard((typed or "").encode())
    return Runtime(Terminal(stdin, io.BytesIO(), shown, is_tty, is_tty, is_tty), home), shown


def test_layers_are_loaded_as_planned(home: Mapping[str, str], choose: Choose, llama: FakeLlama) -> None:
    """All layers of a small model are loaded on the GPU, and llama.cpp reports them."""
    runtime, shown = runtime_with(home)
    llama.placement = Placement(("CUDA0",), LAYERS, LAYERS)
    open_engine(runtime, choose(GPU))
    (settings,) = llama.settings
    assert (settings.gpus, settings.layers, settings.verbosity) == ((0,), (LAYERS,), REPORTS_DEVICES)
    assert shown.getvalue() == ""


def test_the_cpu_has_no_layers_on_a_gpu(home: Mapping[str, str], choose: Choose, llama: FakeLlama) -> None:
    """On the CPU no GPU is named; only a build for GPUs reports its devices."""
    runtime, _ = runtime_with(home)
    open_engine(runtime, choose(NO_GPU))
    open_engine(runtime, choose(GPU, PlanRequest(device="cpu", kv="q8_0")))
    assert [(s.gpus, s.layers, s.kv_type) for s in llama.settings] == [((), (), "f16"), ((), (), "q8_0")]
    assert [s.verbosity for s in llama.settings] == [ERRORS, REPORTS_DEVICES]


def test_a_group_keeps_copies_of_the_kv_cache(
    home: Mapping[str, str], choose: Choose, llama: FakeLlama
) -> None:
    """A chat with one character does not, because its answers then depend on the seed alone."""
    runtime, _ = runtime_with(home)
    open_engine(runtime, choose(NO_GPU))
    open_engine(runtime, replace(choose(NO_GPU), is_for_group=True))
    assert [settings.copies_mib for settings in llama.settings] == [0, COPIES_MIB]


def test_half_the_layers_are_loaded_if_the_gpu_is_full(
    home: Mapping[str, str], choose: Choose, llama: FakeLlama
) -> None:
    """If memory runs out, half the layers are loaded without asking, and the user is notified."""
    runtime, shown = runtime_with(home)
    llama.failures = 1
    choice = choose(GPU)
    open_engine(runtime, choice)
    assert [settings.layers for settings in llama.settings] == [(LAYERS,), (LAYERS // 2,)]
    assert choice.plan is not None
    assert choice.plan.gpu_layers == LAYERS // 2
    assert (
        shown.getvalue()
        == "not enough memory to load small.gguf; loading it with 4 layers on cuda:0 instead\n"
    )


def test_a_gguf_is_loaded_again_only_once(home: Mapping[str, str], choose: Choose, llama: FakeLlama) -> None:
    """If half the layers are too many, too, the load fails."""
    runtime, _ = runtime_with(home)
    llama.failures = 9
    with pytest.raises(ResourcesExhausted, match=r"not enough memory to load small\.gguf"):
        open_engine(runtime, choose(GPU))
    assert [settings.layers for settings in llama.settings] == [(LAYERS,), (LAYERS // 2,)]


def test_a_script_takes_a_smaller_form_only_with_fallback(
    home: Mapping[str, str], choose: Choose, llama: FakeLlama
) -> None:
    """Without a terminal, a smaller context is loaded only with --fallback."""
    runtime, shown = runtime_with(home)
    llama.failures = 1
    with pytest.raises(ResourcesExhausted):
        open_engine(runtime, choose(NO_GPU))
    assert (len(llama.settings), shown.getvalue()) == (1, "")
    llama.failures = 2  # the second load, too
    open_engine(runtime, choose(NO_GPU), fallback=True)
    assert [settings.context_size for settings in llama.settings] == [1024, 1024, 512]
    assert shown.getvalue() == (
        "not enough memory to load small.gguf; loading it with a context of 512 tokens instead\n"
    )


@pytest.mark.parametrize("typed", ["\n", "y\n", " YES\n"])
def test_the_user_may_accept_a_smaller_form(
    home: Mapping[str, str], choose: Choose, llama: FakeLlama, typed: str
) -> None:
    """At a terminal the user is asked, and the smaller form is loaded."""
    runtime, shown = runtime_with(home, typed)
    llama.failures = 1
    choice = choose(NO_GPU)
    open_engine(runtime, choice)
    assert [settings.context_size for settings in llama.settings] == [1024, 512]
    assert choice.plan is not None
    assert choice.plan.context_size == 512
    assert "not enough memory to load small.gguf" in shown.getvalue()
    assert "Load it with a context of 512 tokens instead? [Y/n] " in shown.getvalue()


@pytest.mark.parametrize("typed", ["n\n", "no\n", "what\n"])
def test_the_user_may_decline_a_smaller_form(
    home: Mapping[str, str], choose: Choose, llama: FakeLlama, typed: str
) -> None:
    """Any other answer ends with the error."""
    runtime, _ = runtime_with(home, typed)
    llama.failures = 1
    with pytest.raises(ResourcesExhausted):
        open_engine(runtime, choose(NO_GPU))
    assert len(llama.settings) == 1


def test_no_question_is_asked_if_there_is_no_smaller_form(
    home: Mapping[str, str], choose: Choose, llama: FakeLlama
) -> None:
    """With the smallest context there is nothing to ask."""
    runtime, shown = runtime_with(home, "y\n")
    llama.failures = 1
    with pytest.raises(ResourcesExhausted):
        open_engine(runtime, choose(NO_GPU, PlanRequest(context_size=512)))
    assert "[Y/n]" not in shown.getvalue()


def test_another_error_is_not_an_error_of_memory(
    home: Mapping[str, str], choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that is not about memory is raised at once, with --fallback too."""
    attempts: list[LlamaSettings] = []

    def fail(_header: GgufHeader, settings: LlamaSettings, **_other: Any) -> None:
        attempts.append(settings)
        raise HermesError("llama.cpp could not load small.gguf")

    monkeypatch.setattr("hermes_cli.engines.llama_cpp.engine.LlamaCppEngine", fail)
    runtime, _ = runtime_with(home, "y\n")
    with pytest.raises(HermesError, match="could not load"):
        open_engine(runtime, choose(GPU), fallback=True)
    assert len(attempts) == 1


def test_a_difference_to_the_plan_is_printed(
    home: Mapping[str, str], choose: Choose, llama: FakeLlama
) -> None:
    """If the engine reports other layers than planned, both are printed."""
    runtime, shown = runtime_with(home)
    llama.placement = Placement(("CUDA0",), 3, LAYERS)
    open_engine(runtime, choose(GPU))
    assert shown.getvalue() == (
        "small: the plan was 9 of 9 layers on CUDA0, but the engine loaded 3 of 9 layers on CUDA0\n"
    )


def test_a_gpu_that_is_used_against_the_plan_is_printed(
    home: Mapping[str, str], choose: Choose, llama: FakeLlama
) -> None:
    """If layers are on a GPU although the plan is the CPU, that is printed."""
    runtime, shown = runtime_with(home)
    llama.placement = Placement(("Vulkan0",), LAYERS, LAYERS)
    open_engine(runtime, choose(GPU, PlanRequest(device="cpu")))
    assert (
        "the plan was all layers on the CPU, but the engine loaded 9 of 9 layers on Vulkan0"
        in shown.getvalue()
    )


def test_a_load_in_the_background_keeps_its_notices(
    home: Mapping[str, str], choose: Choose, llama: FakeLlama
) -> None:
    """A load on a thread prints nothing; the caller prints its notices."""
    runtime, shown = runtime_with(home)
    llama.failures, llama.placement = 1, Placement(("CUDA0",), 4, LAYERS)
    engine = open_later(runtime, choose(GPU))
    engine.start()
    engine.opened()
    assert engine.notices == [
        "not enough memory to load small.gguf; loading it with 4 layers on cuda:0 instead"
    ]
    assert (engine.placement, shown.getvalue()) == (llama.placement, "")


def test_a_gpu_that_is_gone_is_not_planned_again(
    home: Mapping[str, str], choose: Choose, llama: FakeLlama, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the GPU has disappeared when fewer layers are planned, the error says that there is none."""
    runtime, _ = runtime_with(home)
    llama.failures = 1
    choice = choose(GPU)
    monkeypatch.setattr(hardware, "probe", lambda: replace(GPU, llama=replace(GPU.llama, gpus=())))
    with pytest.raises(HermesError, match="--gpu-layers needs a GPU"):
        open_engine(runtime, choice)
