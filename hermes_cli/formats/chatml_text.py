r"""Raw ChatML, the text form of a prompt. A turn is `<|im_start|>role`, a newline, its text, `<|im_end|>`.

A message that contains one of these markers would be read as more than one turn, so writing it raises
FormatError; the JSON format has no such limit. When hermes reads a file, the markers only separate the
turns. The text of a turn is never encoded as control tokens.
"""

import re
from typing import Final

from hermes_cli.errors import FormatError
from hermes_cli.formats.transcript import Transcript, linear
from hermes_cli.messages import Message, Role
from hermes_cli.prompts.chatml import IM_END, IM_START

_TURN: Final = re.compile(rf"{re.escape(IM_START)}([^\n]*)\n", re.DOTALL)
_BLANK: Final = re.compile(r"\s*")


def write(transcript: Transcript) -> str:
    """Return the visible path of a conversation. Raises FormatError if a message contains a marker."""
    for number, turn in enumerate(transcript.turns, 1):
        for token in (IM_START, IM_END):
            if token in turn.text:
                raise FormatError(
                    f"turn {number} ({turn.role}) contains {token}, which separates turns in raw ChatML",
                    hint="use json or another format",
                )
    return "".join(f"{IM_START}{turn.role}\n{turn.text}{IM_END}\n" for turn in transcript.turns)


def read(text: str) -> list[Transcript]:
    """Parse raw ChatML, without changing the text of a turn. Raises FormatError if `text` is invalid."""
    turns, at, line, counted_to = list[Message](), _skip(text, 0), 1, 0
    while at < len(text):
        line, counted_to = line + text.count("\n", counted_to, at), at
        start = _TURN.match(text, at)
        if start is None:
            raise FormatError(f"has text outside of a turn; a turn begins with {IM_START} and a role", line)
        role = start[1].removesuffix("\r")
        if role not in list(Role):
            raise FormatError(f"has the role '{role[:40]}'; expected one of {', '.join(Role)}", line)
        end, next_start = text.find(IM_END, start.end()), text.find(IM_START, start.end())
        if end < 0 or -1 < next_start < end:
            raise FormatError(f"has a turn without {IM_END}", line)
        turns.append(Message(Role(role), text[start.end() : end]))
        at = _skip(text, end + len(IM_END))
    if not turns:
        raise FormatError("has no turn", 1)
    return [linear(turns)]


def _skip(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at
