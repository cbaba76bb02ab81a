"""The system libraries that hermes needs, and the commands that install missing ones.

This module uses only the standard library, because `make` runs it before anything is installed.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Final

LIBRARIES: Final = ("libgomp.so.1", "libstdc++.so.6")
"""The shared libraries, in addition to glibc, that wheels need from a Linux system."""
ENSUREPIP: Final = "ensurepip"
"""The standard library module that installs pip in a virtual environment; a separate package on Debian."""

_PACKAGES: Final = {
    "libgomp.so.1": {
        "apt-get": "libgomp1",
        "dnf": "libgomp",
        "zypper": "libgomp1",
        "pacman": "gcc-libs",
        "apk": "libgomp",
    },
    "libstdc++.so.6": {
        "apt-get": "libstdc++6",
        "dnf": "libstdc++",
        "zypper": "libstdc++6",
        "pacman": "gcc-libs",
        "apk": "libstdc++",
    },
    ENSUREPIP: {"apt-get": f"python{sys.version_info.major}.{sys.version_info.minor}-venv"},
}
_INSTALL: Final = {
    "apt-get": ("apt-get update", "apt-get install --yes {}"),
    "dnf": ("dnf install --assumeyes {}",),
    "zypper": ("zypper --non-interactive install {}",),
    "pacman": ("pacman --sync --refresh --noconfirm {}",),
    "apk": ("apk add {}",),
}
_SYSTEM_PATH: Final = "/usr/bin:/bin:/usr/sbin:/sbin"
_NOT_FOUND: Final = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
"""Matches the error message of glibc's dynamic loader, which an ImportError contains."""


def can_load(library: str) -> bool:
    """Return whether `library` can be loaded. If it can, it stays loaded."""
    import ctypes

    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing_libraries(can_load: Callable[[str], bool] = can_load, platform: str = sys.platform) -> list[str]:
    """Return the LIBRARIES that this system lacks. Wheels for systems other than Linux include them."""
    return [name for name in LIBRARIES if not can_load(name)] if platform == "linux" else []


def package_manager() -> str | None:
    """Return the name of this system's package manager, or None if it is not supported."""
    return next((name for name in _INSTALL if shutil.which(name, path=_SYSTEM_PATH)), None)


def install_commands(missing: Sequence[str], manager: str | None) -> list[str]:
    """Return the commands that install the missing libraries as root; none if a package is unknown."""
    packages = [_PACKAGES.get(name, {}).get(manager or "") for name in missing]
    if manager is None or None in packages:
        return []
    names = " ".join(dict.fromkeys(str(name) for name in packages))
    return [command.format(names) for command in _INSTALL[manager]]


def advice(missing: Sequence[str], manager: str | None, *, is_root: bool, has_sudo: bool) -> str:
    """Return a line that tells the user how to install the missing libraries."""
    commands = install_commands(missing, manager)
    if not commands:
        return f"install {' and '.join(missing)} with your system's package manager"
    if is_root or not has_sudo:
        return f"run{'' if is_root else ' as root'}: {' && '.join(commands)}"
    return f"run: {' && '.join(f'sudo {command}' for command in commands)}"


def advice_here(missing: Sequence[str]) -> str:
    """Return `advice` for this system and user."""
    has_sudo = shutil.which("sudo", path=_SYSTEM_PATH) is not None
    return advice(missing, package_manager(), is_root=os.geteuid() == 0, has_sudo=has_sudo)


def library_named_in(error: ImportError) -> str | None:
    """Return the missing shared library named in an import error, or None if there is none."""
    match = _NOT_FOUND.search(str(error))
    return match[1] if match else None
