"""`hermes models plan` and `show`, and the flags that decide how a model is run."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli import app
from hermes_cli.models import hardware, requirements
from hermes_cli.models.hardware import Hardware
from hermes_cli.screen.terminal import Terminal
from tests.models.gguf.small_gguf import write_small
from tests.models.plan.machines import gpu, machine
from tests.models.small_checkpoint import checkpoint_files, write_checkpoint
from tests.run_hermes import hermes

Env = Mapping[str, str]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def set_hardware(monkeypatch: pytest.MonkeyPatch, fake: Hardware) -> None:
    """Replace the hardware probe by one that returns this hardware, whose GPUs torch supports."""
    monkeypatch.setattr(hardware, "probe", lambda: fake)
    monkeypatch.setattr(requirements, "_is_built_for", lambda _spec, _build: True)


def test_list_prints_one_table_with_one_description_for_each_model(
    home: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output has every name. An installed model is listed once, without its description."""
    set_hardware(monkeypatch, machine(gpu("RTX 3090", 24, 23.6, (8, 6)), ram=64))
    folder = Path(home["OPENHERMES_HOME"]) / "data/models"
    folder.mkdir(parents=True)
    write_small(folder / "mine.gguf")
    result = hermes("models", "list", env=home)
    lines = result.stdout.decode().splitlines()
    assert lines[0] == "installed"
    assert lines[1].split()[0] == "mine"
    assert [line for line in lines if not line.startswith(" ")] == [
        "installed",
        "OpenHermes 2 - Mistral 7B: the model hermes was made for (Apache-2.0)",
        "OpenHermes 2.5 - Mistral 7B: its successor, trained on more code (Apache-2.0)",
        "SmolLM2 135M Instruct: very small, for trying out hermes (Apache-2.0)",
        "SmolLM2 1.7B Instruct: small and fast, for English (Apache-2.0)",
        "Gemma 3 4B: over 140 languages; hermes shows it no images (Gemma Terms of Use)",
        "Phi-4-mini 3.8B Instruct: math and logic, for little memory (MIT)",
        "Qwen3 4B: thinks before it answers, over 100 languages (Apache-2.0)",
        "Mistral 7B Instruct v0.3: general conversation (Apache-2.0)",
        "Llama 3.1 8B Instruct: long texts, eight languages (Llama 3.1 Community License)",
        "Qwen3 8B: like Qwen3 4B, larger (Apache-2.0)",
        "Qwen3 14B: the largest of the three (Apache-2.0)",
        "Mistral Small 3 24B Instruct: knowledge, dozens of languages (Apache-2.0)",
    ]
    names = [line.split()[0] for line in lines if line.startswith("  openhermes-2:")]
    assert names == [f"openhermes-2:{form}" for form in ("gguf", "q5_k_m", "q8_0", "16bit", "gptq", "awq")]
    best = [line.split()[0] for line in lines if "best form here" in line]
    assert best == [
        *(f"openhermes-{version}:16bit" for version in ("2", "2.5")),
        *(f"{name}:16bit" for name in ("smollm2-1.7b", "qwen3-4b", "mistral-7b", "llama-3.1-8b")),
        *(f"qwen3-{size}:16bit" for size in ("8b", "14b")),
    ]
    assert [line.split()[0] for line in lines if line.endswith("gated")] == ["llama-3.1-8b:16bit"]
    assert max(map(len, lines)) <= 80
    assert result.stderr == "'hermes models pull NAME' downloads one of these models\n"


