"""Tests of the pictures in docs/screens: they show the program's output, and each is self-contained."""

import re
from itertools import product
from pathlib import Path
from xml.etree import ElementTree as ET

import pyte
import pytest
from pyte.screens import Char

from screenshots.__main__ import FOLDER, files
from screenshots.camera import DimScreen, Picture, take
from screenshots.scenes import SCENES, SIZES, Scene
from screenshots.svg import DARK, LIGHT, NAMES, Palette, svg

SVG = "{http://www.w3.org/2000/svg}"
STEMS = [f"{scene.name}-{columns}x{rows}" for scene, (columns, rows) in product(SCENES, SIZES)]
SESSION = {
    "session.cast",
    *(f"session{kind}-{color}.svg" for kind in ("", "-still") for color in ("dark", "light")),
}
"""The files of the recorded session."""
PLAIN = Char(" ")
NEXT = "look at it, and take the pictures again: make screens"


def texts(drawn: str) -> list[ET.Element]:
    """Return an SVG's texts."""
    return list(ET.fromstring(drawn).iter(f"{SVG}text"))  # noqa: S314 - our own


def row(text: str, look: Char = PLAIN) -> list[Char]:
    """Return cells of one style, two for a wide character."""
    return [
        look._replace(data=data)
        for character in text
        for data in ([character, ""] if character in "饅頭" else [character])
    ]


@pytest.mark.long
@pytest.mark.parametrize(("columns", "rows"), SIZES)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_the_pictures_are_what_the_program_shows(scene: Scene, columns: int, rows: int) -> None:
    """The files of each scene are those that the program gives now."""
    made = files(scene, take(scene, columns, rows))
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: {NEXT}"


def test_every_picture_is_there_and_on_the_page() -> None:
    """The folder has the files of every scene and no others, and its page links each of them."""
    wanted = {f"{stem}{end}" for stem in STEMS for end in (".txt", "-dark.svg", "-light.svg")}
    assert {path.name for path in FOLDER.iterdir()} == {*wanted, *SESSION, "README.md"}
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\]\((\S+)\)", page)) == sorted(wanted)
    for scene in SCENES:
        assert page.count(f"![{scene.title}]") == 2 * len(SIZES)


@pytest.mark.parametrize("stem", STEMS)
def test_a_text_is_a_whole_screen(stem: str) -> None:
    """A text file has a screen's rows, none longer than its columns, without trailing spaces."""
    lines = (FOLDER / f"{stem}.txt").read_text(encoding="utf-8").split("\n")
    columns, rows = map(int, stem.rpartition("-")[2].split("x"))
    assert lines.pop() == ""
    assert len(lines) == rows
    assert all(line == line.rstrip() and len(line) <= columns for line in lines)


@pytest.mark.parametrize(("stem", "palette"), [*product(STEMS, ("dark", "light"))])
def test_an_svg_stands_alone_and_says_what_the_text_says(stem: str, palette: str) -> None:
    """An SVG has simple elements only, no reference to other files, and the words of its text file."""
    drawn = (FOLDER / f"{stem}-{palette}.svg").read_text(encoding="utf-8")
    for element in ET.fromstring(drawn).iter():  # noqa: S314 - our own
        assert element.tag.removeprefix(SVG) in {"svg", "title", "style", "rect", "g", "text"}
        told = [*element.attrib, *element.attrib.values()]
        told += [element.text or ""] if element.tag == f"{SVG}style" else []
        assert not re.search(r"//|href|url\(|@", " ".join(told))
    said = [text.text or "" for text in texts(drawn)]
    expected = (FOLDER / f"{stem}.txt").read_text(encoding="utf-8")
    assert "".join("".join(said).split()) == "".join(expected.split())


@pytest.mark.parametrize("palette", [DARK, LIGHT], ids=lambda palette: palette.name)
def test_the_colours_can_be_read(palette: Palette) -> None:
    """All text colors but black and white have a contrast of at least 4.5, WCAG 2's limit for text."""
    names = [*NAMES[1:-1], *(f"bright{name}" for name in NAMES[1:-1])]
    assert len(palette.colors) == 16
    for colour in (palette.foreground, *(palette.colors[name] for name in names)):
        dark, light = sorted([luminance(colour), luminance(palette.background)])
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour


