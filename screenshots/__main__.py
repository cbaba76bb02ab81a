"""Take screenshots: `python -m screenshots [SCENE ...]`; without a name, all of them.

Writes docs/screens/: each scene at each size as a text, and as an SVG in a dark and a light palette.
"""

import argparse
import sys
import time

from screenshots import files
from screenshots.camera import take
from screenshots.scenes import SCENES, SIZES


def main() -> int:
    """Take the screenshots, print their file names, and return the exit code."""
    names = [scene.name for scene in SCENES]
    parser = argparse.ArgumentParser(prog="python -m screenshots", description=__doc__)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"one of {', '.join(names)}")
    wanted = parser.parse_args().scenes or names
    if unknown := {*wanted} - {*names}:
        parser.error(f"there is no scene {', '.join(sorted(unknown))}, only {', '.join(names)}")
    began = time.monotonic()
    for scene in SCENES:
        for columns, rows in SIZES if scene.name in wanted else ():
            picture = take(scene, columns, rows)
            print(" ".join(files.write(scene, picture)))
    print(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
