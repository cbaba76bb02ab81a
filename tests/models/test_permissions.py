"""Models that exist, but that the user may not read."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.selection import make_plan, resolve
from hermes_cli.models.units import GIB
from tests.models.gguf.small_gguf import write_small
from tests.models.small_checkpoint import write_checkpoint

NOBODY = 65534
ADVICE = "check its permissions and those of its folders"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for models, read by a user who is not root."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    if os.getuid() == 0:
        os.seteuid(0)
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


def refusal(name: Path, locked: Path) -> ModelUnavailable:
    """Return the error for a model after the permissions of `locked` are removed."""
    locked.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    machine, nowhere = Hardware(2, 4, 8 * GIB, 4 * GIB), Path("/nowhere")

    def plan() -> object:
        selected = resolve(str(name), models_dir=nowhere, cache_dir=nowhere, hardware=machine)
        return selected and make_plan(selected, machine)

    with pytest.raises(ModelUnavailable) as caught:
        plan()
    return caught.value


@pytest.mark.parametrize("name", ["m.gguf", "tiny"])
def test_a_path_in_a_locked_folder_is_not_called_absent(folder: Path, name: str) -> None:
    """Whether the file exists cannot be known."""
    locked = folder / "locked"
    write_checkpoint(locked / "tiny")
    write_small(locked / "m.gguf")
    error = refusal(locked / name, locked)
    assert (error.message, error.hint) == (f"{locked / name} cannot be read: Permission denied", ADVICE)


def test_a_locked_folder_is_refused_with_the_reason(folder: Path) -> None:
    """The advice is about permissions."""
    error = refusal(folder / "tiny", write_checkpoint(folder / "tiny"))
    assert "Permission denied" in error.message
    assert error.hint == ADVICE


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_locked_file_in_a_readable_folder_is_no_damaged_file(folder: Path, name: str) -> None:
    """Neither a download nor another file would help."""
    tiny = write_checkpoint(folder / "tiny")
    error = refusal(tiny, tiny / name)
    assert f"its {name} cannot be read: Permission denied" in error.message
    assert error.hint == ADVICE


def test_a_locked_gguf_is_no_damaged_file(folder: Path) -> None:
    """The advice is about permissions."""
    write_small(folder / "m.gguf")
    error = refusal(folder / "m.gguf", folder / "m.gguf")
    assert "m.gguf cannot be read: Permission denied" in error.message
    assert error.hint == ADVICE
