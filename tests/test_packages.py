"""Tests of the wheel and the source distribution: their content, and that each build gives the same bytes."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from hermes_cli import __version__
from hermes_cli.app import VERBS
from tests.run_hermes import script

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[1]
NOT_PACKED = {".ci/run"}
"""The committed files that only this repository's own checks use."""


def build(source: Path, target: Path, umask: int = 0o022) -> dict[str, bytes]:
    """Build both packages, the wheel from the source distribution, and return them by their suffix."""
    command = [sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", str(target), str(source)]
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "TMPDIR": str(target.parent)}
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, umask=umask, cwd=target.parent
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.suffix: path.read_bytes() for path in target.iterdir()}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the wheel and the source distribution of this checkout."""
    folder = tmp_path_factory.mktemp("packages") / "dist"
    build(PROJECT, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(packages: Path) -> Path:
    """The wheel."""
    return packages / f"openhermes_cli-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def sdist(packages: Path) -> Path:
    """The source distribution."""
    return packages / f"openhermes_cli-{__version__}.tar.gz"


def test_the_wheel_has_the_program_and_its_data_but_no_tests(wheel: Path) -> None:
    """Personas, type information, completion scripts, man pages and the licence."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    manual = f"openhermes_cli-{__version__}.data/data/share/man/man1"
    assert {
        "hermes_cli/app.py",
        "hermes_cli/py.typed",
        "hermes_cli/personas/template.toml",
        "hermes_cli/shipped_personas/hermes-2.toml",
        "hermes_cli/cli/completion_scripts/hermes.bash",
        f"{manual}/hermes.1",
        f"openhermes_cli-{__version__}.dist-info/licenses/LICENSE",
        *(f"{manual}/hermes-{verb}.1" for verb in VERBS),
    } <= names
    assert {name.partition("/")[0].removeprefix(f"openhermes_cli-{__version__}") for name in names} == {
        "hermes_cli",
        ".data",
        ".dist-info",
    }
    assert not [name for name in names if name.endswith((".pyc", ".log"))]


def test_the_source_distribution_has_every_committed_file(sdist: Path) -> None:
    """So the tests run from it, too."""
    git = shutil.which("git")
    if git is None or not (PROJECT / ".git").exists():
        pytest.skip("this is not a checkout, or git is not installed")
    listed = subprocess.run([git, "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    committed = {name for name in listed.stdout.splitlines() if (PROJECT / name).is_file()}
    assert committed - packed == NOT_PACKED
    assert "PKG-INFO" in packed


@pytest.mark.long
def test_two_builds_give_the_same_bytes(packages: Path, sdist: Path, tmp_path: Path) -> None:
    """Whatever the folder, the umask and the modification times of the files are."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "elsewhere", filter="data")
    (source,) = (tmp_path / "elsewhere").iterdir()
    for path in source.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        if path.is_file():
            path.chmod(0o600)
    again = build(source, tmp_path / "dist", umask=0o077)
    first = {path.suffix: path.read_bytes() for path in packages.iterdir()}
    assert {suffix: hashlib.sha256(data).hexdigest() for suffix, data in again.items()} == {
        suffix: hashlib.sha256(data).hexdigest() for suffix, data in first.items()
    }


@pytest.mark.long
def test_the_wheel_runs_when_installed(wheel: Path, tmp_path: Path, home: dict[str, str]) -> None:
    """With each of its names; it finds its personas and man pages, and not those of this checkout."""
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    install = [
        sys.executable,
        "-I",
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*install, "--quiet", str(wheel)], check=True)
    # The libraries are those of the environment that runs the tests.
    (site_packages,) = folder.glob("lib/python*/site-packages")
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site_packages / "libraries.pth").write_text("\n".join(others))

    def run(program: str, *arguments: str) -> str:
        command = [str(folder / "bin" / program), *arguments]
        done = subprocess.run(command, env=home, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    for name in ("hermes", "openhermes", "openhermes-cli"):
        assert run(name, "--version") == f"hermes {__version__}\n"
    assert run("hermes", "ask", "-m", script(tmp_path, {"text": "Hello."}), "hi") == "Hello.\n"
    assert "hermes-2" in run("hermes", "personas", "list")
    assert run("hermes", "completion", "bash").startswith("#")
    located = run("python", "-c", "import hermes_cli; print(hermes_cli.__file__)")
    assert Path(located.strip()).is_relative_to(folder)
    assert (folder / "share" / "man" / "man1" / "hermes.1").is_file()


def test_gpu_is_another_name_of_transformers() -> None:
    """`pip install 'openhermes-cli[gpu]'` installs what runs weights on a GPU."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["optional-dependencies"]["gpu"] == ["openhermes-cli[transformers]"]
