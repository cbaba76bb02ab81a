"""Renders conversations with a model's chat template. No text of a conversation becomes a control token."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile

from hermes_cli.messages import Message, Role
from hermes_cli.prompts.chat_template import ChatTemplate
from hermes_cli.prompts.jinja_template import JinjaTemplate
from hermes_cli.prompts.prompt_format import (
    Segment,
    continues_answer,
    excludes_reasoning,
    is_continued,
    mark_segments,
)
from hermes_cli.prompts.protected_text import ControlSplitter, ControlToken, Piece, render_pieces
from hermes_cli.prompts.reasoning import NO_MARKS, Reasoning
from hermes_cli.prompts.template_budget import InvalidTemplate
from hermes_cli.prompts.template_roles import RoleSupport, Turn
from hermes_cli.prompts.text_encoder import PIECE, Encode, TextEncoder

CACHED_PROMPTS = 64
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""The names of the reasoning in templates. Source: those of Qwen3, Gemma 4 and gpt-oss."""
QUESTION = Turn(Role.USER, "a0z")
NO_VARIABLES: Mapping[str, object] = {}
NO_THINKING: Mapping[str, object] = {"enable_thinking": False, "thinking": False}
"""The variables that switch reasoning off. Source: the templates of Qwen3 and DeepSeek V3.1."""


