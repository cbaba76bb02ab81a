"""The commands on a folder of Hugging Face weights: a tiny Mistral with OpenHermes 2's vocabulary."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.config import Paths
from tests.run_hermes import Result, hermes
from tests.weights import tiny_mistral_folder

pytestmark = pytest.mark.slow

Env = Mapping[str, str]
SHORT = ("--context", "512", "--max-tokens", "8", "--temperature", "0")


@pytest.fixture(scope="module")
def weights() -> str:
    """The folder, as it is typed after -m."""
    return str(tiny_mistral_folder())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "8bit", "4bit"])
def test_ask_answers_in_every_precision(home: Env, weights: str, precision: str) -> None:
    """The answer has the requested length, and nothing is on standard error."""
    result = hermes("ask", "--json", "-m", weights, "--precision", precision, *SHORT, "Hello!", env=home)
    assert result.code == 0, result.stderr
    assert result.json["usage"]["completion_tokens"] == 8
    assert result.json["finish_reason"] == "length"
    assert result.stderr == ""


def test_the_second_start_takes_the_prompt_from_the_prefix_cache(home: Env, weights: str) -> None:
    """The answer is the same; `models cache clear` empties the cache."""
    arguments = ("ask", "--json", "-m", weights, "-p", "edward-elric", *SHORT, "Hello!")
    first, second = (hermes(*arguments, env=home).json for _ in range(2))
    assert first["usage"]["cached_tokens"] == 0
    assert second["usage"]["cached_tokens"] > 20
    assert second["text"] == first["text"]
    assert b"prefixes 1, " in single_spaced(hermes("doctor", env=home))
    cleared = hermes("models", "cache", "clear", env=home)
    assert "Removed 1 system prompt;" in cleared.stderr
    assert b"prefixes none" in single_spaced(hermes("doctor", env=home))


@pytest.mark.parametrize(
    ("flags", "lines", "saved"),
    [
        ((), "Hello!\n", 1),
        (("--no-log",), "Hello!\n", 0),
        (("--system", "You are somebody else. " * 4), "Hello!\n", 0),
        ((), f"/system {'You are somebody else. ' * 4}\nHello!\n", 0),
        ((), "/nolog\nHello!\n/clear\nHello!\n/persona gourmet-cook\nHello!\n", 0),
    ],
)
def test_only_a_personas_own_prompt_is_in_the_prefix_cache(
    home: Env, weights: str, flags: tuple[str, ...], lines: str, saved: int
) -> None:
    """Prompts of the user and of an unsaved run are not in it."""
    result = hermes(
        "chat", "-m", weights, "-p", "edward-elric", *SHORT, *flags, env=home, stdin=lines.encode()
    )
    assert result.code == 0, result.stderr
    assert len(list(Paths.from_environment(home).prefixes.glob("*"))) == saved


def test_tokens_uses_the_tokenizer_of_the_folder(home: Env, weights: str) -> None:
    """The control tokens have the ids of OpenHermes 2."""
    result = hermes("tokens", "--json", "-m", weights, "-s", "", "<|im_end|>", env=home)
    assert [token["id"] for token in result.json if token["control"]] == [32001, 32000, 32001]


def test_a_model_is_quantized_once(home: Env, weights: str) -> None:
    """The saved model can be listed, run and removed, but not quantized again."""
    result = hermes("models", "quantize", weights, env=home)
    assert result.code == 0, result.stderr
    name = result.stdout.decode().strip()
    assert name == "tiny-mistral-nf4"
    assert "in 4-bit NF4; its weights load in" in result.stderr
    assert name in hermes("models", "list", env=home).stdout.decode()
    answer = hermes("ask", "--json", "-m", name, *SHORT, "Hello!", env=home)
    assert (answer.code, answer.json["model"]) == (0, name)
    again = hermes("models", "quantize", weights, env=home)
    assert (again.code, "already exists" in again.stderr) == (2, True)
    twice = hermes("models", "quantize", name, env=home)
    assert (twice.code, "cannot be quantized" in twice.stderr) == (2, True)
    assert hermes("models", "rm", name, env=home).code == 0
    assert hermes("ask", "-m", name, "x", env=home).code == 69


def test_a_gguf_model_cannot_be_quantized(starter_home: Env) -> None:
    """`models quantize` exits with 2."""
    result = hermes("models", "quantize", "starter", env=starter_home)
    assert (result.code, result.stderr.count("cannot be quantized")) == (2, 1)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "no weights"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x10"), "model.safetensors"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "tokenizer"),
        (lambda f: (f / "config.json").write_text('{"auto_map": {"AutoModel": "x.Y"}}'), "auto_map"),
    ],
)
def test_a_damaged_folder_is_refused_with_exit_code_69(
    home: Env, weights: str, tmp_path: Path, damage: object, word: str
) -> None:
    """So is a folder with code in it. The reason is printed without a traceback."""
    folder = Path(shutil.copytree(weights, tmp_path / "copy"))
    damage(folder)  # type: ignore[operator]
    result = hermes("ask", "-m", str(folder), *SHORT, "x", env=home)
    assert result.code == 69, result.stderr
    assert word in result.stderr
    assert "Traceback" not in result.stderr


def single_spaced(result: Result) -> bytes:
    """Return standard output with single spaces."""
    return b" ".join(result.stdout.split())
