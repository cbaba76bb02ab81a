"""Renders conversations as ChatML token ids.

Control tokens are inserted by id, never by encoding their text. The text between two control tokens (role,
newline, content) is encoded as one segment. If the encoded ids include a control token, every occurrence of
a control token's text is split in two, and the parts are encoded separately. A rendered conversation
therefore has exactly two control tokens per complete turn, regardless of its content.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import takewhile

from hermes_cli.errors import ModelUnavailable
from hermes_cli.messages import Message, Role
from hermes_cli.prompts.prompt_format import Segment, excludes_reasoning, is_continued, mark_segments
from hermes_cli.prompts.reasoning import Reasoning
from hermes_cli.prompts.text_encoder import PIECE, Encode, TextEncoder

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"


def missing_tokens(tokens: Container[str]) -> ModelUnavailable | None:
    """Return the error for a vocabulary with these tokens, or None if both ChatML tokens are among them."""
    missing = [token for token in (IM_START, IM_END) if token not in tokens]
    if not missing:
        return None
    return ModelUnavailable(
        "the model has no chat template, and does not support ChatML: its vocabulary has no "
        f"{' and no '.join(missing)} token",
        "add --chat-template chatml, or complete plain text with 'hermes ask --raw'",
    )


class ChatML:
    """Renders conversations with one vocabulary.

    `encode` returns the ids of ordinary text. `control` maps the text of each control token to its id, and
    `end_ids` are further ids that end an answer. `vocabulary` identifies the tokenizer; the stored ids of a
    turn are reused only if they have the same identifier. `between_turns` is the text between the end of a
    turn and the start of the next one.

    Raises ModelUnavailable if `control` lacks one of the two ChatML tokens, or if a newline is a control
    token.
    """

    def __init__(
        self,
        encode: Encode,
        control: Mapping[str, int],
        vocabulary: str,
        between_turns: str = "\n",
        end_ids: Iterable[int] = (),
    ) -> None:
        if problem := missing_tokens(control):
            raise problem
        self.reasoning = Reasoning(control)
        self.end_ids = frozenset({*control.values(), *end_ids}) - frozenset(self.reasoning.token_texts)
        if not self.end_ids.isdisjoint(encode("\n")):
            raise ModelUnavailable(
                "the model cannot be used: its vocabulary makes a newline a control token",
                "choose another model",
            )
        self.encoder = TextEncoder(encode, control, end_ids)
        self.vocabulary = vocabulary
        self.stops: tuple[str, ...] = ()
        self.im_start = control[IM_START]
        self.im_end = control[IM_END]
        empty, closing = (
            mark_segments(self.reasoning, self.encoder, text)
            for text in (self.reasoning.empty, self.reasoning.closing)
        )
        self._empty_reasoning = empty
        self.closing_ids = tuple(i for segment in closing for i in segment.ids)
        self._between_turns = Segment(tuple(self.encoder.encode_text(between_turns)), control=False)

    def segments(self, messages: Sequence[Message]) -> list[Segment]:
        """Return the prompt for `messages` as segments.

        If the last message is open or the assistant's, it has no end token, so that the model continues it.
        Otherwise, a new assistant turn is opened. For ordinary text, the ids are the same as those of the
        model's chat template.
        """
        segments = self._closed_turns(messages)
        if is_continued(messages):
            return segments[:-2] + (self._empty_reasoning if excludes_reasoning(messages) else [])
        start = Segment((self.im_start,), control=True)
        return [*segments, start, Segment(self.open_turn_ids(messages), control=False)]

    def _closed_turns(self, messages: Sequence[Message]) -> list[Segment]:
        """Return the complete turns of `messages`, each with the separator after it."""
        start = Segment((self.im_start,), control=True)
        end = Segment((self.im_end,), control=True)
        segments: list[Segment] = []
        for message in messages:
            segments += [start, Segment(self.turn_ids(message), control=False), end, self._between_turns]
        return segments

    def open_turn_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the ids after the start token of the turn that the model will continue."""
        if is_continued(messages):
            return self.turn_ids(messages[-1])
        return self.turn_ids(Message(Role.ASSISTANT, ""))

    def begins_reasoning(self, _messages: Sequence[Message]) -> bool:
        """Return False: the model begins its reasoning itself."""
        return False

    def turn_ids(self, message: Message) -> tuple[int, ...]:
        """Return the ids between the two control tokens of a turn.

        Stored ids are returned if they belong to this vocabulary, contain no control token, and begin with a
        name if the message is named. Otherwise, the text is encoded.
        """
        stored = self._stored_ids(message)
        return self.encoder.cached_ids(f"{message.role}\n{message.sent_text}") if stored is None else stored

    def _stored_ids(self, message: Message) -> tuple[int, ...] | None:
        stored = message.turn_ids
        if stored is None or (stored.vocabulary, stored.is_named) != (self.vocabulary, message.is_named):
            return None
        return None if self.encoder.holds_control(stored.ids) else stored.ids

    def count(self, messages: Sequence[Message], limit: int) -> int:
        """Return the number of tokens of the prompt for `messages`.

        A text of more than 2 * `limit` tokens counts as 2 * `limit` + 1, and is not encoded as a whole. Time
        and memory for a text therefore depend on the limit.
        """
        tokens = sum(self._turn_length(message, limit) for message in messages)
        separators = len(messages) * (2 + len(self._between_turns.ids))
        if is_continued(messages):
            empty = sum(len(segment.ids) for segment in self._empty_reasoning) * excludes_reasoning(messages)
            return tokens + separators - 1 - len(self._between_turns.ids) + empty
        return tokens + separators + 1 + len(self.open_turn_ids(messages))

    def _turn_length(self, message: Message, limit: int) -> int:
        is_long = len(message.sent_text) > PIECE and self._stored_ids(message) is None
        if is_long and self.encoder.has_more_tokens(message.sent_text, 2 * limit):
            return 2 * limit + 1
        return len(self.turn_ids(message))

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the prompt for `messages` as one list of token ids."""
        return [i for segment in self.segments(messages) for i in segment.ids]

    def cacheable_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of the first turns that are cacheable, with the separator after each."""
        first = list(takewhile(lambda message: message.cacheable, messages))
        return [i for segment in self._closed_turns(first) for i in segment.ids]

    def common_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids that begin every prompt in which another turn follows `messages`."""
        turns = [i for segment in self._closed_turns(messages) for i in segment.ids]
        return [*turns, self.im_start]
