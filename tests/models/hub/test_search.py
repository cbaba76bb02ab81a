"""Searches of the hub, tested with a fake hub, also a hostile one."""

import json
import socket
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from hermes_cli.errors import DownloadError
from hermes_cli.models.hub.repository import HubFile
from hermes_cli.models.hub.search import FoundModel, SearchLimits, search
from tests.models.hub.fake_hub import FakeHub

LIST = "/api/models"


def found(hub: FakeHub, words: str = "tiny", limits: SearchLimits | None = None) -> list[FoundModel]:
    """Search the fake hub."""
    return list(search(words, endpoint=hub.url, limits=limits))


def failure(hub: FakeHub, limits: SearchLimits | None = None) -> DownloadError:
    """Return the error of a search that fails. It exits with 69 and has a hint."""
    with pytest.raises(DownloadError) as caught:
        found(hub, limits=limits)
    assert caught.value.exit_code == 69
    assert caught.value.hint
    return caught.value


@pytest.fixture
def stocked(fake_hub: FakeHub) -> FakeHub:
    """The hub with one repository of each kind."""
    fake_hub.files = {
        "a/Tiny-GGUF": {"Tiny-Q4_K_M.gguf": b"1234", "README.md": b""},
        "b/Tiny": {"config.json": b"{}", "model.safetensors": b"12"},
        "c/Tiny-MLX": {"model.safetensors": b""},
        "d/Tiny-Diffusion": {"model.safetensors": b""},
        "e/Other": {"x.gguf": b""},
    }
    fake_hub.info = {
        "a/Tiny-GGUF": {"downloads": 10, "tags": ["gguf", "license:apache-2.0"], "sizes": {"README.md": 7}},
        "b/Tiny": {
            "downloads": 20,
            "gated": "manual",
            "tags": ["safetensors", "transformers"],
            "pipeline_tag": "text-generation",
            "config": {
                "architectures": ["LlamaForCausalLM"],
                "auto_map": {"AutoModel": "x.py"},
                "quantization_config": {"quant_method": "awq"},
            },
            "safetensors": {"total": 99},
        },
        "c/Tiny-MLX": {"tags": ["mlx", "safetensors"]},
        "d/Tiny-Diffusion": {"tags": ["safetensors"], "pipeline_tag": "text-to-image"},
    }
    return fake_hub


def test_a_search_reads_the_facts_of_the_models_that_hermes_may_load(stocked: FakeHub) -> None:
    """The most downloaded model comes first. Models for other programs and tasks are not looked at."""
    assert found(stocked, "tiny") == [
        FoundModel(
            "b/Tiny",
            20,
            "",
            True,  # noqa: FBT003 - gated
            (HubFile("config.json", 2), HubFile("model.safetensors", 2)),
            "LlamaForCausalLM",
            "awq",
            True,  # noqa: FBT003 - needs code
            99,
        ),
        FoundModel(
            "a/Tiny-GGUF", 10, "apache-2.0", files=(HubFile("Tiny-Q4_K_M.gguf", 4), HubFile("README.md", 7))
        ),
    ]
    assert stocked.requests == [
        f"{LIST}?search=tiny&sort=downloads&limit=50",
        f"{LIST}/b/Tiny?blobs=true",
        f"{LIST}/a/Tiny-GGUF?blobs=true",
    ]


def test_a_search_without_results(stocked: FakeHub) -> None:
    """No model is found, and no files are listed."""
    assert found(stocked, "unknown & co") == []
    assert len(stocked.requests) == 1


def test_files_are_requested_only_for_the_models_that_are_read(stocked: FakeHub) -> None:
    """One model takes two requests."""
    assert next(search("tiny", endpoint=stocked.url)).repo == "b/Tiny"
    assert len(stocked.requests) == 2


def test_a_search_sends_the_token_if_there_is_one(
    stocked: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read from HF_TOKEN, or else from the file of 'hf auth login'."""
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    found(stocked, "unknown")
    (tmp_path / "token").write_text("hf_file\n")
    found(stocked, "unknown")
    monkeypatch.setenv("HF_TOKEN", "hf_variable")
    found(stocked, "unknown")
    assert stocked.tokens == [None, "Bearer hf_file", "Bearer hf_variable"]


def test_a_repository_that_fails_is_found_with_the_reason(stocked: FakeHub) -> None:
    """The other ones are read."""
    stocked.statuses[f"{LIST}/b/Tiny"] = 403
    first, second = found(stocked)
    assert (first.repo, first.files, first.problem) == ("b/Tiny", (), "the hub refused the access (HTTP 403)")
    assert (second.repo, second.problem) == ("a/Tiny-GGUF", "")


@pytest.mark.parametrize(
    ("status", "message", "hint"),
    [
        (429, "the hub is overloaded and did not answer the search (HTTP 429)", "wait"),
        (500, "the hub is overloaded and did not answer the search (HTTP 500)", "wait"),
        (401, "the hub refused the access (HTTP 401)", "HF_TOKEN"),
        (404, "the hub did not answer the search (HTTP 404)", "HF_ENDPOINT"),
    ],
)
def test_an_error_status_is_reported(stocked: FakeHub, status: int, message: str, hint: str) -> None:
    """The body of the answer is not read."""
    stocked.status = status
    error = failure(stocked)
    assert error.message == message
    assert hint in error.hint


def test_an_unreachable_hub_is_reported() -> None:
    """Nothing listens on a port that was just released."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(DownloadError, match="cannot be reached to search it") as caught:
        next(search("tiny", endpoint=f"http://127.0.0.1:{port}"))
    assert "models list" in caught.value.hint


def test_offline_mode_is_reported(stocked: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE is read when huggingface_hub is imported. The hub is not contacted."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert failure(stocked).message == "the hub cannot be searched: HF_HUB_OFFLINE is set"
    assert stocked.requests == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the hub's answer is not JSON"),
        (b"<html>", "the hub's answer is not JSON"),
        (b"{}", "the hub's answer is not a list of models"),
        (b"\xff", "the hub's answer is not"),
        (b"[" * 60_000, "the hub's answer has too many values"),
        (b"[" * 40_000, "the hub's answer is nested too deeply"),
        (b"[" + b"1," * 250_000 + b"1]", "the hub's answer has too many values"),
        (b'["' + b"x" * (5 << 20) + b'"]', "the hub's answer has more than 4 MiB"),
    ],
    ids=["empty", "html", "object", "bytes", "brackets", "deep", "commas", "large"],
)
def test_an_answer_that_is_not_a_list_of_models_is_refused(
    stocked: FakeHub, body: bytes, message: str
) -> None:
    """This takes little time and memory."""
    stocked.answers[LIST] = body
    assert failure(stocked).message.startswith(message)


