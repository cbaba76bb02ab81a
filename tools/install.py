"""Make a virtual environment and install packages into it; the Makefile runs this.

`python3 -m tools.install FOLDER [--gpu=auto|no] [PACKAGE …]` needs nothing but the standard library. With
`--gpu=auto` it also installs what runs models on this machine's GPU. A failure is printed as one sentence and
the next step.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hermes_cli import system_packages
from hermes_cli.errors import DownloadError, HermesError, ResourcesExhausted
from hermes_cli.models.hardware import system_gpus
from hermes_cli.models.wheel import mentions_full_disk, reason
from tools import gpu_packages

PROJECT: Final = Path(__file__).parents[1]
LARGE_MB: Final = 50
"""A download of at least this size is printed when it begins."""
_DOWNLOAD: Final = re.compile(r"\s*Downloading (?:\S*/)?([\w.]+)-(\d[\w.!+]*)-\S+\.whl \(([\d.]+) MB\)")
_NO_RIGHTS: Final = re.compile("read-only file system|permission denied", re.IGNORECASE)


def make_environment(folder: Path) -> None:
    """Make a virtual environment with pip in `folder`. Raises HermesError."""
    require_system()
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        raise HermesError(
            f"{folder} is in use and no virtual environment", "name another folder: VENV=FOLDER"
        )
    print(f"Making {folder} …", flush=True)
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise failure(str(error), folder) from None
    for command in (
        [sys.executable, "-I", "-m", "venv", str(folder)],
        [*_pip_install(folder), "--upgrade", "pip"],
    ):
        code, output = _run(command)
        if code != 0:
            shutil.rmtree(folder, ignore_errors=True)
            raise failure(output, folder)


def install(folder: Path, packages: Sequence[str]) -> None:
    """Install packages into an environment: names, or folders with their extras. Raises HermesError."""
    print(f"Installing {' '.join(packages)} into {folder} …", flush=True)
    editable = [part for package in packages for part in ("--editable", package)]
    # Without a wheel pip would build from source, with compilers that few machines have.
    command = [*_pip_install(folder), "--only-binary", ":all:", *editable]
    code, output = _run(command, on_line=_print_large_download)
    if code != 0:
        raise failure(output, folder)


def install_for_gpu(folder: Path) -> None:
    """Install what runs models on the first GPU of this machine, if there is one.

    The base installation works without it, so a failure is only printed.
    """
    found = system_gpus(Path("/"), os.environ)
    packages = gpu_packages.for_gpu(found[0]) if found else None
    if packages is None:
        return
    print(f"{found[0].name} found. Installing {packages.what} …", flush=True)
    print("  'make chat GPU=no' does without it, and runs models on the CPU.", flush=True)
    try:
        if packages.extra:
            install(folder, [f".[{packages.extra}]"])
            return
        code, output = _run([*_pip_install(folder), *packages.arguments], on_line=_print_large_download)
        if code != 0:
            raise failure(output, folder)
    except HermesError as error:
        print(f"hermes: the GPU will not be used: {error.message}\n        {error.hint}", file=sys.stderr)


def require_system() -> None:
    """Check what hermes needs from the system. Root gets it installed; raises HermesError for others."""
    missing = system_packages.missing_libraries()
    if importlib.util.find_spec(system_packages.ENSUREPIP) is None:
        missing.append(system_packages.ENSUREPIP)
    if not missing:
        return
    commands = system_packages.install_commands(missing, system_packages.package_manager())
    if not commands or os.geteuid() != 0:
        raise HermesError(
            f"this system lacks {' and '.join(missing)}, which hermes needs",
            system_packages.advice_here(missing),
        )
    print(f"This system lacks {' and '.join(missing)}. Running: {' && '.join(commands)}", flush=True)
    for command in commands:
        code, output = _run(command.split(), DEBIAN_FRONTEND="noninteractive")
        if code != 0:
            raise HermesError(f"'{command}' failed: {_last_line(output)}", "run it by hand, then make again")


def _pip_install(folder: Path) -> list[str]:
    pip = [str(folder / "bin" / "python"), "-I", "-m", "pip", "--no-input", "--disable-pip-version-check"]
    return [*pip, "install", "--progress-bar", "off", "--constraint", str(PROJECT / "constraints.txt")]


def _run(
    command: Sequence[str], on_line: Callable[[str], None] = lambda _: None, **environ: str
) -> tuple[int, str]:
    """Run a program. Return its exit code and all that it printed, which only `on_line` sees meanwhile."""
    lines: list[str] = []
    try:
        with subprocess.Popen(
            command,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as child:
            for line in child.stdout or ():
                lines.append(line)
                on_line(line)
    except OSError as error:
        return 127, str(error)
    return child.returncode, "".join(lines)


def _print_large_download(line: str) -> None:
    found = _DOWNLOAD.match(line)
    if found is not None and float(found[3]) >= LARGE_MB:
        print(f"  downloading {found[1]} {found[2]} ({float(found[3]):,.0f} MB) …", flush=True)


def _last_line(output: str) -> str:
    return (output.strip().splitlines() or ["it printed nothing"])[-1]


def failure(output: str, folder: Path) -> HermesError:
    """Return the error for a step that failed, from all that it printed."""
    if mentions_full_disk(output):
        return ResourcesExhausted(
            f"the disk of {folder.absolute()} or of {os.environ.get('TMPDIR', '/tmp')} is full",  # noqa: S108 - pip's own
            "make room, then run make again; 'make VENV=FOLDER …' installs into another folder",
        )
    if _NO_RIGHTS.search(output):
        return HermesError(
            f"{folder.absolute()} cannot be written",
            "clone hermes into a folder of yours, or install elsewhere: make VENV=$HOME/hermes-venv …",
        )
    why = reason(output)
    if "cannot be reached" in why:
        return DownloadError(why, "check the network, HTTPS_PROXY and 'pip config list', then run make again")
    try:
        log = folder / "install.log"
        log.write_text(output, encoding="utf-8")
    except OSError:
        return HermesError(f"the installation failed: {why}", "run make again")
    return HermesError(f"the installation failed: {why}", f"the installer's output is in {log}")


def main() -> int:
    """Do what the command line asks for and return the exit code."""
    folder, *packages = sys.argv[1:]
    for_gpu = "--gpu=auto" in packages
    packages = [package for package in packages if not package.startswith("--gpu=")]
    try:
        if packages:
            install(Path(folder), packages)
            if for_gpu:
                install_for_gpu(Path(folder))
        else:
            make_environment(Path(folder))
    except HermesError as error:
        print(f"hermes: {error.message}\n        {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