class TemplateFormat:
    """Renders conversations with a chat template and one vocabulary.

    `encode` returns the ids of ordinary text, `control` the control tokens by their texts, and `end_ids`
    further ids that end an answer.

    Raises InvalidTemplate if the template cannot be used.
    """

    def __init__(
        self,
        template: ChatTemplate,
        encode: Encode,
        control: Mapping[str, ControlToken],
        vocabulary: str,
        end_ids: Iterable[int] = (),
    ) -> None:
        self._source = template
        self._arguments = encode, control, vocabulary, tuple(end_ids)
        self._template = JinjaTemplate(template.source, template.special_tokens)
        ids = {text: token.id for text, token in control.items()}
        self.encoder = TextEncoder(encode, ids, end_ids)
        # A prompt that ends with the text of the user is continued, as in `ask --raw`, not answered.
        ends_with_text = self._render([QUESTION], add_generation_prompt=True).endswith(QUESTION.text)
        self.reasoning = Reasoning(ids, template.source, NO_MARKS if ends_with_text else None)
        self.end_ids = frozenset({*end_ids, *ids.values()}) - frozenset(self.reasoning.token_texts)
        closing = mark_segments(self.reasoning, self.encoder, self.reasoning.closing)
        self.closing_ids = tuple(_flat(closing))
        self.vocabulary = f"{vocabulary} {hashlib.sha256(template.source.encode()).hexdigest()[:16]}"
        self._splitter = ControlSplitter(control)
        bos = template.special_tokens.get("bos_token", "")
        self._bos = [Piece(bos, control[bos])] if template.adds_bos and bos in control else []
        self._support = RoleSupport(lambda turns: self._render(turns, add_generation_prompt=True))
        self._opening = self._opening_of({})
        self._opens_reasoning = self.reasoning.is_open("".join(piece.text for piece in self._opening))
        self._empty_reasoning = self._find_empty_reasoning()
        self._answer_frame, self._has_empty_opening = self._find_answer_frame()
        self.stops = self._find_stops()
        # Each turn renders its prompt several times: to count it, to show it and to send it.
        self._pieces = lru_cache(maxsize=CACHED_PROMPTS)(self._pieces_of)

    def without_added_bos(self) -> "TemplateFormat":
        """Return the format whose prompts begin with BOS only if the template contains it."""
        return TemplateFormat(self._source._replace(adds_bos=False), *self._arguments)

    def _render(
        self,
        turns: Sequence[Turn],
        *,
        add_generation_prompt: bool,
        variables: Mapping[str, object] = NO_VARIABLES,
    ) -> str:
        messages = [_template_message(turn) for turn in turns]
        return self._template.render(messages, add_generation_prompt=add_generation_prompt, **variables)

    def _opening_of(self, variables: Mapping[str, object]) -> list[Piece]:
        """Return the pieces with which the template opens an answer."""
        closed, opened = (
            self._splitter.pieces(
                self._render([QUESTION], add_generation_prompt=is_open, variables=variables)
            )
            for is_open in (False, True)
        )
        return opened[_common(closed, opened) :]

    def _find_empty_reasoning(self) -> list[Piece]:
        """Return the pieces after the opening of an answer with which the model does not reason.

        They come from the template if it has a switch for reasoning that changes only them.
        """
        marks = self.reasoning
        prompt, switched = (
            self._splitter.pieces(self._render([QUESTION], add_generation_prompt=True, variables=variables))
            for variables in (NO_VARIABLES, NO_THINKING)
        )
        if len(switched) > len(prompt) and switched[: len(prompt)] == prompt:
            return switched[len(prompt) :]
        if self._opens_reasoning:
            return self._splitter.pieces(marks.closing)
        is_closed = any(piece.text == marks.end for piece in self._opening)
        return [] if is_closed else self._splitter.pieces(marks.empty)

    def _find_answer_frame(self) -> tuple[list[Piece], bool]:
        """Return the pieces before a finished answer, and whether the answer's text follows them directly."""
        answer, next_question = Turn(Role.ASSISTANT, "a1z"), Turn(Role.USER, "a2z")
        try:
            closed = self._splitter.pieces(
                self._render([QUESTION, answer, next_question], add_generation_prompt=False)
            )
            before = self._splitter.pieces(self._render([QUESTION], add_generation_prompt=False))
        except InvalidTemplate:
            return [], False
        position = next((i for i, piece in enumerate(closed) if "a1z" in piece.text), 0)
        frame = closed[_common(before, closed) : position]
        tokens = [index for index, piece in enumerate(frame) if piece.token is not None]
        prompt = self._splitter.pieces(self._render([QUESTION], add_generation_prompt=True))
        is_direct = prompt[-1].token is not None or closed[position].text.startswith("a1z")
        return frame[tokens[0] :] if tokens else [], is_direct

    def _find_stops(self) -> tuple[str, ...]:
        """Return the text that ends an answer, or nothing if a control token does.

        It is the text after an answer, or, if there is none, the text before the next turn of the user, with
        a single space or newline before it.
        """
        turns = [Turn(Role.USER, "a0z"), Turn(Role.ASSISTANT, "a1z"), Turn(Role.USER, "a2z")]
        try:
            closed, followed = (
                self._render(turns[:count], add_generation_prompt=False).partition("a1z")[2]
                for count in (2, 3)
            )
        except InvalidTemplate:
            return ()
        opening = followed.partition("a2z")[0].rstrip()
        spaces = opening[: len(opening) - len(opening.lstrip())]
        for text in (closed.strip(), spaces[-1:] + opening.lstrip()):
            if text:
                has_control = any(piece.token is not None for piece in self._splitter.pieces(text))
                return () if has_control else (text,)
        return ()

    def _pieces_of(self, messages: tuple[Message, ...], *, continues: bool) -> list[Piece]:
        """Return the prompt as pieces: a control token, or the text between two of them."""
        turns = self._support.adapt(messages)
        if continues and turns[-1].text.strip():
            pieces = render_pieces(self._splitter, self._continued, turns)
        else:
            turns = self._support.adapt(messages[:-1]) if continues else turns
            pieces = render_pieces(self._splitter, self._closed, turns)
            pieces += self._empty_reasoning if excludes_reasoning(messages) else []
        has_bos = bool(pieces) and pieces[0].token is not None and pieces[:1] == self._bos
        return pieces if has_bos else [*self._bos, *pieces]

    def _closed(self, turns: Sequence[Turn], _mark: str) -> str:
        return self._render(turns, add_generation_prompt=True)

    def _continued(self, turns: Sequence[Turn], mark: str) -> str:
        """Return the prompt up to the end of the last turn, which is marked with a character."""
        marked = [*turns[:-1], replace(turns[-1], text=f"{turns[-1].text}{mark} ")]
        before, found, after = self._render(marked, add_generation_prompt=False).rpartition(mark)
        if not found:  # the template drops a last turn of the assistant
            return self._render(turns[:-1], add_generation_prompt=True) + turns[-1].text
        return before if after.startswith(" ") else before.rstrip()  # as transformers does

    def segments(self, messages: Sequence[Message]) -> list[Segment]:
        """Return the prompt for `messages` as segments; see PromptFormat."""
        # Messages are equal whether or not they are open.
        pieces = self._pieces(tuple(messages), continues=is_continued(messages))
        stored = [message for message in messages if self._has_stored_ids(message)]
        segments = list[Segment]()
        for index, piece in enumerate(pieces):
            if piece.token is not None:
                segments.append(Segment((piece.token.id,), control=True))
            elif pieces[max(index - len(self._answer_frame), 0) : index] == self._answer_frame:
                ids, stored = self._answer_ids(piece.text, stored)
                segments.append(Segment(ids, control=False))
            else:
                segments.append(Segment(self.encoder.cached_ids(piece.text), control=False))
        return segments

    def _answer_ids(self, text: str, stored: list[Message]) -> tuple[tuple[int, ...], list[Message]]:
        """Return the ids of a piece, and the answers after the one whose stored ids they contain."""
        for position, message in enumerate(stored):
            if (ids := self._stored_ids(text, message)) is not None:
                return ids, stored[position + 1 :]
        return self.encoder.cached_ids(text), stored

    def _has_stored_ids(self, message: Message) -> bool:
        stored = message.turn_ids
        if stored is None or (stored.vocabulary, stored.is_named) != (self.vocabulary, message.is_named):
            return False
        return bool(message.sent_text.strip()) and not self.encoder.holds_control(stored.ids)

    def _stored_ids(self, text: str, message: Message) -> tuple[int, ...] | None:
        """Return the ids of a piece that ends with the text of an answer, if they are stored.

        The ids that the model read before the answer must be those of the text before it.
        """
        assert message.turn_ids is not None  # noqa: S101 - see _has_stored_ids
        stored, answer = message.turn_ids.ids, message.sent_text
        body = text.rstrip()
        if not body.endswith(answer.strip()):
            return None
        before = body[: len(body) - len(answer.strip())]
        leading = answer[: len(answer) - len(answer.lstrip())]
        for opening in (before, before.removesuffix(leading), before.rstrip()):
            ids = self.encoder.cached_ids(opening) if opening else ()
            if stored[: len(ids)] == ids and (opening or self._has_empty_opening):
                after = text[len(body) :].removeprefix(answer[len(answer.rstrip()) :])
                return (*stored, *(self.encoder.encode_after_newline(after) if after else ()))
        return None

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the prompt for `messages` as one list of token ids."""
        return _flat(self.segments(messages))

    def open_turn_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the ids between the last control token before the answer and the answer.

        If no control token ends an answer, stored ids are never used, and these would be the whole prompt.
        """
        if self.stops:
            return ()
        segments = self.segments(messages)
        if not continues_answer(messages):
            added = len(self._opening) + len(self._empty_reasoning) * excludes_reasoning(messages)
            opening = segments[max(len(segments) - added, 0) :]
            marks = [i for i, s in enumerate(opening) if s.control and s.ids[0] in self.reasoning.token_texts]
            segments = segments[: len(segments) - len(opening) + marks[0]] if marks else segments
        return segments[-1].ids if segments and not segments[-1].control else ()

    def begins_reasoning(self, messages: Sequence[Message]) -> bool:
        """Return whether the prompt ends in the model's reasoning, which the model then continues."""
        is_new = not (continues_answer(messages) or excludes_reasoning(messages))
        return self._opens_reasoning and is_new

    def common_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids that begin every prompt in which a turn of the user follows `messages`."""
        first, second = (self.segments([*messages, Message(Role.USER, text)]) for text in ("a", "1"))
        return _flat(
            s for s, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
        )

    def cacheable_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of the first turns that are cacheable."""
        first = list(takewhile(lambda message: message.cacheable, messages))
        return self.common_ids(first) if first else []

    def count(self, messages: Sequence[Message], limit: int) -> int:
        """Return the number of tokens of the prompt for `messages`; see PromptFormat."""
        counted = [
            replace(message, text="", turn_ids=None) if self._is_too_long(message, limit) else message
            for message in messages
        ]
        too_long = sum(before is not after for before, after in zip(messages, counted, strict=True))
        return too_long * (2 * limit + 1) + sum(len(segment.ids) for segment in self.segments(counted))

    def _is_too_long(self, message: Message, limit: int) -> bool:
        text = message.sent_text
        return len(text) > PIECE and self.encoder.has_more_tokens(text, 2 * limit)


def _template_message(turn: Turn) -> dict[str, str]:
    message = {"role": str(turn.role), "content": turn.text}
    return message | dict.fromkeys(REASONING_KEYS, turn.reasoning) if turn.reasoning else message


def _common(left: Sequence[Piece], right: Sequence[Piece]) -> int:
    """Return the number of equal pieces at the beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def _flat(segments: Iterable[Segment]) -> list[int]:
    return [i for segment in segments for i in segment.ids]
