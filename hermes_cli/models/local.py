"""Lists, finds and deletes the models on this machine: in hermes' models folder and the Hugging Face cache.

Broken models are listed too, with the reason.
"""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from hermes_cli.errors import HermesError, ModelUnavailable, UsageError, as_hermes_error
from hermes_cli.models import starter
from hermes_cli.models.catalogue import STARTER, STARTER_FILE, WeightFormat, spelling_of
from hermes_cli.models.facts import ModelFacts, facts_of, facts_of_checkpoint
from hermes_cli.models.gguf.model import FETCH_AGAIN, GgufHeader, read_header
from hermes_cli.models.hub import cache
from hermes_cli.models.links import reject_link, snapshot_of
from hermes_cli.untrusted.source import is_file

if TYPE_CHECKING:
    from hermes_cli.models.checkpoint import Checkpoint  # imported only for a folder of weights

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)


class ModelSource(StrEnum):
    """Where a model is stored."""

    STARTER = "starter"
    FOLDER = "folder"  # in hermes' models folder
    HUB = "hub"  # in the Hugging Face cache
    PATH = "path"  # at a path given by the user


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model on this machine. `name` is the argument for -m, and `size` is in bytes.

    If the model is broken, `broken` is the reason and `advice` says how to fix it. Otherwise, `broken` is
    None, and `header` is set for a GGUF and `checkpoint` for a folder.
    """

    name: str
    path: Path
    source: ModelSource
    repo: str | None
    size: int
    format: WeightFormat
    broken: str | None = None
    advice: str = ""
    header: GgufHeader | None = field(default=None, repr=False)
    checkpoint: "Checkpoint | None" = field(default=None, repr=False)

    @property
    def precision(self) -> str:
        """The precision to display, or an empty string for a broken model."""
        if self.header is not None:
            return self.header.file_type
        return self.checkpoint.precision if self.checkpoint else ""

    @property
    def parameters(self) -> int:
        """The number of parameters, or 0 for a broken model."""
        if self.header is not None:
            return self.header.parameter_count
        return self.checkpoint.weights.parameters if self.checkpoint else 0

    @property
    def is_chatml(self) -> bool:
        """Whether its vocabulary has both ChatML tokens. False for a broken model."""
        contents = self.header or self.checkpoint
        return contents is not None and contents.chatml_problem is None

    @property
    def facts(self) -> ModelFacts:
        """The facts for a plan.

        Raises ModelUnavailable if the model is broken, is not a language model, or has no prompt format.
        """
        if self.header is not None:
            return facts_of(self.name, self.header)
        if self.checkpoint is not None:
            return facts_of_checkpoint(self.name, self.checkpoint, self.repo)
        raise ModelUnavailable(f"{self.name} cannot be used: {self.broken}", self.advice)


def installed(models_dir: Path, *, cache_dir: Path | None = None) -> list[InstalledModel]:
    """Return every model in `models_dir` and in the Hugging Face cache, sorted by name."""
    found = [_own_file(path) for path in sorted(_ggufs(models_dir))]
    found += _own_folders(models_dir)
    found += _in_cache(cache_dir or cache.cache_folder())
    return sorted(found, key=lambda m: m.name.lower())


def describe_file(
    path: Path, name: str, source: ModelSource = ModelSource.PATH, repo: str | None = None
) -> InstalledModel:
    """Return the model in a .gguf file, even if it is broken. This takes milliseconds."""
    try:
        if source is ModelSource.HUB and (snapshot := snapshot_of(path)) is not None:
            reject_link(snapshot, str(path.relative_to(snapshot)))
        header = read_header(path)
    except HermesError as error:
        advice = "" if error.hint == FETCH_AGAIN else error.hint
        size = path.stat().st_size if os.path.isfile(path) else 0  # noqa: PTH113 - no error without permission
        return InstalledModel(name, path, source, repo, size, WeightFormat.GGUF, error.message, advice)
    return InstalledModel(name, path, source, repo, header.file_size, WeightFormat.GGUF, header=header)


def describe_folder(
    path: Path, name: str, source: ModelSource = ModelSource.PATH, repo: str | None = None
) -> InstalledModel | None:
    """Return the model in a folder of Hugging Face weights, or None if it has no config.json.

    The model counts as broken if it is incomplete, is not a language model, or requires custom code.
    """
    try:
        if not is_file(path / "config.json"):
            return None
        from hermes_cli.models import checkpoint

        found = checkpoint.read(path)
    except (HermesError, PermissionError) as problem:
        error = as_hermes_error(problem)
        size = sum(f.stat().st_size for pattern in WEIGHTS for f in path.glob(pattern) if os.path.isfile(f))  # noqa: PTH113 - no error without permission
        return InstalledModel(
            name, path, source, repo, size, WeightFormat.SAFETENSORS, error.message, error.hint
        )
    size = found.weights.file_bytes
    return InstalledModel(name, path, source, repo, size, found.format, checkpoint=found)


def find_in_cache(repo: str, file: str | None = None, *, cache_dir: Path | None = None) -> Path | None:
    """Return the path of a file or snapshot of a repository in the cache, or None if it is not there.

    Without `file`, return the only GGUF file of the repository, or its snapshot of Hugging Face weights.
    """
    snapshot = _snapshot(cache.repo_folder(cache_dir or cache.cache_folder(), repo))
    if snapshot is None:
        return None
    if file is not None:
        path = snapshot / file
        return path if path.is_file() else None
    ggufs = list(_ggufs(snapshot, deep=True))
    if len(ggufs) == 1:
        return ggufs[0]
    return snapshot if (snapshot / "config.json").is_file() and not ggufs else None


def remove(model: InstalledModel, models_dir: Path, *, cache_dir: Path | None = None) -> int:
    """Delete a model listed by `installed`, and return the bytes freed.

    In the Hugging Face cache, the model's links and any blobs that no other link uses are deleted. Raises
    UsageError for a model elsewhere, because hermes does not manage it.
    """
    if model.source is ModelSource.STARTER:
        return starter.remove(models_dir)
    if model.source is ModelSource.FOLDER and model.path.parent == models_dir:
        return _remove_own(model.path)
    if model.source is ModelSource.HUB and model.repo:
        return cache.delete(cache.repo_folder(cache_dir or cache.cache_folder(), model.repo), model.path)
    raise UsageError(
        f"{model.path} is outside the models folder and the hub's cache, so hermes does not delete it",
        "delete the file yourself",
    )


def _remove_own(path: Path) -> int:
    """Delete a file, a folder, or a link (but not its target), and return the bytes freed."""
    if path.is_symlink() or not path.is_dir():
        size = path.lstat().st_size
        path.unlink()
        return size
    size = sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
    shutil.rmtree(path)
    return size


def _own_folders(models_dir: Path) -> Iterator[InstalledModel]:
    """Yield the models in folders of Hugging Face weights in hermes' models folder."""
    for config in sorted(models_dir.glob("*/config.json")):
        folder = config.parent
        if not folder.name.startswith(".") and (
            model := describe_folder(folder, folder.name, ModelSource.FOLDER)
        ):
            yield model


