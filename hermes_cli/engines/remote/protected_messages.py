"""Protects messages that a server renders: no text in them contains the literal of a known control token.

A server recognizes such a literal wherever it is, so that a text could end its turn and forge another one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Final

from hermes_cli.engines.remote.control_literals import CONTROL_LITERALS
from hermes_cli.messages import Message
from hermes_cli.prompts.protected_text import ControlSplitter, ControlToken
from hermes_cli.prompts.text_encoder import CACHED_TEXTS, looks_like_control

_HARMLESS: Final = {"<think>", "</think>", "<tool_call>", "</tool_call>", "<mask>", "<pad>", "<unk>"}
"""Literals that do not end a turn; models write some of them as text."""


class LiteralCutter:
    """Cuts the literals of the known control tokens, and `more` of the server's model."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        literals = {*CONTROL_LITERALS, *filter(looks_like_control, more)} - _HARMLESS
        splitter = ControlSplitter(dict.fromkeys(literals, ControlToken(0)))  # the ids are not used
        # Each request repeats all earlier turns.
        self._cut_text = lru_cache(CACHED_TEXTS)(partial(splitter.cut, separator=" "))

    def protected(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages with a space after the first character of each control literal."""
        return [self._cut(message) for message in messages]

    def _cut(self, message: Message) -> Message:
        text, speaker = self._cut_text(message.text), self._cut_text(message.speaker)
        if (text, speaker) == (message.text, message.speaker):
            return message
        return replace(message, text=text, speaker=speaker, turn_ids=None)
