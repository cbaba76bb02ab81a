"""Lists the files of a repository on the Hugging Face hub, and downloads those that a model needs.

The files go into the Hugging Face cache, which other programs share. HF_HOME or HF_HUB_CACHE set its path.
"""

import re
import threading
from pathlib import Path
from typing import NamedTuple

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.download import Progress, no_progress, require_space, size_text
from hermes_cli.models.hub import file_download
from hermes_cli.models.hub.cache import cache_folder
from hermes_cli.models.hub.errors import FileMissing, translated_errors

MAX_LISTED = 12
_CONFIG_FILE = re.compile(
    r"[\w][\w.+-]*\.(json|model|jinja)|tokenizer\.model\.v\d{1,2}|(vocab|merges|license|notice)\.txt",
    re.IGNORECASE | re.ASCII,
)
"""The files of a snapshot besides the weights. None of them can contain code."""
_IMAGE_ENCODER = re.compile(r"mmproj", re.IGNORECASE)  # not a model by itself


class HubFile(NamedTuple):
    """A file in a repository. `size` is in bytes, or None if the hub does not report it."""

    name: str
    size: int | None


def pull(
    repo: str,
    file: str | None = None,
    *,
    progress: Progress = no_progress,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
    pause_s: float = file_download.PAUSE_S,
) -> Path:
    """Download a model and return its path: a .gguf file, or the folder of a snapshot.

    Without `file`, download the repository's only GGUF file, or, if it has none, those of a Hugging Face
    model. An interrupted download is resumed. `endpoint` is the hub's address; the default is that of
    huggingface_hub. A broken connection is retried after `pause_s` seconds.

    Raises ModelUnavailable if the repository or file does not exist, DownloadError if the download fails, and
    ResourcesExhausted if the disk is full.
    """
    cache = cache_dir or cache_folder()
    route = file_download.Route(endpoint, cache, pause_s)
    if file is not None:
        return _pull_files(repo, [file], progress, route)
    files = list_files(repo, endpoint=endpoint, cache_dir=cache)
    ggufs = gguf_files(files)
    if len(ggufs) == 1:
        return _pull_files(repo, [ggufs[0].name], progress, route)
    if ggufs:
        raise ModelUnavailable(f"{repo} has {len(ggufs)} GGUF files", _choices(repo, ggufs))
    return _pull_files(repo, snapshot_files(repo, files), progress, route).parent


def list_files(repo: str, *, endpoint: str | None = None, cache_dir: Path | None = None) -> list[HubFile]:
    """Return the files on a repository's main branch. Raises the same errors as `pull`."""
    with translated_errors(repo, 0, cache_dir or cache_folder()):
        from huggingface_hub import HfApi

        info = HfApi(endpoint=endpoint).model_info(repo, files_metadata=True, timeout=file_download.TIMEOUT_S)
        return [HubFile(s.rfilename, s.size) for s in info.siblings or []]


def gguf_files(files: list[HubFile]) -> list[HubFile]:
    """Return the GGUF files that are models and not image encoders, smallest first."""
    models = [f for f in files if f.name.lower().endswith(".gguf") and not _IMAGE_ENCODER.search(f.name)]
    return sorted(models, key=lambda f: (f.size or 0, f.name))


def snapshot_files(repo: str, files: list[HubFile]) -> list[str]:
    """Return the names of the files of a Hugging Face model: config.json first, weights last.

    Pickled weights (.bin) are included only if the repository has no safetensors. Raises ModelUnavailable if
    the repository contains no model.
    """
    top = [f.name for f in files if "/" not in f.name]
    weights = [n for n in top if n.endswith(".safetensors")]
    sharded = [n for n in weights if n.startswith("model")]
    weights = sharded or weights or [n for n in top if re.fullmatch(r"pytorch_model.*\.bin", n)]
    if "config.json" not in top or not weights:
        raise ModelUnavailable(
            f"{repo} contains neither a GGUF file nor a Hugging Face model",
            f"see https://huggingface.co/{repo}",
        )
    others = [n for n in top if _CONFIG_FILE.fullmatch(n) and n != "config.json" and n not in weights]
    return ["config.json", *sorted(others), *sorted(weights)]


def hub_reachable(timeout_s: float, *, endpoint: str | None = None) -> bool:
    """Return whether the hub responds without an error within `timeout_s` seconds, DNS lookup included."""
    statuses: list[int] = []

    def request() -> None:
        from huggingface_hub import constants, get_session

        try:
            url = endpoint or constants.ENDPOINT
            statuses.append(get_session().head(url, timeout=timeout_s).status_code)
        except Exception:  # noqa: BLE001, S110 - any failure means that the hub is not reachable
            pass

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return bool(statuses) and statuses[0] < 400  # noqa: PLR2004 - HTTP errors start at 400


def _choices(repo: str, files: list[HubFile]) -> str:
    lines = [f"  {repo}:{f.name}" + (f"  {size_text(f.size)}" if f.size else "") for f in files[:MAX_LISTED]]
    more = [f"  and {len(files) - MAX_LISTED} more"] if len(files) > MAX_LISTED else []
    return "\n".join(["give one of them:", *lines, *more])


def _pull_files(repo: str, names: list[str], progress: Progress, route: file_download.Route) -> Path:
    """Download the files and return the path of the first. Progress is reported for all files together."""
    needed = 0
    try:
        with translated_errors(repo, 0, route.cache_dir):
            remotes = [file_download.look_up(repo, name, route.endpoint) for name in names]
            needed = sum(file_download.missing_bytes(r, route.cache_dir) for r in remotes)
            require_space(needed, route.cache_dir)
    except FileMissing as error:
        raise _with_choices(error, repo, names, route) from error
    total, before, paths = sum(r.size for r in remotes), 0, []
    for remote in remotes:

        def report(label: str, done: int, _size: int | None, before: int = before) -> None:
            progress(label, before + done, total)

        with translated_errors(repo, needed, route.cache_dir):
            paths.append(file_download.fetch(remote, route, report))
        before += remote.size
    return paths[0]


def _with_choices(
    error: FileMissing, repo: str, names: list[str], route: file_download.Route
) -> ModelUnavailable:
    """Return the error for a missing file, with a hint that lists the GGUF files in the repository."""
    message = f"{repo} has no file {names[0]}"
    files = gguf_files(list_files(repo, endpoint=route.endpoint, cache_dir=route.cache_dir))
    return ModelUnavailable(message, _choices(repo, files) if files else error.hint)
