"""Counts invisible characters, which can hide text from the user but not from the model.

These are Unicode's default-ignorable characters and bidirectional controls, except for legitimate ones: those
between the parts of an emoji or between the letters of joining scripts.
"""

import re
from collections.abc import Iterable
from typing import Final

MOST: Final = 100_000
_EMOJI: Final = "#*0-9\u00a9\u00ae\u203c\u2049\u2100-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_JOINING: Final = "\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ua800-\uabff"
_VARIED: Final = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_DIRECTION: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNSEEN: Final = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065"
    "\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
_SUSPECT: Final = re.compile(f"[{_UNSEEN}{_DIRECTION}\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_FLAG: Final = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f"
_CHARACTER: Final = re.compile(
    rf"{_FLAG}"
    rf"|(?<=[{_EMOJI}\ufe0f\u20e3])\u200d(?=[{_EMOJI}])"
    rf"|(?<=[{_JOINING}])[\u200c\u200d]"
    rf"|(?<=[{_EMOJI}])[\ufe0e\ufe0f]"
    rf"|(?<=[{_VARIED}{_JOINING}])[\ufe00-\ufe02\U000e0100-\U000e01ef]"
    rf"|(?P<unseen>[{_UNSEEN}\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef])"
    rf"|(?P<direction>[{_DIRECTION}])"
)


def count(texts: Iterable[str]) -> tuple[int, int]:
    """Return how many characters are invisible, and how many change the writing direction.

    Legitimate joiners and variation selectors are not counted. Counting stops at MOST characters, because a
    hostile file can have a million.
    """
    unseen = direction = 0
    for text in texts:
        if not _SUSPECT.search(text):  # true for most texts, and much faster
            continue
        for match in _CHARACTER.finditer(text):
            unseen += match.lastgroup == "unseen"
            direction += match.lastgroup == "direction"
            if unseen + direction >= MOST:
                return unseen, direction
    return unseen, direction
