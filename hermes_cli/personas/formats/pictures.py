"""A character's picture, on its way from one kind of file to another.

A PNG card is its picture; a CHARX archive names one among its `assets`, the main one of type `icon`. After
the Character Card V3 specification, "assets". It refuses to know pixels.
"""

from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import charx, png

MEMBER: Final = "assets/icon/image/main.png"
_INSIDE: Final = "embeded://"  # spelled so in the specification
_ITSELF: Final = "ccdefault:"
_SPELLINGS: Final = (_INSIDE, "embedded://")


def of(kind: str, data: bytes, document: dict[str, Any] | None) -> bytes:
    """Return the picture of a PNG card or a CHARX archive without its cards; nothing where there is none."""
    if kind == "charx":
        data = charx.member(data, _path(document or {}))
    if kind not in {"png", "charx"} or not data.startswith(png.SIGNATURE):
        return b""
    try:
        return png.without_cards(data)
    except PersonaError:  # a damaged picture is none
        return b""


def named(document: dict[str, Any], *, is_inside: bool) -> dict[str, Any]:
    """Return a V3 card that says where its picture is: in its archive, or that it is the file itself."""
    data = document["data"]
    assets = data["assets"] if isinstance(data.get("assets"), list) else []
    icon = {"type": "icon", "uri": _INSIDE + MEMBER if is_inside else _ITSELF, "name": "main", "ext": "png"}
    return document | {"data": data | {"assets": [icon, *(one for one in assets if not _is_main(one))]}}


def _path(document: dict[str, Any]) -> str:
    """Return where in its archive a card's picture is."""
    data = document.get("data")
    assets = data.get("assets") if isinstance(data, dict) else None
    for one in assets if isinstance(assets, list) else ():
        uri = one.get("uri") if _is_main(one) else None
        for begin in _SPELLINGS:
            if isinstance(uri, str) and uri.startswith(begin):
                return uri.removeprefix(begin)
    return ""


def _is_main(asset: Any) -> bool:
    return isinstance(asset, dict) and asset.get("type") == "icon" and asset.get("name") == "main"
