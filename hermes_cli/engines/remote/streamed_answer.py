"""Answers to which the parts of a server's stream are added: with token ids, or as text only."""

from collections.abc import Iterator

from hermes_cli.engines.base import Chunk, FinishReason
from hermes_cli.engines.remote.servers.api import AnswerPart
from hermes_cli.engines.remote.text_answer import TextAnswer
from hermes_cli.engines.stream_filters import Answer
from hermes_cli.prompts.prompt_format import PromptFormat


class IdsAnswer:
    """An answer with token ids. `is_ended` is whether the server has ended it; its usage may follow."""

    def __init__(self, answer: Answer, prompt_format: PromptFormat) -> None:
        self.state = answer
        self.is_ended = False
        self._goes_on = False  # after a token that ends the answer
        self._format = prompt_format
        self._count = 0
        self.ids: list[int] = []
        """The ids that follow the prompt: those of the answer, and those that ended its reasoning."""

    def close_reasoning(self) -> None:
        """End the reasoning; the next request continues behind it."""
        self.ids += self.state.close_reasoning()
        self._count = 0

    @property
    def is_stopped(self) -> bool:
        """Whether a stop string, a loop or a control token has ended the answer before the server."""
        return self._goes_on or (self.state.finish_reason is not None and not self.is_ended)

    def add(self, part: AnswerPart) -> Iterator[Chunk]:
        """Yield the chunks of a part of the answer. The server's usage can follow the token that ends it."""
        if part.progress is not None:
            yield Chunk("", progress=part.progress)
            return
        ids = part.ids
        self._goes_on = self.is_ended and bool(part.text or ids)
        if ends := not self._format.end_ids.isdisjoint(ids):
            ids = ()
            self.state.finish_reason = self.state.finish_reason or FinishReason.STOP
        elif part.generated > self._count + len(ids) and part.text:
            # The server reports only the last id of a character of several tokens.
            ids = tuple(self._format.encoder.encode_after_newline(part.text))
        self._count = max(part.generated, self._count + len(part.ids))
        self.ids += ids
        if (part.text or ids) and not self.is_ended:
            self.state.start_decode()
            if (chunk := self.state.feed(part.text, ids)).has_text:
                yield chunk
        self.is_ended = self.is_ended or ends or part.finish is not None
        if part.finish is not None:
            self.state.finish_reason = self.state.finish_reason or part.finish


class PlainAnswer:
    """An answer of text without token ids; see IdsAnswer."""

    def __init__(self, answer: TextAnswer) -> None:
        self.state = answer
        self.is_ended = False

    @property
    def is_stopped(self) -> bool:
        """Whether a stop string, a loop or a control token has ended the answer before the server."""
        return self.state.finish_reason is not None and not self.is_ended

    def add(self, part: AnswerPart) -> Iterator[Chunk]:
        """Yield the chunks of a part of the answer."""
        if part.text or part.reasoning:
            self.state.start_decode()
        if (chunk := self.state.feed(part.text, part.reasoning)).has_text:
            yield chunk
        if part.finish is not None:
            self.is_ended = True
            self.state.finish_reason = self.state.finish_reason or part.finish
