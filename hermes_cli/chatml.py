"""ChatML as token ids: the only file that knows <|im_start|>.

Control tokens are put in by id, never by spelling. Everything between two of them (role, newline, content)
is encoded as one segment of ordinary text by an encoder that cannot produce a control token; should one
turn up all the same, the literals are cut in two and the pieces encoded apart. So a text can spell whatever
it likes: a rendered conversation holds exactly two control tokens a finished turn.

It knows token ids and how turns are laid out. It refuses to know which engine runs them and how they look.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.messages import Message, Role, TurnIds

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"

REMEMBERED_TURNS = 1024

Encode = Callable[[str], list[int]]
"""Ordinary text to token ids, adding nothing of its own."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of a rendered prompt: one control token, or the text between two of them."""

    ids: tuple[int, ...]
    control: bool


class ChatML:
    """Renders conversations for one vocabulary.

    `encode` turns ordinary text into ids. `control` maps the spelling of every control token of the
    vocabulary to its id; it must hold the two ChatML tokens. `vocabulary` names the tokenizer, so that ids
    generated with it are known again. `between_turns` is what stands between a turn's end and the next
    one's start.
    """

    def __init__(
        self, encode: Encode, control: dict[str, int], vocabulary: str, between_turns: str = "\n"
    ) -> None:
        missing = [token for token in (IM_START, IM_END) if token not in control]
        if missing:
            raise ModelUnavailable(
                f"the model's vocabulary has no {' and no '.join(missing)} token: it was not made for ChatML",
                "choose a ChatML model, such as openhermes-2 or the starter",
            )
        self._encode = encode
        self._control_ids = frozenset(control.values())
        literals = sorted(filter(None, control), key=len, reverse=True)
        self._literals = re.compile("|".join(map(re.escape, literals)))
        self.vocabulary = vocabulary
        self.im_start = control[IM_START]
        self.im_end = control[IM_END]
        # Each prompt holds all the turns before it; only the new ones need to be encoded.
        self._encode_turn = lru_cache(maxsize=REMEMBERED_TURNS)(lambda text: tuple(self.encode_text(text)))
        self._newline = self.encode_text("\n")
        self._between_turns = Segment(tuple(self.encode_text(between_turns)), control=False)

    def encode_text(self, text: str) -> list[int]:
        """Return the ids of `text` as ordinary text: no control token, whatever it spells.

        Raises UsageError for a lone surrogate, which no tokenizer can encode.
        """
        return self._without_control(text, self._encode)

    def encode_after_newline(self, text: str) -> list[int]:
        """Return the ids of a text that does not begin a segment, as `encode_text` does.

        SentencePiece marks the beginning of what it encodes with a blank of its own; behind a newline the
        text has none.
        """
        return self._without_control(text, self._encode_behind_newline)

    def _without_control(self, text: str, encode: Encode) -> list[int]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            broken = f"U+{ord(text[error.start]):04X}"
            raise UsageError(
                f"the text holds a broken character ({broken}) at position {error.start}",
                "a lone surrogate is half of a character; take it out",
            ) from None
        ids = encode(text)
        if not self.holds_control(ids):
            return ids
        first, *rest = self._cut(text)
        ids = encode(first) + [i for piece in rest for i in self._encode_behind_newline(piece)]
        if self.holds_control(ids):
            raise HermesError("this text would become a control token in this model's vocabulary; not sent")
        return ids

    def _encode_behind_newline(self, text: str) -> list[int]:
        ids = self._encode("\n" + text)
        if ids[: len(self._newline)] == self._newline:
            return ids[len(self._newline) :]
        # The newline became one token with what follows it: a BPE, which adds no blank.
        return self._encode(text)

    def holds_control(self, ids: Iterable[int]) -> bool:
        """Whether a control token is among the ids."""
        return not self._control_ids.isdisjoint(ids)

    def _cut(self, text: str) -> Iterable[str]:
        """Split `text` so that no piece spells a whole control token.

        The cut is behind a literal's first character, a bracket, where the bare vocabulary has a seam anyway.
        """
        start = 0
        for match in self._literals.finditer(text):
            yield text[start : match.start() + 1]
            start = match.start() + 1
        yield text[start:]

    def segments(self, messages: Sequence[Message]) -> list[Segment]:
        """Return the prompt for `messages` as segments.

        A last message of the assistant is left open, to be continued. After any other, an assistant turn
        is opened. The ids equal those of the model's own chat template for ordinary text.
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
        """Return the ids with which the assistant's turn that is to be generated begins."""
        if messages and messages[-1].role is Role.ASSISTANT:
            return self.turn_ids(messages[-1])
        return self.turn_ids(Message(Role.ASSISTANT, ""))

    def turn_ids(self, message: Message) -> tuple[int, ...]:
        """Return the ids between a turn's two control tokens.

        They are those it was generated with, where they are of this vocabulary, or else the encoded text.
        """
        made = message.turn_ids
        if made is not None and made.vocabulary == self.vocabulary and not self.holds_control(made.ids):
            return made.ids
        return self._encode_turn(f"{message.role}\n{message.text}")

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the prompt for `messages` as one list of token ids."""
        return [i for segment in self.segments(messages) for i in segment.ids]

    def system_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids that the prompt begins with up to the end of the system turn; none without one."""
        if not messages or messages[0].role is not Role.SYSTEM:
            return []
        return [i for segment in self.segments(messages[:1])[:4] for i in segment.ids]

    def generated(self, opening: Sequence[int], new: Sequence[int]) -> TurnIds:
        """Return the record of a turn that began with the ids `opening` and went on with `new`."""
        return TurnIds(self.vocabulary, (*opening, *new))


def naked_tokenizer(tokenizer_json: str) -> Any:
    """Return the `tokenizers.Tokenizer` of a tokenizer.json without added tokens and post-processor.

    Without added tokens nothing is recognised by its spelling; without a post-processor nothing is added;
    without truncation nothing is lost. What is left is the bare vocabulary, whose ids for a text behind a
    control token are the full tokenizer's.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415 - 60 ms that most commands do not need

    spec = json.loads(tokenizer_json)
    spec.update(added_tokens=[], post_processor=None, truncation=None, padding=None)
    pre = spec.get("pre_tokenizer") or {}
    for part in pre.get("pretokenizers", [pre]):
        # "first" means: a blank where the prompt begins. A ChatML prompt begins with a control token.
        if part.get("prepend_scheme") == "first":
            part["prepend_scheme"] = "never"
    return Tokenizer.from_str(json.dumps(spec))


def from_tokenizer_json(tokenizer_json: str, vocabulary: str) -> ChatML:
    """Return the renderer for a Hugging Face tokenizer.json. `vocabulary` names it, such as by its hash.

    Raises ModelUnavailable where it has no ChatML tokens.
    """
    naked = naked_tokenizer(tokenizer_json)
    added = {token["content"]: token for token in json.loads(tokenizer_json).get("added_tokens", [])}
    # Every added token counts, special or not: OpenHermes 2 lists <|im_start|> as an ordinary one.
    control = {content: int(token["id"]) for content, token in added.items()}
    # A token that strips the text beside it takes the newline between two turns with it.
    stripped = added.get(IM_END, {}).get("rstrip") or added.get(IM_START, {}).get("lstrip")

    def encode(text: str) -> list[int]:
        ids: list[int] = naked.encode(text, add_special_tokens=False).ids
        return ids

    return ChatML(encode, control, vocabulary, between_turns="" if stripped else "\n")