def test_plan_accepts_a_model_that_is_not_downloaded(home: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line reports the precisions that do not fit."""
    set_hardware(monkeypatch, machine(gpu("RTX 3070", 8, 7.6, (8, 6))))
    result = hermes("models", "plan", "openhermes-2:16bit", env=home)
    lines = result.stdout.decode().splitlines()
    assert result.code == 0, result.stderr
    assert lines[0].split()[:3] == ["precision", "device", "context"]
    (chosen,) = (line for line in lines if line.startswith("→"))
    assert chosen.split()[1:4] == ["4-bit", "nf4", "cuda:0"]
    assert lines[-1].startswith("16-bit would need 15.8 GiB and cuda:0 has 7.6 GiB free")
    assert lines[-1].endswith("the model supports a context of up to 32,768 tokens (set it with --context)")
    assert "not downloaded yet" in result.stderr


def test_plan_has_short_lines_if_the_terminal_is_narrower_than_the_table(
    home: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams in memory are a terminal of 80 columns."""
    set_hardware(monkeypatch, machine(gpu("RTX 3070", 8, 7.6, (8, 6))))
    out, err = io.BytesIO(), io.StringIO()
    terminal = Terminal(io.BytesIO(), out, err, False, True, True)  # noqa: FBT003 - the streams
    assert app.run(["models", "plan", "openhermes-2:16bit"], terminal, home) == 0
    lines = out.getvalue().decode().splitlines()
    assert lines[0] == "  bf16 on cuda:0: 8.2 GiB short"
    assert "→ 4-bit nf4 on cuda:0: chosen" in lines
    assert max(map(len, lines)) <= 80


def test_plan_prints_the_table_and_exits_75_if_nothing_fits(
    home: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --json the exit code is the same."""
    set_hardware(monkeypatch, machine(gpu("GTX 1650", 4, 3.8, (7, 5)), ram=16, free=12))
    result = hermes("models", "plan", "openhermes-2:16bit", env=home)
    assert result.code == 75
    assert b"4-bit nf4" in result.stdout
    assert "does not fit cuda:0" in result.stderr
    as_json = hermes("models", "plan", "openhermes-2:16bit", "--json", env=home)
    assert (as_json.code, as_json.json["plan"]) == (75, None)


def test_flags_override_environment_variables(home: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flags are --precision, --device and --context."""
    set_hardware(monkeypatch, machine(gpu("RTX 3090", 24, 23.6, (8, 6)), ram=64))

    def precision(*arguments: str, **environ: str) -> str:
        result = hermes("models", "plan", "openhermes-2:16bit", "--json", *arguments, env={**home, **environ})
        assert result.code == 0, result.stderr
        plan = result.json["plan"]
        return f"{plan['precision']} {plan['device']} {plan['context_size']}"

    assert precision() == "bf16 cuda:0 8192"
    assert precision("--precision", "4bit", "--context", "1024") == "4-bit nf4 cuda:0 1024"
    assert precision("--device", "cpu", OPENHERMES_PRECISION="8bit") == "8-bit int8 cpu 8192"
    assert (
        precision("--precision", "auto", OPENHERMES_PRECISION="8bit", OPENHERMES_DEVICE="cpu")
        == "bf16 cpu 8192"
    )


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "message"),
    [
        (["--precision", "5bit"], {}, 2, "--precision takes auto"),
        (["--device", "tpu"], {}, 2, "--device takes auto"),
        (
            [],
            {"OPENHERMES_PRECISION": "5bit"},
            78,
            "environment (OPENHERMES_PRECISION): precision takes auto",
        ),
        ([], {"OPENHERMES_DEVICE": "x"}, 78, "environment (OPENHERMES_DEVICE): device takes auto"),
    ],
)
@pytest.mark.parametrize("verb", [["models", "plan", "starter"], ["ask", "hi"], ["tokens", "hi"]])
def test_an_unknown_precision_or_device_is_refused(
    home: Env, *, arguments: list[str], environ: Mapping[str, str], code: int, message: str, verb: list[str]
) -> None:
    """The message names the flag or the variable."""
    result = hermes(*verb, *arguments, env={**home, **environ})
    assert result.code == code
    assert message in result.stderr


