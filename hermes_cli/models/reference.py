"""Parses the argument of -m into a ModelRef, without network access.

The argument is a short name (with or without a variant), a path, or a repository (with or without a file).
The disk is read only to distinguish paths from names.
"""

import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from hermes_cli.errors import ModelUnavailable, UsageError, access_hint
from hermes_cli.models.catalogue import CATALOGUE, STARTER, CatalogueEntry, Variant, find_variant, spelling_of
from hermes_cli.options import suggestion
from hermes_cli.untrusted.source import is_file

SPELLINGS = (
    "a model is named by a short name (hermes models list), a .gguf file, a folder, owner/name, a server's "
    "URL, lmstudio, ollama, or the name of a server in the config file"
)
NEEDS_LOCAL = "hermes chat, hermes ask and 'hermes models plan' take a server"
"""The hint for a command that needs a model on this machine."""
_HUB_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_HUB_NAME = re.compile(rf"{_HUB_PART}/{_HUB_PART}")
_HUB_FILE = re.compile(r"[^\\:]+\.gguf", re.IGNORECASE)
MAX_LENGTH = 4096


class UnknownModel(ModelUnavailable):
    """The argument names no model. It may be meant for a server, which the caller can suggest."""


class ModelRef(NamedTuple):
    """A parsed model argument. `name` is its shortest spelling.

    `path` is set for a local file or folder. `repo` is set for a model on the hub, and `file` if the argument
    names a file in it. `entry` and `variant` are set for a model in the catalogue. If `entry` is set but
    `variant` is None, `forms.py` chooses the variant.
    """

    name: str
    path: Path | None = None
    repo: str | None = None
    file: str | None = None
    entry: CatalogueEntry | None = None
    variant: Variant | None = None

    @property
    def is_starter(self) -> bool:
        """Whether this is the starter, a small model that may be downloaded without confirmation."""
        return self.entry is STARTER


def parse(text: str, *, models_dir: Path | None = None, is_typed: bool = True) -> ModelRef:
    """Parse a model argument.

    The order of precedence is: a short name, an existing path, an entry of `models_dir` (.gguf may be
    omitted), the hub. Text that looks like a path is never interpreted as a repository. A path is relative to
    the current folder only if the text `is_typed`, and not from a file.

    Raises UsageError if the text is empty, too long or unprintable, and ModelUnavailable if it names no
    model.
    """
    _check_text(text)
    alias, _, rest = text.partition(":")
    if alias.lower() in CATALOGUE:
        return _from_catalogue(CATALOGUE[alias.lower()], rest)
    local_ref = _existing(text, models_dir, is_typed=is_typed)
    if local_ref is not None:
        return local_ref
    if _looks_like_path(text):
        raise ModelUnavailable(
            f"there is no file or folder {text}", "'hermes models list' lists the installed models"
        )
    return _from_hub(text)


def _check_text(text: str) -> None:
    if not text.strip():
        raise UsageError("the model's name is empty", SPELLINGS)
    if len(text) > MAX_LENGTH:
        raise UsageError(f"the model's name is {len(text):,} characters long", SPELLINGS)
    char = next((c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Cf")), None)
    if char is not None:
        raise UsageError(f"the model's name contains an unprintable character (U+{ord(char):04X})", SPELLINGS)


def _from_catalogue(entry: CatalogueEntry, variant_name: str) -> ModelRef:
    if not variant_name and len(entry.forms) > 1:
        return ModelRef(entry.alias, entry=entry)
    variant = entry.variant(variant_name) if variant_name else entry.gguf
    if variant is not None:
        return variant_ref(variant)
    if entry.gguf.file and _HUB_FILE.fullmatch(variant_name) and "/" not in variant_name:
        return _hub_ref(entry.gguf.repo, variant_name)
    names = [v.name for v in entry.variants]
    raise ModelUnavailable(
        f"{entry.alias} has no variant '{variant_name}'{suggestion(variant_name.lower(), names)}",
        f"its variants are {', '.join(names)}",
    )


def is_repository(name: str) -> bool:
    """Return whether `name` is a valid name of a repository on the hub, such as owner/name."""
    return bool(_HUB_NAME.fullmatch(name)) and ".." not in name and "--" not in name


def hub_argument(repo: str, file: str | None) -> str | None:
    """Return the argument for -m that names a file or the weights of a repository, or None if none can."""
    text = f"{repo}:{file}" if file else repo
    try:
        _check_text(text)
        return _from_hub(text).name
    except (UsageError, ModelUnavailable):
        return None


def variant_ref(variant: Variant) -> ModelRef:
    """Return the reference to a variant in the catalogue."""
    return _hub_ref(variant.repo, variant.file)


def _existing(text: str, models_dir: Path | None, *, is_typed: bool) -> ModelRef | None:
    candidates = [Path(text)] if is_typed or Path(text).is_absolute() else []
    if text.startswith("~"):
        try:
            candidates = [Path(text).expanduser()]
        except RuntimeError:  # ~name of an unknown user
            return None
    if models_dir is not None and "/" not in text:
        candidates += [models_dir / text, models_dir / f"{text}.gguf"]
    for path in candidates:
        try:
            if is_file(path) or path.is_symlink():
                return ModelRef(path.name.removesuffix(".gguf"), path)
            if path.is_dir():
                return ModelRef(path.resolve().name, path)
        except PermissionError as error:
            if "/" not in text:
                continue
            raise ModelUnavailable(f"{text} cannot be read: {error.strerror}", access_hint(error)) from None
        except OSError:  # the name is too long for the file system
            continue
    return None


def _looks_like_path(text: str) -> bool:
    if text.startswith((".", "/", "~")) or "\\" in text:
        return True
    return text.lower().endswith(".gguf") and ":" not in text


def _from_hub(text: str) -> ModelRef:
    if "://" in text:
        raise ModelUnavailable(
            f"{text} is a model on a server, and this needs one on this machine",
            NEEDS_LOCAL,
        )
    repo, colon, file = text.partition(":")
    if "/" not in repo:
        raise UnknownModel(f"there is no model '{text}'{suggestion(repo.lower(), CATALOGUE)}", SPELLINGS)
    if not is_repository(repo):
        raise ModelUnavailable(f"'{repo}' is not a valid repository name", SPELLINGS)
    parts = file.split("/")
    if colon and (not _HUB_FILE.fullmatch(file) or any(part in ("", ".", "..") for part in parts)):
        raise ModelUnavailable(f"'{file}' is not a .gguf file of {repo}", "use owner/name:file.gguf")
    return _hub_ref(repo, file or None)


def _hub_ref(repo: str, file: str | None) -> ModelRef:
    entry, variant = find_variant(repo, file) or (None, None)
    name = spelling_of(repo, file) or (f"{repo}:{file}" if file else repo)
    return ModelRef(name, None, repo, file, entry, variant)