def test_a_compressed_answer_is_refused(stocked: FakeHub) -> None:
    """A few bytes could expand to gigabytes, and none was requested."""
    stocked.headers["Content-Encoding"] = "gzip"
    assert failure(stocked).message == "the hub's answer is compressed"


@pytest.mark.parametrize(
    ("limits", "pause_s", "message"),
    [
        (SearchLimits(total_s=0.2), 0.2, "the hub took too long to answer the search"),
        (SearchLimits(idle_s=0.2), 2.0, "the hub cannot be reached to search it"),
    ],
    ids=["trickling", "silent"],
)
def test_a_slow_hub_is_given_up(stocked: FakeHub, limits: SearchLimits, pause_s: float, message: str) -> None:
    """The time is limited for all requests together, and for each wait."""
    stocked.pause_s = pause_s
    start = time.monotonic()
    assert failure(stocked, limits).message == message
    assert time.monotonic() - start < 1.5


def test_a_search_ends_when_its_time_is_over(stocked: FakeHub) -> None:
    """Models that were found before remain."""
    models = search("tiny", endpoint=stocked.url, limits=SearchLimits(total_s=0.5))
    assert next(models).repo == "b/Tiny"
    time.sleep(0.6)
    with pytest.raises(DownloadError, match="took too long"):
        next(models)
    assert len(stocked.requests) == 2


@pytest.mark.parametrize(
    "listed",
    [
        [None, 1, "x", [], {}],
        [{"id": None}, {"id": 5}, {"id": "noowner"}, {"id": "a/b/c"}, {"id": "../../etc"}, {"id": "a/.."}],
        [
            {"id": "a/\u001b[31mred"},
            {"id": "a/b\u202e"},
            {"id": "a/b?x=1"},
            {"id": "a/b#c"},
            {"id": "a/\ud800"},
        ],
        [{"id": "x/y" * 10_000}],
        [{"id": "a/Tiny", "tags": [5, None, "onnx"]}],
    ],
    ids=["no objects", "no names", "control characters", "long", "tags"],
)
def test_invalid_entries_are_left_out(stocked: FakeHub, listed: object) -> None:
    """No request is made for them."""
    stocked.answers[LIST] = json.dumps(listed).encode()
    assert found(stocked) == []
    assert len(stocked.requests) == 1


def test_a_long_list_takes_a_limited_number_of_requests(stocked: FakeHub) -> None:
    """The hub may send more models than requested, and the same one twice."""
    listed = [{"id": f"a/m{i // 2}"} for i in range(10_000)]
    stocked.answers[LIST] = json.dumps(listed).encode()
    assert len(found(stocked)) == 25
    assert len(stocked.requests) == 26


def test_facts_of_the_wrong_type_are_ignored(stocked: FakeHub) -> None:
    """A repository with invalid facts has none."""
    stocked.answers[LIST] = b'[{"id": "a/Tiny-GGUF"}]'
    path = f"{LIST}/a/Tiny-GGUF"
    for value in ("null", "[]", "7", '"x"', "{}"):
        names = ("siblings", "tags", "downloads", "config", "safetensors")
        stocked.answers[path] = f"{{{', '.join(f'{json.dumps(n)}: {value}' for n in names)}}}".encode()
        expected = 7 if value == "7" else 0
        assert found(stocked) == [FoundModel("a/Tiny-GGUF", downloads=expected)]
    stocked.answers[path] = json.dumps(
        {
            "siblings": [
                None,
                {"rfilename": 5},
                {"rfilename": "x.gguf", "size": -1},
                {"rfilename": "y.gguf"},
            ],
            "downloads": 1e300,
            "config": {"architectures": [5], "quantization_config": "awq"},
            "safetensors": {"total": True},
        }
    ).encode()
    files = (HubFile("x.gguf", None), HubFile("y.gguf", None))
    assert found(stocked) == [FoundModel("a/Tiny-GGUF", files=files)]


def test_a_repository_with_many_files_is_cut_off(stocked: FakeHub) -> None:
    """At most 500 files are read."""
    stocked.answers[LIST] = b'[{"id": "a/Tiny-GGUF"}]'
    siblings = [{"rfilename": f"{i}.gguf", "size": 1} for i in range(20_000)]
    stocked.answers[f"{LIST}/a/Tiny-GGUF"] = json.dumps({"siblings": siblings}).encode()
    assert [len(model.files) for model in found(stocked)] == [500]
