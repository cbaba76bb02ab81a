"""Selecting a model, and the reason for the selection."""

import os
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.catalogue import STARTER_FILE
from hermes_cli.models.gpus import Gpu
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.requirements import Finder
from hermes_cli.models.selected_model import SelectedModel
from hermes_cli.models.selection import make_plan, resolve
from hermes_cli.models.units import GIB
from hermes_cli.prompts.template_request import RAW, read_request
from tests.models.conftest import MakeGguf
from tests.models.small_checkpoint import checkpoint_files, put_in_cache, write_checkpoint

MACHINE = Hardware(2, 4, 8 * GIB, 4 * GIB)
FULL = Hardware(2, 4, 8 * GIB, GIB // 8)


def all_installed(name: str) -> ModuleSpec | None:
    """Find every package; the build of torch is unknown."""
    return ModuleSpec(name, None)


def none_installed(_name: str) -> ModuleSpec | None:
    """Find no package."""
    return None


def select(
    tmp_path: Path,
    text: str | None,
    configured: str | None = None,
    hardware: Hardware = MACHINE,
    finder: Finder = all_installed,
    *,
    request: PlanRequest | None = None,
) -> SelectedModel | None:
    """Resolve with the models in tmp_path / models and the cache in tmp_path / cache."""
    return resolve(
        text,
        models_dir=tmp_path / "models",
        hardware=hardware,
        configured=configured,
        cache_dir=tmp_path / "cache",
        finder=finder,
        request=request,
    )


def test_without_models_nothing_is_selected(tmp_path: Path) -> None:
    """Without any model, nothing is selected and no error is raised."""
    assert select(tmp_path, None) is None


def test_the_starter_is_marked_for_fetching(tmp_path: Path) -> None:
    """On a machine without models, `-m starter` selects the starter and marks it for fetching."""
    selection = select(tmp_path, "starter")
    assert selection is not None
    assert (selection.name, selection.model) == ("starter", None)
    with pytest.raises(ModelUnavailable, match="not on this machine yet"):
        make_plan(selection, MACHINE)


def test_a_damaged_starter_is_fetched_again(tmp_path: Path) -> None:
    """A damaged starter is fetched again."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / STARTER_FILE).write_bytes(b"GGUF")
    selection = select(tmp_path, "starter")
    assert selection is not None
    assert selection.model is None
    assert "damaged" in selection.reason


def test_a_model_that_is_not_installed_is_refused(tmp_path: Path) -> None:
    """A model that is not installed is refused with the pull command and its size."""
    with pytest.raises(ModelUnavailable, match="openhermes-2 is not on this machine") as caught:
        select(tmp_path, "openhermes-2")
    assert caught.value.hint == "download it with 'hermes models pull openhermes-2' (about 4.37 GB)"
    with pytest.raises(ModelUnavailable, match=r"openhermes-2\.5:awq is not on this machine") as caught:
        select(tmp_path, "openhermes-2.5:awq")
    assert caught.value.hint == "download it with 'hermes models pull openhermes-2.5:awq' (about 4.15 GB)"


def test_openhermes_is_preferred_to_the_largest_chatml_model(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """OpenHermes is preferred to any model, and then the largest ChatML model."""
    make_gguf(f"models/{STARTER_FILE}", width=96)
    assert (chosen := select(tmp_path, None)) is not None
    assert (chosen.name, chosen.reason) == ("starter", "it is the only installed chat model")
    make_gguf("models/small.gguf", width=32)  # the starter is larger
    assert (chosen := select(tmp_path, None)) is not None
    assert (chosen.name, chosen.reason) == ("small", "any other chat model is preferred to the starter")
    make_gguf("models/large.gguf", width=64)
    make_gguf("models/no-chatml.gguf", width=128, tokens=["a"], types=[1])
    assert (chosen := select(tmp_path, None)) is not None
    assert chosen.name == "large"
    assert chosen.reason == "it is the largest of the 2 installed ChatML models besides the starter"
    content = make_gguf("x.gguf", title="teknium_OpenHermes-2-Mistral-7B").read_bytes()
    put_in_cache(tmp_path / "cache", "some/one", {"m.gguf": content})
    assert (chosen := select(tmp_path, None)) is not None
    assert chosen.name == "some/one:m.gguf"
    assert "OpenHermes is preferred" in chosen.reason
    assert make_plan(chosen, MACHINE).summary.startswith("some/one:m.gguf · Q4_1 · cpu")


def test_a_gpu_gets_the_weights_and_a_cpu_the_gguf(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """A GPU gets the weights and a CPU the GGUF; weights without their packages are left out."""
    make_gguf("models/twin.gguf")
    (tmp_path / "models/twin.gguf").replace(tmp_path / "models/mine.gguf")
    folder = tmp_path / "cache/models--o--twin/snapshots/c1"
    tensors = {"model.layers.0.x.weight": ("float16", (32, 64))}
    write_checkpoint(folder, checkpoint_files(tensors=tensors, num_hidden_layers=1))
    gpu = replace(MACHINE, gpus=(Gpu("RTX 3090", 24 * GIB, 23 * GIB, "cuda", 0, (8, 6)),))

    def chosen(hardware: Hardware, finder: Finder = all_installed) -> str:
        selection = select(tmp_path, None, hardware=hardware, finder=finder)
        assert selection is not None
        return selection.name

    assert chosen(MACHINE) == "mine"  # both have 2,048 parameters
    assert chosen(gpu) == "o/twin"
    assert chosen(gpu, none_installed) == "mine"
    (tmp_path / "models/mine.gguf").unlink()
    assert chosen(MACHINE) == "o/twin"
    assert select(tmp_path, None, finder=none_installed) is None


def test_a_model_that_requests_code_is_never_selected(tmp_path: Path) -> None:
    """A model that requests code is never selected; only a truncated one is to be fetched again."""
    folder = tmp_path / "cache/models--o--evil/snapshots/c1"
    write_checkpoint(folder, checkpoint_files(auto_map={"AutoModel": "evil.Model"}))
    assert select(tmp_path, None) is None
    with pytest.raises(ModelUnavailable, match="requests custom code") as caught:
        select(tmp_path, "o/evil")
    assert "pull" not in caught.value.hint
    os.truncate(write_checkpoint(folder) / "model.safetensors", 100)
    with pytest.raises(ModelUnavailable, match="truncated") as caught:
        select(tmp_path, "o/evil")
    assert (
        caught.value.hint
        == "delete it with 'hermes models rm o/evil', then download it with 'hermes models pull o/evil'"
    )


def test_a_model_that_does_not_fit_is_skipped(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """A model that does not fit the memory is skipped, and the reason mentions it."""
    make_gguf("models/openhermes-vast.gguf", blocks=60_000, heads_kv=4096, context=8192)
    make_gguf("models/small.gguf")
    chosen = select(tmp_path, None)
    assert chosen is not None
    assert chosen.name == "small"
    assert "openhermes-vast would need more memory" in chosen.reason
    assert select(tmp_path, None, hardware=FULL) is None


def test_the_configured_model_is_selected_unless_another_is_named(
    make_gguf: MakeGguf, tmp_path: Path
) -> None:
    """The configured model is selected unless another one is named."""
    make_gguf("models/one.gguf")
    make_gguf("models/two.gguf")
    assert (chosen := select(tmp_path, None, configured="two")) is not None
    assert (chosen.name, chosen.reason) == ("two", "it is the configured model")
    assert (chosen := select(tmp_path, "one", configured="two")) is not None
    assert (chosen.name, chosen.reason) == ("one", "it was requested")


def test_a_file_is_found_by_its_path_or_by_that_of_its_folder(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """A file is found by its path, and by its folder's path if the folder holds one GGUF."""
    path = make_gguf("elsewhere/m.gguf")
    for text in (str(path), str(path.parent)):
        assert (chosen := select(tmp_path, text)) is not None
        assert chosen.model is not None
        assert (chosen.model.path, chosen.name) == (path, "m")
    make_gguf("elsewhere/n.gguf")
    with pytest.raises(ModelUnavailable, match="contains 2 GGUF files"):
        select(tmp_path, str(path.parent))
    with pytest.raises(ModelUnavailable, match="contains no model"):
        select(tmp_path, str(tmp_path))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """A damaged file is refused with its reason."""
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"no model")
    with pytest.raises(ModelUnavailable, match=r"bad cannot be used: .* is not a GGUF file"):
        select(tmp_path, str(path))


