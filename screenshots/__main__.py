"""Take the screenshots: `python -m screenshots`.

Writes docs/screens/: each scene at each size as a text, and as an SVG in a dark and a light palette.
"""

from collections.abc import Mapping
from pathlib import Path

from screenshots.camera import Picture, take
from screenshots.scenes import SCENES, SIZES, Scene
from screenshots.svg import DARK, LIGHT, svg

FOLDER = Path(__file__).parents[1] / "docs" / "screens"


def files(scene: Scene, picture: Picture) -> Mapping[str, str]:
    stem = f"{scene.name}-{len(picture.rows[0])}x{len(picture.rows)}"
    drawn = {f"{stem}-{palette.name}.svg": svg(picture, palette, scene.title) for palette in (DARK, LIGHT)}
    return {f"{stem}.txt": picture.text(), **drawn}


def main() -> None:
    for scene in SCENES:
        for columns, rows in SIZES:
            for name, text in files(scene, take(scene, columns, rows)).items():
                (FOLDER / name).write_text(text, encoding="utf-8")
                print(name)


if __name__ == "__main__":
    main()
