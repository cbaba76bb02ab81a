"""Check that every package in constraints.txt has a wheel for each Python version that hermes supports.

`python -m tools.check_wheels [VERSION …]` asks the package index for the wheels of this operating system and
processor. Nothing is downloaded but their metadata.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

PROJECT: Final = Path(__file__).parents[1]
VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")
_NO_MATCH: Final = "No matching distribution found for "


def requirements(text: str, version: str) -> list[str]:
    """Return the pinned packages of a constraints file that apply to a Python version."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    found = [Requirement(line) for line in lines if line]
    return [
        f"{requirement.name}{requirement.specifier}"
        for requirement in found
        if requirement.marker is None or requirement.marker.evaluate({"python_version": version})
    ]


def without_wheels(packages: Sequence[str], version: str) -> list[str]:
    """Return which packages have no wheel for a Python version. Raises RuntimeError with pip's reason."""
    left, missing = list(packages), []
    while left:
        problem = _dry_run(left, version)
        name = problem.partition(_NO_MATCH)[2].strip()
        if not problem:
            break
        if name not in left:
            raise RuntimeError(problem)
        left.remove(name)
        missing.append(name)
    return missing


def _dry_run(packages: Sequence[str], version: str) -> str:
    """Return the last error of pip, or an empty text if it would install all of `packages`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-I", "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps"]
        command += ["--ignore-installed", "--only-binary", ":all:", "--python-version", version]
        done = subprocess.run(
            [*command, "--target", folder, *packages], capture_output=True, text=True, check=False
        )
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return errors[-1] if errors else f"pip ended with exit code {done.returncode}"


def main() -> int:
    """Print what has no wheel and return 1 if there is any such package."""
    text = (PROJECT / "constraints.txt").read_text(encoding="utf-8")
    failed = 0
    for version in sys.argv[1:] or VERSIONS:
        packages = requirements(text, version)
        try:
            missing = without_wheels(packages, version)
        except RuntimeError as error:
            print(f"Python {version}: {error}", file=sys.stderr)
            return 69
        failed += len(missing)
        print(f"Python {version}: {len(packages)} packages, without a wheel: {', '.join(missing) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
