"""Keeps the current folder, which may hold files from strangers, out of the search for programs and modules.

An empty or relative entry of $PATH or $PYTHONPATH stands for the current folder or one below it. This module
imports only modules that Python itself has already loaded, and not even `typing`.
"""

import os
import sys

VARIABLES = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")


def absolute_entries(value: str) -> str:
    """Return the entries of a search path that are absolute."""
    return os.pathsep.join(entry for entry in value.split(os.pathsep) if os.path.isabs(entry))  # noqa: PTH117 - pathlib is not loaded yet


def without_current_folder(environ: dict[str, str]) -> dict[str, str]:
    """Return the variables with only absolute entries in $PATH, $PYTHONPATH and $LD_LIBRARY_PATH."""
    absolute = {name: absolute_entries(environ[name]) for name in VARIABLES if name in environ}
    if not absolute.get("PATH"):  # an empty $PATH is the current folder
        absolute["PATH"] = os.defpath
    others = {name: value for name, value in environ.items() if name not in VARIABLES}
    return {**others, **{name: value for name, value in absolute.items() if value}}


def leave_current_folder(*, runs_as_module: bool) -> None:
    """Remove the current folder from this process's search paths for programs and modules.

    `python -m hermes_cli` puts it first in `sys.path`, and so does an empty entry of $PYTHONPATH. An absolute
    entry of $PYTHONPATH stays, even if it is the current folder.
    """
    try:
        current = os.getcwd()  # noqa: PTH109 - pathlib is not loaded yet
    except OSError:  # the folder has been deleted
        current = ""
    if runs_as_module and not sys.flags.safe_path and sys.path[0] in {"", current}:
        del sys.path[0]
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if entries != [""]:  # Python ignores an empty $PYTHONPATH
        relative = [entry for entry in entries if not os.path.isabs(entry)]  # noqa: PTH117
        implied = {os.path.normpath(os.path.join(current, entry)) for entry in relative}  # noqa: PTH118
        implied = implied.union(relative).difference(set(entries).difference(relative))
        sys.path[:] = [entry for entry in sys.path if entry not in implied]
    clean = without_current_folder(dict(os.environ))
    for name in VARIABLES:
        if name in clean:
            os.environ[name] = clean[name]
        else:
            os.environ.pop(name, None)