def _own_file(path: Path) -> InstalledModel:
    if path.name == STARTER_FILE:
        return describe_file(path, STARTER.alias, ModelSource.STARTER)
    return describe_file(path, path.name[: -len(".gguf")], ModelSource.FOLDER)


def _ggufs(folder: Path, *, deep: bool = False) -> Iterator[Path]:
    """Yield the .gguf files in a folder, but only the first file of a split model."""
    if not folder.is_dir():
        return
    for path in folder.rglob("*") if deep else folder.iterdir():
        name = path.name.lower()
        if not name.endswith(".gguf") or name.startswith(".") or path.is_dir():
            continue
        if not _LATER_PART.search(name):
            yield path


def _in_cache(cache_dir: Path) -> Iterator[InstalledModel]:
    for folder in sorted(cache_dir.glob("models--*--*")):
        repo = folder.name.removeprefix("models--").replace("--", "/", 1)
        snapshot = _snapshot(folder)
        if snapshot is None:
            continue
        for path in sorted(_ggufs(snapshot, deep=True)):
            file = path.relative_to(snapshot).as_posix()
            yield describe_file(path, spelling_of(repo, file) or f"{repo}:{file}", ModelSource.HUB, repo)
        if any(True for pattern in WEIGHTS for _ in snapshot.glob(pattern)):
            model = describe_folder(snapshot, spelling_of(repo, None) or repo, ModelSource.HUB, repo)
            if model is not None:
                yield model


def _snapshot(folder: Path) -> Path | None:
    """Return the snapshot of the repository's main branch, or else the newest one, or None."""
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
        main = folder / "snapshots" / commit
        if re.fullmatch(r"[\w.-]+", commit) and main.is_dir():
            return main
    except (OSError, ValueError):
        pass
    snapshots = [p for p in folder.glob("snapshots/*") if p.is_dir()]
    return max(snapshots, key=lambda p: p.stat().st_mtime, default=None)
