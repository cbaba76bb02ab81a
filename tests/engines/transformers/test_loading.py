"""Tests of loading a model: the precision is the plan's, and every failure has a message."""

import dataclasses
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hermes_cli.engines.transformers.engine import TransformersEngine
from hermes_cli.engines.transformers.int8 import Int8Linear
from hermes_cli.engines.transformers.loading import load_model, placement_of
from hermes_cli.engines.transformers.quantize import quantize
from hermes_cli.errors import ModelUnavailable, ResourcesExhausted
from hermes_cli.models.plan.refusal import Smaller
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.placement import Placement, difference
from tests.engines.plans import plan_for

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
IDS = torch.arange(1000, 1040)[None]


def logits(model: Any) -> torch.Tensor:
    """Return the logits of a fixed prompt, in float32."""
    with torch.inference_mode():
        result: torch.Tensor = model(IDS).logits[0].float()
    return result


def copy_of(folder: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_weights_have_the_dtype_of_the_plan(mistral_folder: Path, precision: str) -> None:
    """The parameters have the dtype of the plan and the device is the CPU."""
    model, device = load_model(plan_for(mistral_folder, precision))
    assert {p.dtype for p in model.parameters()} == {PRECISIONS[precision]}
    assert device.type == "cpu"


@pytest.mark.slow
def test_4_bit_layers_are_nf4_with_double_quantization(mistral_folder: Path) -> None:
    """4-bit layers are NF4 with double quantization, and the output layer is not quantized."""
    model, _ = load_model(plan_for(mistral_folder, "4bit"))
    linear = model.get_decoder().layers[0].mlp.up_proj
    assert type(linear).__name__ == "Linear4bit"
    assert linear.weight.quant_state.quant_type == "nf4"
    assert linear.weight.quant_state.nested
    assert type(model.lm_head).__name__ == "Linear"


def test_8_bit_logits_on_the_cpu_are_close_to_bfloat16(mistral_folder: Path, mistral: Any) -> None:
    """8-bit logits on the CPU are within 3 times bfloat16's rounding error, for one row and for many."""
    model, _ = load_model(plan_for(mistral_folder, "8bit"))
    assert isinstance(model.lm_head, Int8Linear)
    exact, sixteen = logits(mistral), logits(load_model(plan_for(mistral_folder, "bf16"))[0])
    rounding = (sixteen - exact).abs().mean()
    assert (logits(model) - exact).abs().mean() < 3 * rounding
    one = torch.randn(1, 1, 64).bfloat16()
    layer = model.get_decoder().layers[0].mlp.up_proj
    many = layer(one.expand(1, 9, 64))  # more rows than the kernel takes: the other code path
    torch.testing.assert_close(many[:, :1], layer(one), atol=0.02, rtol=0.02)


def test_loading_reports_its_progress_and_prints_nothing(
    mistral_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Loading reports its progress to the end and prints nothing."""
    seen: list[tuple[int, int]] = []
    load_model(plan_for(mistral_folder, "4bit"), lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_truncated_file_is_refused(mistral_folder: Path, tmp_path: Path) -> None:
    """A truncated weights file is refused with a hint at `hermes models show`."""
    plan = plan_for(mistral_folder)
    folder = copy_of(mistral_folder, tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: -(1 << 20)])
    with pytest.raises(ModelUnavailable, match="could not be loaded") as caught:
        load_model(dataclasses.replace(plan, path=folder))
    assert "hermes models show" in caught.value.hint


def test_missing_layers_are_refused(mistral_folder: Path, tmp_path: Path) -> None:
    """A config with more layers than the files is refused with both numbers of weights."""
    plan = plan_for(mistral_folder)
    folder = copy_of(mistral_folder, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] += 2
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelUnavailable, match=r"describes .* weights, but its files contain"):
        load_model(dataclasses.replace(plan, path=folder))


def test_a_missing_tensor_is_refused_by_name(mistral_folder: Path, tmp_path: Path) -> None:
    """A missing tensor is refused by name, even if a spare one keeps the number of weights right."""
    plan = plan_for(mistral_folder)
    folder = copy_of(mistral_folder, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    tensors["model.layers.0.mlp.spare.weight"] = tensors.pop(name)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelUnavailable, match=re.escape(name)):
        load_model(dataclasses.replace(plan, path=folder))


def test_a_matrix_of_the_wrong_shape_is_refused(mistral_folder: Path, tmp_path: Path) -> None:
    """A matrix of the wrong shape is refused, without advice about an option of transformers."""
    plan = plan_for(mistral_folder)
    folder = copy_of(mistral_folder, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["intermediate_size"] //= 2
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelUnavailable, match="do not have the shapes") as caught:
        load_model(dataclasses.replace(plan, path=folder))
    assert "ignore_mismatched" not in str(caught.value)


@pytest.mark.slow
def test_the_kernels_package_is_not_imported(tmp_path: Path) -> None:
    """Importing the engine and bitsandbytes does not import `kernels`, which fetches code from the hub."""
    (tmp_path / "kernels.py").write_text("raise SystemExit('kernels was imported')\n")
    program = "import hermes_cli.engines.transformers.quantize, bitsandbytes; print('quiet')"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout.strip(), run.returncode) == ("quiet", 0)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_16_bit_weights_are_rounded_to_8_bits_on_load(
    mistral_folder: Path, mistral: Any, tmp_path: Path, precision: str
) -> None:
    """Weights in float16 or bfloat16 are rounded to 8 bits within 1.2 steps of the exact values."""
    folder = copy_of(mistral_folder, tmp_path)
    tensors = load_file(mistral_folder / "model.safetensors")
    changed = {name: tensor.to(PRECISIONS[precision]) for name, tensor in tensors.items()}
    save_file(changed, folder / "model.safetensors", {"format": "pt"})
    model, _ = load_model(plan_for(folder, "8bit"))
    layer = model.get_decoder().layers[1].self_attn.q_proj
    exact = mistral.get_decoder().layers[1].self_attn.q_proj.weight
    step = exact.abs().amax(1, keepdim=True) / 127
    assert layer.weight.dtype == torch.int8
    assert ((layer.weight * layer.scale.float()[:, None] - exact).abs() <= 1.2 * step).all()


def test_a_missing_cuda_device_is_refused(mistral_folder: Path) -> None:
    """A CUDA device that does not exist is refused with a hint at `--device cpu`."""
    plan = dataclasses.replace(plan_for(mistral_folder), device="cuda:7", devices=("cuda:7",))
    with pytest.raises(ModelUnavailable, match="CUDA") as caught:
        load_model(plan)
    assert "--device cpu" in caught.value.hint


def test_out_of_memory_suggests_the_next_smaller_plan(mistral_folder: Path) -> None:
    """If memory runs out during the load, the hint is the plan's next smaller one."""
    plan = dataclasses.replace(
        plan_for(mistral_folder),
        smaller=Smaller("--precision 4bit needs 5.1 GiB", "in 4-bit", PlanRequest(precision="4bit")),
    )

    def full(_done: int, _total: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(ResourcesExhausted, match="ran out of memory") as caught:
        load_model(plan, full)
    assert caught.value.hint == "--precision 4bit needs 5.1 GiB"


class Trap:
    """Run code when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("trap-was-sprung"),)


def test_code_in_pickled_weights_is_not_run(
    mistral_folder: Path, mistral: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A .bin file gives the same logits, and one with code in its pickle is refused without running it."""
    monkeypatch.chdir(tmp_path)
    folder = copy_of(mistral_folder, tmp_path)
    plan = dataclasses.replace(plan_for(mistral_folder, "fp32"), path=folder)
    (folder / "model.safetensors").unlink()
    torch.save(mistral.state_dict(), folder / "pytorch_model.bin")
    assert torch.equal(logits(load_model(plan)[0]), logits(mistral))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelUnavailable, match="contain more than tensors") as caught:
        load_model(plan)
    assert "weights_only" not in f"{caught.value.message} {caught.value.hint}"  # torch's advice is unsafe
    assert not (tmp_path / "trap-was-sprung").exists()


def test_a_saved_quantization_loads_with_the_same_logits(mistral_folder: Path, tmp_path: Path) -> None:
    """A saved 4-bit model loads with the logits of one that is quantized at load time."""
    plan = plan_for(mistral_folder, "4bit")
    folder = tmp_path / "models" / "tiny-nf4"
    slow_s, fast_s = quantize(plan, folder)
    assert slow_s > 0
    assert fast_s > 0
    saved = plan_for(folder)
    assert (saved.precision, saved.quantization) == ("4-bit nf4", "")
    assert saved.dtype == "bfloat16"
    torch.testing.assert_close(logits(load_model(saved)[0]), logits(load_model(plan)[0]), atol=0.5, rtol=0.05)
    assert (folder / "tokenizer.json").read_bytes() == (mistral_folder / "tokenizer.json").read_bytes()
    assert [p.name for p in folder.parent.iterdir()] == ["tiny-nf4"]


def test_the_loaded_placement_is_the_planned_one(mistral_folder: Path) -> None:
    """On the CPU all layers are where the plan says, and the engine reports them."""
    plan = plan_for(mistral_folder)
    engine = TransformersEngine.open(plan)
    try:
        assert engine.placement == Placement((), 0, plan.layer_count) == plan.placement
        assert (
            plan.layer_count == json.loads((mistral_folder / "config.json").read_text())["num_hidden_layers"]
        )
        assert difference(plan.placement, engine.placement) == ""
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("places", "placement"),
    [
        (["cuda:0", "cuda:0", "cuda:1"], Placement(("cuda:0", "cuda:1"), 3, 3)),
        (["mps:0", "mps:0"], Placement(("mps",), 2, 2)),
        (["cuda:0", "cpu", "meta"], Placement(("cuda:0",), 1, 3)),
    ],
)
def test_the_placement_has_the_names_of_the_plan(places: list[str], placement: Placement) -> None:
    """The devices have the names that a plan uses; layers on the CPU or on disk are not on a GPU."""

    def layer(device: str) -> SimpleNamespace:
        parameter = SimpleNamespace(device=torch.device(device))
        return SimpleNamespace(parameters=lambda: iter([parameter]))

    decoder = SimpleNamespace(layers=[layer(device) for device in places])
    assert placement_of(SimpleNamespace(get_decoder=lambda: decoder)) == placement