NO_CHATML = {"tokens": ["a"], "types": [1]}


def test_models_with_a_template_are_preferred_to_the_starter(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """ChatML models come before them, whatever their sizes."""
    make_gguf("models/plain.gguf", width=96, template="{{ messages[0].content }}", **NO_CHATML)
    assert (chosen := select(tmp_path, None)) is not None
    assert (chosen.name, chosen.reason) == ("plain", "it is the only installed chat model")
    assert "the model's chat template" in make_plan(chosen, MACHINE).reason
    make_gguf(f"models/{STARTER_FILE}", width=128)
    assert (chosen := select(tmp_path, None)) is not None
    assert (chosen.name, chosen.reason) == ("plain", "any other chat model is preferred to the starter")
    make_gguf("models/larger.gguf", width=112, template="{{ messages[0].content }}", **NO_CHATML)
    assert (chosen := select(tmp_path, None)) is not None
    assert chosen.name == "larger"
    assert chosen.reason == (
        "it is the largest of the 2 installed models with another chat template besides the starter"
    )
    make_gguf("models/chatml.gguf", width=32)
    assert (chosen := select(tmp_path, None)) is not None
    assert chosen.name == "chatml"
    assert chosen.reason == "it is the only installed ChatML model besides the starter"


def selected(selection: SelectedModel | None) -> SelectedModel:
    """Return the selection, which must exist."""
    assert selection is not None
    return selection


def test_a_model_with_an_unusable_template_is_not_selected(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """If it is named, its plan is the error."""
    make_gguf("models/broken.gguf", width=96, template="{% for %}", **NO_CHATML)
    make_gguf("models/plain.gguf", template="{{ messages[0].content }}", **NO_CHATML)
    chosen = selected(select(tmp_path, None))
    assert chosen.name == "plain"
    chosen = selected(select(tmp_path, "broken"))
    with pytest.raises(ModelUnavailable, match="the model's chat template cannot be used"):
        make_plan(chosen, MACHINE)


def test_a_base_model_is_selected_only_on_request(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """Its plan is refused without --chat-template or --raw. An unknown name does not change the selection."""
    make_gguf("models/base.gguf", template="", **NO_CHATML)
    assert select(tmp_path, None) is None
    chosen = selected(select(tmp_path, "base"))
    with pytest.raises(ModelUnavailable, match="no chat template"):
        make_plan(chosen, MACHINE)
    for template in (read_request("chatml"), RAW):
        request = PlanRequest(chat_template=template)
        chosen = selected(select(tmp_path, None, request=request))
        assert make_plan(chosen, MACHINE, request).prompt_format.why == template.origin
    request = PlanRequest(chat_template=read_request("unknown"))
    chosen = selected(select(tmp_path, None, request=request))
    with pytest.raises(ModelUnavailable, match="no chat template 'unknown'"):
        make_plan(chosen, MACHINE, request)
