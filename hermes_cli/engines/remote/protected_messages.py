"""Protects messages that a server renders: no text in them contains the literal of a known control token.

A server recognizes such a literal wherever it is, so that a text could end its turn and forge another one.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from hermes_cli.engines.remote.control_literals import CONTROL_LITERALS
from hermes_cli.messages import Message

_HARMLESS: Final = {"<think>", "</think>", "<tool_call>", "</tool_call>", "<mask>", "<pad>", "<unk>"}
"""Literals that do not end a turn; models write some of them as text."""
_LITERAL: Final = re.compile("|".join(re.escape(text) for text in CONTROL_LITERALS if text not in _HARMLESS))


def protected(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with a space after the first character of each control literal."""
    return [_protected(message) if _LITERAL.search(message.sent_text) else message for message in messages]


def _protected(message: Message) -> Message:
    return replace(
        message,
        text=_LITERAL.sub(_cut, message.text),
        speaker=_LITERAL.sub(_cut, message.speaker),
        turn_ids=None,
    )


def _cut(found: re.Match[str]) -> str:
    literal = found[0]
    return f"{literal[0]} {literal[1:]}"
