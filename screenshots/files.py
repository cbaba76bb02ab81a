"""The files of a picture: their names in docs/screens, and their contents."""

from collections.abc import Mapping
from pathlib import Path

from screenshots.palette import DARK, LIGHT
from screenshots.picture import Picture
from screenshots.scenes import Scene
from screenshots.svg import svg

FOLDER = Path(__file__).parents[1] / "docs" / "screens"


def contents(scene: Scene, picture: Picture) -> Mapping[str, str]:
    """Return each file's name and text."""
    stem = f"{scene.name}-{len(picture.rows[0])}x{len(picture.rows)}"
    drawn = {f"{stem}-{palette.name}.svg": svg(picture, palette, scene.title) for palette in (DARK, LIGHT)}
    return {f"{stem}.txt": picture.text(), **drawn}


def write(scene: Scene, picture: Picture) -> list[str]:
    """Write a picture's files, and return their names."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = contents(scene, picture)
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return [*made]