def luminance(colour: str) -> float:
    """Return the relative luminance, as WCAG 2 defines it."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_markup_in_a_text_is_text() -> None:
    """Markup in a text or a title is escaped."""
    drawn = svg(Picture([row("</text><b> & so")]), DARK, "a <title> & more")
    assert [text.text for text in texts(drawn)] == ["</text><b> & so"]
    assert "<title>a &lt;title&gt; &amp; more</title>" in drawn


def test_each_look_is_drawn() -> None:
    """Dim, bold, underlined, colored and reversed text are drawn each in its own way."""
    looks = [
        row("dim", Char(" ", blink=True)),
        row("two", Char(" ", bold=True, underscore=True)),
        row("red", Char(" ", fg="red")),
        row("own", Char(" ", fg="5f8700", bg="ffffff")),
        row("turned", Char(" ", reverse=True)),
    ]
    cells = [cell for look in looks for cell in look]
    drawn = svg(Picture([cells]), DARK, "")
    found = {text.text: (text.get("class"), text.get("fill")) for text in texts(drawn)}
    assert found == {
        "dim": ("d", None),
        "two": ("b u", None),
        "red": (None, DARK.colors["red"]),
        "own": (None, "#5f8700"),
        "turned": (None, DARK.background),
    }
    frame, own, turned = ET.fromstring(drawn).iter(f"{SVG}rect")  # noqa: S314 - our own
    assert (frame.get("fill"), own.get("fill"), turned.get("fill")) == (
        DARK.background,
        "#ffffff",
        DARK.foreground,
    )
    assert (own.get("x"), own.get("width")) == ("75.6", "25.2")


def test_every_stretch_stands_in_its_column() -> None:
    """Each piece of text has the position of its column, after spaces and wide characters."""
    first, second, third, last = texts(svg(Picture([row("  if x:   饅頭y")]), LIGHT, ""))
    assert [first.text, second.text, third.text, last.text] == ["if x:", "饅", "頭", "y"]
    assert [first.get("x"), first.get("textLength")] == ["16.8", "42"]
    assert [second.get("x"), second.get("textLength")] == ["84", "16.8"]
    assert [third.get("x"), last.get("x")] == ["100.8", "117.6"]


@pytest.mark.parametrize(("column", "width"), [(1, "8.4"), (2, "16.8"), (9, "8.4")])
def test_the_cursor_is_a_block(column: int, width: str) -> None:
    """The cursor is a block, as wide as the character under it."""
    drawn = svg(Picture([row("ab饅c")], (column, 0)), DARK, "")
    _, block = ET.fromstring(drawn).iter(f"{SVG}rect")  # noqa: S314 - our own
    assert (block.get("x"), block.get("width")) == (f"{min(column, 4) * 8.4:.1f}", width)
    assert sum(text.get("fill") == DARK.background for text in texts(drawn)) == 1


def test_what_is_dim_is_remembered() -> None:
    """The screen keeps the dim attribute, which pyte alone drops, and resets it like bold."""
    screen = DimScreen(40, 1)
    pyte.Stream(screen).feed("\x1b[2mA\x1b[1mB\x1b[22mC\x1b[2;31mD\x1b[mE\x1b[38;5;2;48;2;2;2;2mF\x1b[0;2mG")
    shown = {cell.data: cell for cell in screen.picture().rows[0]}
    assert {data for data, cell in shown.items() if cell.blink} == {"A", "B", "D", "G"}
    assert (shown["D"].fg, shown["F"].fg, shown["F"].bg) == ("red", "00cd00", "020202")


def test_a_pinned_figure_leaves_the_row_its_length() -> None:
    """A pinned text keeps its row's length and style."""
    cells = [*row("饅 at 1234 tok/s", Char(" ", blink=True)), *row(" | end ")]
    (shown,) = Picture([cells]).pinned({r"\d+ tok/s": "42 tok/s"}).rows
    assert len(shown) == len(cells)
    assert Picture([shown]).text() == "饅 at 42 tok/s | end\n"
    assert shown[9].data == "t"
    assert all(cell.blink for cell in shown[:14])
    (longer,) = Picture([cells]).pinned({"end": "a longer end"}).rows
    assert len(longer) == len(cells)


def test_no_machine_is_on_a_picture() -> None:
    """No text has a path of the machine that took the pictures."""
    for stem in STEMS:
        text = (FOLDER / f"{stem}.txt").read_text(encoding="utf-8")
        assert not re.search(r"/(tmp|home|root|usr|var|Users)\b", text)
        assert str(Path.home()) not in text
