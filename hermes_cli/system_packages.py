"""What hermes needs from the operating system, and the command that installs what is missing.

Imports nothing outside the standard library: `make` uses it before anything is installed.
"""

import ctypes
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Final

LIBRARIES: Final = ("libgomp.so.1", "libstdc++.so.6")
"""The shared libraries that wheels load from a Linux system, beside glibc."""
ENSUREPIP: Final = "ensurepip"
"""The module of the standard library that puts pip into a virtual environment. Debian packages it apart."""

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
"""The text of glibc's dynamic loader, which Python passes on in an ImportError."""


def can_load(library: str) -> bool:
    """Return whether the dynamic loader finds `library`. It stays loaded if it does."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing_libraries(can_load: Callable[[str], bool] = can_load, platform: str = sys.platform) -> list[str]:
    """Return which of LIBRARIES this system lacks. Wheels for other systems than Linux bring their own."""
    return [name for name in LIBRARIES if not can_load(name)] if platform == "linux" else []


def package_manager() -> str | None:
    """Return the name of this system's package manager, or None if hermes does not know it."""
    return next((name for name in _INSTALL if shutil.which(name, path=_SYSTEM_PATH)), None)


def install_commands(missing: Sequence[str], manager: str | None) -> list[str]:
    """Return the commands with which root installs what is missing, or none if the package is unknown."""
    packages = [_PACKAGES.get(name, {}).get(manager or "") for name in missing]
    if manager is None or None in packages:
        return []
    names = " ".join(dict.fromkeys(str(name) for name in packages))
    return [command.format(names) for command in _INSTALL[manager]]


def advice(missing: Sequence[str], manager: str | None, *, is_root: bool, has_sudo: bool) -> str:
    """Return the line that tells a user how to install what is missing."""
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
    """Return the shared library that an import did not find, or None if it failed for another reason."""
    found = _NOT_FOUND.search(str(error))
    return found[1] if found else None
