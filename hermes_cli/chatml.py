"""Renders conversations as ChatML token ids.

Control tokens are inserted by id, never by encoding their text. The text between two control tokens (role,
newline, content) is encoded as one segment. If the encoded ids include a control token, every occurrence of
a control token's text is split in two, and the parts are encoded separately. A rendered conversation
therefore has exactly two control tokens per complete turn, regardless of its content.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.messages import Message, Role

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"

CACHED_TURNS = 1024

Encode = Callable[[str], list[int]]
"""A function that returns the token ids of ordinary text and adds no tokens such as BOS."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a rendered prompt: a control token, or the text between two control tokens."""

    ids: tuple[int, ...]
    control: bool


class ChatML:
    """Renders conversations with one vocabulary.

    `encode` returns the ids of ordinary text. `control` maps the text of each control token to its id.
    `vocabulary` identifies the tokenizer; the stored ids of a turn are reused only if they have the same
    identifier. `between_turns` is the text between the end of a turn and the start of the next one.

    Raises ModelUnavailable if `control` lacks one of the two ChatML tokens.
    """

    def __init__(
        self, encode: Encode, control: dict[str, int], vocabulary: str, between_turns: str = "\n"
    ) -> None:
        missing = [token for token in (IM_START, IM_END) if token not in control]
        if missing:
            raise ModelUnavailable(
                f"the model does not support ChatML: its vocabulary has no {' and no '.join(missing)} token",
                "choose a ChatML model, such as openhermes-2 or the starter",
            )
        self._encode = encode
        self._control_ids = frozenset(control.values())
        literals = sorted(filter(None, control), key=len, reverse=True)
        self._literals = re.compile("|".join(map(re.escape, literals)))
        self.vocabulary = vocabulary
        self.im_start = control[IM_START]
        self.im_end = control[IM_END]
        # Each prompt repeats all earlier turns; because of the cache, only new turns are encoded.
        self._encode_turn = lru_cache(maxsize=CACHED_TURNS)(lambda text: tuple(self.encode_text(text)))
        self._newline = self.encode_text("\n")
        self._between_turns = Segment(tuple(self.encode_text(between_turns)), control=False)

    def encode_text(self, text: str) -> list[int]:
        """Return the ids of `text`, encoded as ordinary text. They never include a control token.

        Raises UsageError for a lone surrogate, which no tokenizer can encode.
        """
        return self._without_control(text, self._encode)

    def encode_after_newline(self, text: str) -> list[int]:
        """Like `encode_text`, but for text that continues a segment instead of starting one.

        SentencePiece adds a space at the start of the text that it encodes, but not after a newline.
        """
        return self._without_control(text, self._encode_continuation)

    def _without_control(self, text: str, encode: Encode) -> list[int]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            character = f"U+{ord(text[error.start]):04X}"
            raise UsageError(
                f"the text contains an invalid character ({character}) at position {error.start}",
                "remove it: a lone surrogate is half of a character",
            ) from None
        ids = encode(text)
        if not self.holds_control(ids):
            return ids
        first, *rest = self._cut(text)
        ids = encode(first) + [i for piece in rest for i in self._encode_continuation(piece)]
        if self.holds_control(ids):
            raise HermesError("the text was not sent: its ids contain a control token of the model")
        return ids

    def _encode_continuation(self, text: str) -> list[int]:
        ids = self._encode("\n" + text)
        if ids[: len(self._newline)] == self._newline:
            return ids[len(self._newline) :]
        # The newline was merged with the next character, so this is a BPE tokenizer, which adds no space.
        return self._encode(text)

    def holds_control(self, ids: Iterable[int]) -> bool:
        """Return whether `ids` contains a control token."""
        return not self._control_ids.isdisjoint(ids)

    def _cut(self, text: str) -> Iterable[str]:
        """Split `text` so that no piece contains the full text of a control token.

        Each control token is split after its first character, a bracket. Without its added tokens, the
        tokenizer has a token boundary there anyway.
        """
        start = 0
        for match in self._literals.finditer(text):
            yield text[start : match.start() + 1]
            start = match.start() + 1
        yield text[start:]

    def segments(self, messages: Sequence[Message]) -> list[Segment]:
        """Return the prompt for `messages` as segments.

        If the last message is the assistant's, it has no end token, so that the model continues it.
        Otherwise, a new assistant turn is opened. For ordinary text, the ids are the same as those of the
        model's chat template.
        """
        start = Segment((self.im_start,), control=True)
        end = Segment((self.im_end,), control=True)
        continues = bool(messages) and messages[-1].role is Role.ASSISTANT
        result: list[Segment] = []
        for message in messages:
            result += [start, Segment(self.turn_ids(message), control=False), end, self._between_turns]
        if continues:
            return result[:-2]
        return [*result, start, Segment(self.open_turn_ids(messages), control=False)]

    def open_turn_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the ids after the start token of the assistant turn that the model will continue."""
        if messages and messages[-1].role is Role.ASSISTANT:
            return self.turn_ids(messages[-1])
        return self.turn_ids(Message(Role.ASSISTANT, ""))

    def turn_ids(self, message: Message) -> tuple[int, ...]:
        """Return the ids between the two control tokens of a turn.

        Stored ids are returned if they belong to this vocabulary and contain no control token. Otherwise,
        the text is encoded.
        """
        stored = message.turn_ids
        if stored is not None and stored.vocabulary == self.vocabulary and not self.holds_control(stored.ids):
            return stored.ids
        return self._encode_turn(f"{message.role}\n{message.text}")

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the prompt for `messages` as one list of token ids."""
        return [i for segment in self.segments(messages) for i in segment.ids]

    def system_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of the system turn and the separator after it, or an empty list without one."""
        if not messages or messages[0].role is not Role.SYSTEM:
            return []
        return [i for segment in self.segments(messages[:1])[:4] for i in segment.ids]


def from_tokenizer_json(tokenizer_json: str, vocabulary: str) -> ChatML:
    """Return a renderer for a Hugging Face tokenizer.json. `vocabulary` is an identifier, such as its hash.

    The tokenizer is reduced to its vocabulary. Without added tokens, it does not recognize control tokens in
    text. Without a post-processor and truncation, it neither adds nor drops tokens. For text that follows a
    control token, it returns the same ids as the full tokenizer.

    Raises ModelUnavailable if it lacks the ChatML tokens.
    """
    from tokenizers import Tokenizer

    spec = json.loads(tokenizer_json)
    # Includes added tokens that are not special: OpenHermes 2 does not mark <|im_start|> as special.
    added = {token["content"]: token for token in spec.get("added_tokens", [])}
    control = {content: int(token["id"]) for content, token in added.items()}
    # A token that strips adjacent whitespace removes the newline between turns.
    stripped = added.get(IM_END, {}).get("rstrip") or added.get(IM_START, {}).get("lstrip")
    spec.update(added_tokens=[], post_processor=None, truncation=None, padding=None)
    pre = spec.get("pre_tokenizer") or {}
    for part in pre.get("pretokenizers", [pre]):
        # "first" adds a space only at the start of a prompt, but a ChatML prompt starts with a control token.
        if part.get("prepend_scheme") == "first":
            part["prepend_scheme"] = "never"
    tokenizer: Any = Tokenizer.from_str(json.dumps(spec))

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    return ChatML(encode, control, vocabulary, between_turns="" if stripped else "\n")
