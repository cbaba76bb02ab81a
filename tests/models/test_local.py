"""Listing the models on this machine, and removing them."""

import os
from pathlib import Path

import pytest

from hermes_cli.errors import ModelUnavailable, UsageError
from hermes_cli.models.catalogue import STARTER_FILE, WeightFormat
from hermes_cli.models.hub import repository
from hermes_cli.models.local import ModelSource, describe_file, installed, remove
from tests.models.conftest import MakeGguf
from tests.models.hub.fake_hub import FakeHub
from tests.models.small_checkpoint import PARAMETERS, checkpoint_files, put_in_cache, write_checkpoint


def test_gguf_files_in_the_models_folder_are_listed(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """GGUF files in the models folder are listed under their file names, and the starter as "starter"."""
    make_gguf("models/mine.Q4_1.gguf")
    make_gguf(f"models/{STARTER_FILE}")
    (tmp_path / "models/.starter-x").mkdir()
    (tmp_path / "models/notes.txt").touch()
    models = installed(tmp_path / "models", cache_dir=tmp_path / "none")
    assert [(m.name, m.source, m.precision, m.parameters) for m in models] == [
        ("mine.Q4_1", ModelSource.FOLDER, "Q4_1", 2048),
        ("starter", ModelSource.STARTER, "Q4_1", 2048),
    ]
    assert models[0].is_chatml
    assert models[0].facts.context_length == 1024


def test_a_damaged_file_is_listed_with_the_reason(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """A damaged file and a dangling link are listed with the reason why they cannot be used."""
    path = make_gguf("models/cut.gguf")
    os.truncate(path, path.stat().st_size - 1)
    (tmp_path / "models/none.gguf").symlink_to("nowhere")
    models = installed(tmp_path / "models", cache_dir=tmp_path / "none")
    assert [m.name for m in models] == ["cut", "none"]
    assert "truncated" in (models[0].broken or "")
    assert "no file" in (models[1].broken or "")


def test_without_models_the_list_is_empty(tmp_path: Path) -> None:
    """Without a models folder and a cache, the list is empty."""
    assert installed(tmp_path / "no", cache_dir=tmp_path / "none") == []


def test_split_models_are_listed_once(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """Only the first part of a split model is listed."""
    for part in (1, 2):
        make_gguf(f"models/big-{part:05}-of-00002.gguf")
    assert [m.name for m in installed(tmp_path / "models", cache_dir=tmp_path)] == ["big-00001-of-00002"]


def test_cached_models_are_listed_by_catalogue_name_or_repository(
    make_gguf: MakeGguf, tmp_path: Path
) -> None:
    """Cached models are listed by catalogue name or repository; folders without weights are left out."""
    content = make_gguf().read_bytes()
    repo = "TheBloke/OpenHermes-2-Mistral-7B-GGUF"
    put_in_cache(
        tmp_path, repo, {"openhermes-2-mistral-7b.Q4_K_M.gguf": content, "other.gguf": content + b"x"}
    )
    weights = checkpoint_files(torch_dtype="bfloat16")
    put_in_cache(tmp_path, "o/hf-model", {**weights, "README.md": b""})
    put_in_cache(tmp_path, "o/gptq", {"config.json": b'{"quantization_config": {"quant_method": "gptq"}}'})
    put_in_cache(tmp_path, "o/just-a-tokenizer", {"tokenizer.json": b"{}"})
    models = installed(tmp_path / "none", cache_dir=tmp_path)
    assert [(m.name, m.format, m.precision, m.broken) for m in models] == [
        ("o/hf-model", WeightFormat.SAFETENSORS, "bf16", None),
        ("openhermes-2:gguf", WeightFormat.GGUF, "Q4_1", None),
        (f"{repo}:other.gguf", WeightFormat.GGUF, "Q4_1", None),
    ]
    assert models[0].size == len(weights["model.safetensors"])
    assert models[0].is_chatml
    assert models[0].parameters == models[0].facts.parameters == PARAMETERS


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.json": b"{", "model.safetensors": b"1"}, "config.json is not JSON"),
        ({"config.json": b"[]", "model.safetensors": b"1"}, "config.json is not a JSON object"),
        (
            {
                name: content
                for name, content in checkpoint_files(shards=2).items()
                if name != "model-00002-of-00002.safetensors"
            },
            "1 of its 2 weight files are missing",
        ),
        (
            {**checkpoint_files(), "model.safetensors": b"1"},
            "model.safetensors is truncated, or not a safetensors file",
        ),
        (checkpoint_files(auto_map={"AutoModel": "x"}), "requests custom code"),
    ],
)
def test_a_cached_folder_that_cannot_be_loaded_is_listed(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    """A cached folder that cannot be loaded is listed with its reason, and has no facts."""
    put_in_cache(tmp_path, "o/n", files)
    (model,) = installed(tmp_path / "none", cache_dir=tmp_path)
    assert message in (model.broken or "")
    assert model.advice
    assert not model.is_chatml
    with pytest.raises(ModelUnavailable, match="cannot be used"):
        _ = model.facts


def test_removing_a_file_from_the_models_folder_deletes_it(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """Removing a file from the models folder deletes it and returns its size."""
    size = make_gguf(f"models/{STARTER_FILE}").stat().st_size
    make_gguf("models/mine.gguf")
    mine, starter = installed(tmp_path / "models", cache_dir=tmp_path / "none")
    assert remove(starter, tmp_path / "models") == size
    assert remove(mine, tmp_path / "models") == size
    assert list((tmp_path / "models").iterdir()) == []


def test_folders_of_weights_are_listed_and_can_be_removed(tmp_path: Path) -> None:
    """Folders of weights are listed and can be removed; of a linked folder only the link is deleted."""
    models = tmp_path / "models"
    write_checkpoint(models / "mine-nf4")
    write_checkpoint(tmp_path / "elsewhere")
    write_checkpoint(models / ".half-written")
    (models / "linked").symlink_to(tmp_path / "elsewhere")
    listed = installed(models, cache_dir=tmp_path / "none")
    assert [(m.name, m.source, m.broken) for m in listed] == [
        ("linked", ModelSource.FOLDER, None),
        ("mine-nf4", ModelSource.FOLDER, None),
    ]
    for model in listed:
        remove(model, models)
    assert [path.name for path in models.iterdir()] == [".half-written"]
    assert (tmp_path / "elsewhere/config.json").exists()


def test_removing_a_cached_file_deletes_its_blob(
    fake_hub: FakeHub, make_gguf: MakeGguf, tmp_path: Path
) -> None:
    """Removing a cached file deletes its blob and keeps the other files of the repository."""
    content, cache = make_gguf().read_bytes(), tmp_path / "cache"
    fake_hub.files["o/n"] = {"a.gguf": content, "b.gguf": content + bytes(32)}
    for file in ("a.gguf", "b.gguf"):
        repository.pull("o/n", file, endpoint=fake_hub.url, cache_dir=cache)
    first, second = installed(tmp_path / "none", cache_dir=cache)
    assert remove(first, tmp_path, cache_dir=cache) == len(content)
    assert second.path.read_bytes() == content + bytes(32)
    assert remove(second, tmp_path, cache_dir=cache) == len(content) + 32
    assert not (cache / "models--o--n").exists()


def test_a_blob_that_another_file_uses_is_kept(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """A blob that another file uses is kept, and 0 freed bytes are returned."""
    content = make_gguf().read_bytes()
    put_in_cache(tmp_path, "o/n", {"a.gguf": content, "b.gguf": content})
    first, second = installed(tmp_path / "none", cache_dir=tmp_path)
    assert remove(first, tmp_path, cache_dir=tmp_path) == 0
    assert second.path.read_bytes() == content


def test_a_file_elsewhere_is_not_deleted(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """A file outside the models folder and the cache is not deleted."""
    path = make_gguf("elsewhere/my.gguf")
    with pytest.raises(UsageError, match="outside the models folder"):
        remove(describe_file(path, "my"), tmp_path / "models")
    assert path.exists()


def test_links_out_of_the_cache_are_not_followed(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """Removing a cached link that points out of the cache keeps the file that it points to."""
    precious = make_gguf("precious.gguf")
    snapshot = put_in_cache(tmp_path / "cache", "o/n", {})
    (snapshot / "m.gguf").symlink_to(precious)
    (model,) = installed(tmp_path / "none", cache_dir=tmp_path / "cache")
    assert f"its 'm.gguf' is a symbolic link to '{precious}'" in (model.broken or "")
    assert remove(model, tmp_path / "none", cache_dir=tmp_path / "cache") == 0
    assert precious.exists()


def test_a_link_to_a_gguf_file_in_the_models_folder_is_accepted(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """Users link models on purpose."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/linked.gguf").symlink_to(make_gguf("elsewhere.gguf"))
    (model,) = installed(tmp_path / "models", cache_dir=tmp_path / "none")
    assert (model.name, model.broken) == ("linked", None)


def test_a_folder_with_a_link_out_of_it_is_listed_with_the_reason(tmp_path: Path) -> None:
    """It cannot be used."""
    folder = write_checkpoint(tmp_path / "models/mine")
    (folder / "model.safetensors").rename(tmp_path / "other")
    (folder / "model.safetensors").symlink_to(tmp_path / "other")
    (model,) = installed(tmp_path / "models", cache_dir=tmp_path / "none")
    assert f"a symbolic link to '{tmp_path}/other'" in (model.broken or "")
    assert "copy the file" in model.advice
