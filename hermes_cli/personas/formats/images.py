"""Copies a character's image from one file format to another.

A PNG card is an image itself. In a CHARX archive, the image is the main one of type `icon` in `assets`
(source: the Character Card V3 specification, "assets").
"""

from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import charx, png

MEMBER: Final = "assets/icon/image/main.png"
_INSIDE: Final = "embeded://"  # spelled so in the specification
_ITSELF: Final = "ccdefault:"
_SPELLINGS: Final = (_INSIDE, "embedded://")


def extract(kind: str, data: bytes, document: dict[str, Any] | None) -> bytes:
    """Return the image of a PNG card or a CHARX archive without its cards, or empty bytes."""
    if kind == "charx":
        data = charx.member(data, _path(document or {}))
    if kind not in {"png", "charx"} or not data.startswith(png.SIGNATURE):
        return b""
    try:
        return png.without_cards(data)
    except PersonaError:  # a damaged image counts as none
        return b""


def add_asset(document: dict[str, Any], *, is_inside: bool) -> dict[str, Any]:
    """Return a V3 card with its image in `assets`, which is in the archive or the file itself."""
    data = document["data"]
    assets = data["assets"] if isinstance(data.get("assets"), list) else []
    icon = {"type": "icon", "uri": _INSIDE + MEMBER if is_inside else _ITSELF, "name": "main", "ext": "png"}
    return document | {"data": data | {"assets": [icon, *(one for one in assets if not _is_main(one))]}}


def _path(document: dict[str, Any]) -> str:
    """Return the path of a card's image in its archive, or an empty text."""
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
