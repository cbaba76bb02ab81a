"""`hermes models search`, with a fake hub on 127.0.0.1."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from tests.models.hub.fake_hub import FakeHub
from tests.run_hermes import Result

Env = Mapping[str, str]
GB = 1_000_000_000


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A hub with three models, one of them without files for hermes."""
    files = {
        "Qwen/Qwen3-4B-GGUF": dict.fromkeys(("Qwen3-4B-Q4_K_M.gguf", "my Qwen3-Q8_0.gguf"), b""),
        "z/qwen3-huge": dict.fromkeys(("config.json", "model.safetensors"), b""),
        "z/qwen3-onnx": {"model.onnx": b""},
    }
    sizes = {"Qwen3-4B-Q4_K_M.gguf": 2_497_280_256, "my Qwen3-Q8_0.gguf": 4 * GB}
    info = {
        "Qwen/Qwen3-4B-GGUF": {
            "downloads": 1_234,
            "tags": ["gguf", "license:apache\u001b[31m-2.0"],
            "sizes": sizes,
        },
        "z/qwen3-huge": {
            "downloads": 1,
            "gated": "auto",
            "tags": ["safetensors"],
            "sizes": {"model.safetensors": 90_000 * GB},
            "config": {"architectures": ["LlamaForCausalLM"]},
        },
    }
    with FakeHub(files, info=info) as hub:
        yield hub


def search(home: Env, url: str, *arguments: str, **environ: str) -> Result:
    """Run `hermes models search` in a process of its own, because huggingface_hub reads HF_ENDPOINT once."""
    done = subprocess.run(
        [sys.executable, "-m", "hermes_cli", "models", "search", *arguments],
        env={**home, "PYTHONPATH": os.pathsep.join(sys.path), "HF_ENDPOINT": url, **environ},
        capture_output=True,
        check=False,
        timeout=120,
    )
    return Result(done.returncode, done.stdout, done.stderr.decode())


def test_search_prints_the_files_that_fit_and_their_names(home: Env, hub: FakeHub) -> None:
    """A model of the catalogue has its short name, and other names are quoted for the shell."""
    result = search(home, hub.url, "qwen3")
    assert result.code == 0, result.stderr
    heading, small, large, gated, weights = result.stdout.decode().splitlines()
    assert heading == "Qwen/Qwen3-4B-GGUF · apache␛[31m-2.0 · 1,234 downloads"
    assert small.split()[:3] == ["Q4_K_M", "2.50", "GB"]
    assert small.endswith("  qwen3-4b:gguf")
    assert large.split()[:3] == ["Q8_0", "4.00", "GB"]
    assert large.endswith("  'Qwen/Qwen3-4B-GGUF:my Qwen3-Q8_0.gguf'")
    assert gated == "z/qwen3-huge · gated · 1 download"
    assert weights.split()[:5] == ["16-bit", "90000.00", "GB", "needs", "about"]
    assert weights.endswith("available  z/qwen3-huge")
    pull, terms = result.stderr.splitlines()
    assert "hermes models pull NAME" in pull
    assert "accept its terms" in terms


def test_search_takes_several_words_and_a_limit(home: Env, hub: FakeHub) -> None:
    """The hub finds models with all of the words."""
    assert search(home, hub.url, "qwen3", "huge").stdout.decode().startswith("z/qwen3-huge")
    result = search(home, hub.url, "qwen3", "--limit", "1")
    assert [line for line in result.stdout.decode().splitlines() if line[0] != " "] == [
        "Qwen/Qwen3-4B-GGUF · apache␛[31m-2.0 · 1,234 downloads"
    ]
    assert len([path for path in hub.requests if path.startswith("/api/models/")]) == 2
    assert search(home, hub.url, "qwen3", "--limit", "0").code == 2


def test_search_without_a_result_prints_a_notice(home: Env, hub: FakeHub) -> None:
    """A repository without files for hermes is not a result."""
    result = search(home, hub.url, "onnx")
    assert (result.code, result.stdout) == (0, b"")
    assert result.stderr == "the hub lists no model that hermes can load for 'onnx'\n"


def test_search_looks_at_a_limited_number_of_repositories(home: Env, hub: FakeHub) -> None:
    """For each model to show, there are at most four requests besides that for the list."""
    hub.files = {f"o/qwen3-{i}": {"README.md": b""} for i in range(30)}
    assert search(home, hub.url, "qwen3", "--limit", "2").code == 0
    assert len(hub.requests) == 1 + 8


def test_search_goes_on_after_a_repository_that_fails(home: Env, hub: FakeHub) -> None:
    """The reason is printed in its place."""
    hub.statuses["/api/models/Qwen/Qwen3-4B-GGUF"] = 500
    lines = search(home, hub.url, "qwen3").stdout.decode().splitlines()
    assert lines[:2] == [
        "Qwen/Qwen3-4B-GGUF",
        "  the hub is overloaded and did not answer the search (HTTP 500)",
    ]
    assert lines[2].startswith("z/qwen3-huge")


@pytest.mark.parametrize(
    ("environ", "message"),
    [({}, "cannot be reached to search it"), ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set")],
    ids=["no connection", "offline mode"],
)
def test_search_without_the_hub_exits_with_69(home: Env, environ: Env, message: str) -> None:
    """Nothing listens on the discard port."""
    result = search(home, "http://127.0.0.1:9", "qwen3", **environ)
    assert (result.code, result.stdout) == (69, b"")
    error, hint = result.stderr.splitlines()
    assert message in error
    assert hint


@pytest.mark.parametrize("words", [[], [" "], ["a\nb"], ["x" * 201]], ids=["none", "blank", "lines", "long"])
def test_search_refuses_other_words(home: Env, hub: FakeHub, words: list[str]) -> None:
    """The hub is not contacted."""
    assert search(home, hub.url, *words).code == 2
    assert hub.requests == []