def test_show_and_plan_read_a_checkpoint_folder(
    home: Env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch is not needed; a checkpoint with code in it is refused."""
    set_hardware(monkeypatch, machine(ram=8))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    write_checkpoint(tmp_path / "models--o--tiny/snapshots" / COMMIT)
    shown = hermes("models", "show", "o/tiny", env=home).stdout.decode()
    assert COMMIT in shown
    assert "MistralForCausalLM" in shown
    assert "21,664 (18,432 in linear layers)" in shown
    planned = hermes("models", "plan", "o/tiny", "--json", env=home).json
    assert (planned["fetched"], planned["plan"]["revision"], planned["plan"]["context_size"]) == (
        True,
        COMMIT,
        1024,
    )
    write_checkpoint(tmp_path / "models--o--tiny/snapshots" / COMMIT, checkpoint_files(auto_map={"x": "y"}))
    refused = hermes("models", "plan", "o/tiny", env=home)
    assert refused.code == 69
    assert "hermes never runs" in refused.stderr


def test_show_prints_the_licence(home: Env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes from the catalogue, or else from the file, whose text is sanitized."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--bartowski--Meta-Llama-3.1-8B-Instruct-GGUF/snapshots" / COMMIT
    folder.mkdir(parents=True)
    write_small(folder / "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", licence="unknown")
    write_small(tmp_path / "mine.gguf", licence="mit\x1b[31m")
    write_small(tmp_path / "none.gguf")

    def licence(name: str) -> list[str]:
        lines = hermes("models", "show", name, env=home).stdout.decode().splitlines()
        return [line.removeprefix("licence").strip() for line in lines if line.startswith("licence")]

    assert licence("llama-3.1-8b:gguf") == ["Llama 3.1 Community License"]
    assert licence(str(tmp_path / "mine.gguf")) == ["mit␛[31m"]
    assert licence(str(tmp_path / "none.gguf")) == []


@pytest.mark.parametrize(
    ("tokenizer", "reason"),
    [
        (None, "contains neither a tokenizer.json nor a tokenizer.model"),
        ({"added_tokens": []}, "its vocabulary has no <|im_start|> and no <|im_end|> token"),
    ],
)
def test_plan_and_quantize_refuse_what_ask_refuses(
    home: Env, tmp_path: Path, tokenizer: object, reason: str
) -> None:
    """A folder without a tokenizer or a prompt format has no plan; `show` states the reason.

    A base model can be quantized.
    """
    files = checkpoint_files(tokenizer=tokenizer)
    if tokenizer is None:
        del files["tokenizer.json"]
    folder = str(write_checkpoint(tmp_path / "tiny", files))
    quantize = [["models", "quantize", folder]] if tokenizer is None else []
    for verb in (["models", "plan", folder], *quantize, ["ask", "-m", folder, "hi"]):
        result = hermes(*verb, env=home)
        assert (result.code, result.stdout) == (69, b"")
        assert reason in result.stderr
    shown = hermes("models", "show", folder, env=home)
    assert shown.code == 0
    assert reason in " ".join(shown.stdout.decode().split())


def test_plan_refuses_a_gguf_without_a_prompt_format(home: Env, tmp_path: Path) -> None:
    """It exits with 69, as `ask` does."""
    path = tmp_path / "plain.gguf"
    write_small(path, tokens=["a", "b"], template="")
    result = hermes("models", "plan", str(path), env=home)
    assert (result.code, result.stdout) == (69, b"")
    assert "its vocabulary has no <|im_start|> and no <|im_end|> token" in result.stderr


def test_a_weight_file_is_refused_with_the_advice_to_name_its_folder(home: Env, tmp_path: Path) -> None:
    """A model is a folder: the weights alone have no tokenizer."""
    folder = write_checkpoint(tmp_path / "tiny")
    result = hermes("ask", "-m", str(folder / "model.safetensors"), "hi", env=home)
    assert result.code == 69
    assert "name its folder" in result.stderr


def test_plan_without_a_name_plans_the_default_model(home: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """OPENHERMES_MODEL changes the default model."""
    set_hardware(monkeypatch, machine(ram=8))
    assert json.loads(hermes("models", "plan", "--json", env=home).stdout)["model"] == "starter"
    env = {**home, "OPENHERMES_MODEL": "openhermes-2"}
    assert hermes("models", "plan", "--json", env=env).json["model"] == "openhermes-2:gguf"


def test_doctor_lists_the_gpus(home: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUs from NVIDIA have a compute capability."""
    gpus = (gpu("TITAN RTX", 24, 23.5, (7, 5)), gpu("AMD gfx1100", 16, 15, kind="rocm", arch="gfx1100"))
    set_hardware(monkeypatch, machine(*gpus))
    text = hermes("doctor", env=home).stdout.decode()
    assert "cuda:0  TITAN RTX, compute capability 7.5" in text
    assert "rocm:0  AMD gfx1100" in text
