"""Cards in pictures and archives: PNG, WebP, JPEG and CHARX."""

import base64
import zlib

from tests.personas.corpus.recipe import File, card, to_json
from tests.personas.formats.cards import V1, archive, card_chunk, chunk, exif, jpeg, picture, to_base64, webp

ADA, EVE = card(), card(3, name="Eve")
URL_SAFE = base64.urlsafe_b64encode(to_json(card(description="ÿþ?>" * 9))).rstrip(b"=")
UTF_16 = b"UNICODE\0" + base64.b64encode(to_json(ADA)).decode().encode("utf-16-le")
NUMBERS = ",".join(map(str, to_json(V1))).encode()
XMP = b"http://ns.adobe.com/xap/1.0/\0" + b'<x st:chara="' + to_base64(ADA) + b'"/>'
IMAGES = [("assets/icon/image/main.png", picture()), ("sounds/a.mp3", b"ID3")]

FILES = (
    File("v1.png", picture(card_chunk("chara", V1)), "png", "Ada"),
    File("v2.png", picture(card_chunk("chara", ADA)), "png", "Ada"),
    File("v3.png", picture(card_chunk("ccv3", EVE)), "png", "Eve"),
    File("both.png", picture(card_chunk("chara", ADA), card_chunk("ccv3", EVE)), "png", "Eve"),
    File("twice.png", picture(card_chunk("chara", ADA), card_chunk("chara", EVE)), "png", "Ada"),
    File(
        "after-a-comment.png",
        picture(chunk(b"tEXt", b"Comment\0chara"), card_chunk("chara", ADA)),
        "png",
        "Ada",
    ),
    File("upper-case.png", picture(card_chunk("Chara", ADA)), "png", "Ada"),
    File("url-safe.png", picture(chunk(b"tEXt", b"chara\0" + URL_SAFE)), "png", "Ada"),
    File(
        "wrapped-lines.png",
        picture(chunk(b"tEXt", b"chara\0" + base64.encodebytes(to_json(ADA)))),
        "png",
        "Ada",
    ),
    File("bare-json.png", picture(chunk(b"tEXt", b"chara\0" + to_json(V1))), "png", "Ada"),
    File(
        "compressed.png", picture(chunk(b"zTXt", b"chara\0\0" + zlib.compress(to_base64(ADA)))), "png", "Ada"
    ),
    File("international.png", picture(chunk(b"iTXt", b"chara\0\0\0\0\0" + to_base64(ADA))), "png", "Ada"),
    File("exif.webp", webp((b"EXIF", exif(to_base64(ADA)))), "webp", "Ada"),
    File("exif-utf-16.webp", webp((b"EXIF", exif(UTF_16))), "webp", "Ada"),
    File("exif-numbers.webp", webp((b"EXIF", exif(NUMBERS))), "webp", "Ada"),
    File("xmp.jpg", jpeg(XMP), "jpeg", "Ada"),
    File("exif.jpeg", jpeg(b"Exif\0\0" + exif(b"ASCII\0\0\0" + to_json(V1), ">")), "jpeg", "Ada"),
    File("plain.charx", archive([("card.json", to_json(EVE))]), "charx", "Eve"),
    File("assets.charx", archive([("card.json", to_json(EVE)), *IMAGES]), "charx", "Eve"),
    File("v2.charx", archive([("card.json", to_json(ADA))]), "charx", "Ada"),
)
