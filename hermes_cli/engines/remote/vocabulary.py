"""The tokenizer of a server's model, reached over HTTP. It keeps the bytes of each token that it has seen."""

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from functools import lru_cache
from typing import Final

from hermes_cli.engines.base import Cancel, PromptToken
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.control_literals import CONTROL_LITERALS
from hermes_cli.engines.remote.servers.api import RemoteModel, Token, TokenApi
from hermes_cli.errors import ModelUnavailable
from hermes_cli.messages import Message, Role
from hermes_cli.prompts.chat_template import ChatTemplate
from hermes_cli.prompts.chatml import IM_END, IM_START, ChatML
from hermes_cli.prompts.prompt_format import PromptFormat, Segment
from hermes_cli.prompts.protected_text import ControlToken
from hermes_cli.prompts.text_encoder import CONTROL_SPELLING, UnknownControl, looks_like_control

SAMPLE: Final = "Ein süßer Brei,\n\tdef f(x): return x ** 2  # 日本語 🎉 naïve ÅÄÖ 1234567890"
"""Two vocabularies that encode it to the same ids are taken for the same."""
_PROBE: Final = (
    Message(Role.SYSTEM, "You are Hermes."),
    Message(Role.USER, "Hi, who are you?"),
    Message(Role.ASSISTANT, "I am Hermes."),
    Message(Role.USER, "  Two\n\nlines é"),
)
SHORT: Final = 64
"""The characters of a text whose tokens are kept."""
CACHED_SHORT: Final = 4096
MAX_LITERALS: Final = 64
"""The texts in a template that a server is asked for. A template has a few control tokens."""


class Agreement(Enum):
    """How a count of prompt tokens compares with the number that the server reports."""

    SAME = auto()
    CUT = auto()
    DIFFERENT = auto()


class _Current(threading.local):
    """The cancel of the requests that a thread sends now. An answer and a prefill run at the same time."""

    def __init__(self) -> None:
        self.cancel = Cancel()


class RemoteVocabulary:
    """The tokenizer of a model on a server. Each method sends requests, which `cancelled_by` can end.

    Setting `cancel` ends the first requests. It may be used from several threads.
    """

    name: Final = ""
    """It is not that of a model on this machine."""

    def __init__(
        self, client: ServerClient, tokens: TokenApi, model: RemoteModel, cancel: Cancel | None = None
    ) -> None:
        self._client = client
        self._tokens = tokens
        self._model = model
        self._bytes: dict[int, bytes] = {}
        # The pieces of a text with many control tokens are often the same.
        self._encode_short = lru_cache(CACHED_SHORT)(self._encode)
        self._current = _Current()
        with self.cancelled_by(cancel or Cancel()):
            literals = self._encode("".join(CONTROL_LITERALS), control=True)
            letter = self._encode("a")
        known = {literal.encode(): literal for literal in CONTROL_LITERALS}
        self.control = {known[data]: i for i, data in literals if data in known}
        """The control tokens of the vocabulary that hermes knows, with their ids."""
        self._adds_space = bool(letter) and letter[0][1].startswith(b" ")

    @property
    def control_literals(self) -> Iterable[str]:
        """The texts of the control tokens that hermes knows."""
        return self.control

    @contextmanager
    def cancelled_by(self, cancel: Cancel) -> Iterator[None]:
        """Let `cancel` end the requests that this thread sends in the block.

        They then raise RequestCancelled. The block must not contain a `yield`: it would also hold for the
        requests of the caller.
        """
        before, self._current.cancel = self._current.cancel, cancel
        try:
            yield
        finally:
            self._current.cancel = before

    def _encode(self, text: str, *, control: bool = False) -> list[Token]:
        return self._tokens.encode(self._client, self._model, text, self._current.cancel, control=control)

    def encode(self, text: str) -> list[int]:
        """Return the ids of ordinary text.

        Raises UnknownControl if the server recognizes control tokens in it that are not in `control`. No
        ordinary token looks like one, because tokenizers split words from brackets.
        """
        if not text:
            return []
        tokens = self._encode_short(text) if len(text) <= SHORT else self._encode(text)
        self._bytes.update(tokens)
        ids, known = [i for i, _ in tokens], self.control.values()
        found = {data.decode("utf-8", "replace"): i for i, data in tokens if i not in known}
        if unknown := {literal: i for literal, i in found.items() if looks_like_control(literal)}:
            raise UnknownControl(ids, unknown)
        return ids

    def prompt_format(self) -> PromptFormat | None:
        """Return the format of the prompts, or None if hermes cannot make those of the server.

        It is ChatML or the chat template of the server, if hermes and the server make the same ids of a
        conversation.
        """
        return self.chatml() or self._template_format()

    def chatml(self) -> ChatML | None:
        """Return ChatML if hermes and the server make the same ids with it, else None."""
        if not {IM_START, IM_END} <= self.control.keys():
            return None
        chatml = ChatML(self.encode, self.control, self._identifier())
        theirs = self._tokens.prompt_ids(self._client, self._model, _PROBE, self._current.cancel)
        return chatml if chatml.ids(_PROBE) == theirs else None

    def _template_format(self) -> PromptFormat | None:
        """Return the format of the server's template, if it gives the ids that the server makes."""
        template = self._tokens.chat_template(self._client, self._model, self._current.cancel)
        if template is None:
            return None
        from hermes_cli.prompts.template_format import TemplateFormat

        self._find_control_tokens(template)
        control = {text: ControlToken(index) for text, index in self.control.items()}
        turns = _PROBE[1:]  # a template without a system role is adapted here, and perhaps not there
        theirs = self._tokens.sent_ids(self._client, self._model, turns, self._current.cancel)
        for adds_bos in (False, True):
            source = template._replace(adds_bos=adds_bos)
            try:
                made = TemplateFormat(source, self.encode, control, self._identifier())
            except ModelUnavailable:  # hermes' sandbox refuses the template
                return None
            if made.ids(turns) == theirs:
                return made
        return None

    def _find_control_tokens(self, template: ChatTemplate) -> None:
        """Add the control tokens in a template to the known ones."""
        found = {*CONTROL_SPELLING.findall(template.source), *template.special_tokens.values()}
        for literal in sorted(found - self.control.keys())[:MAX_LITERALS]:
            tokens = self._encode(literal, control=True)
            if len(tokens) == 1 and self._encode(literal) != tokens:
                self.control[literal] = tokens[0][0]

    def _identifier(self) -> str:
        """Return an identifier of the vocabulary."""
        sample = [sorted(self.control.items()), self.encode(SAMPLE)]
        return f"remote-{hashlib.sha256(json.dumps(sample).encode()).hexdigest()[:32]}"

    def prompt_tokens(self, segments: Iterable[Segment]) -> list[PromptToken]:
        """Return the tokens of a rendered prompt with their bytes."""
        control = {i: literal.encode() for literal, i in self.control.items()}
        result: list[PromptToken] = []
        for segment in segments:
            for index, token in enumerate(segment.ids):
                data = control[token] if segment.control and token in control else self.bytes_of(token)
                if index == 0 and self._adds_space and not segment.control:
                    data = data.removeprefix(b" ")
                result.append(PromptToken(token, data, segment.control))
        return result

    def server_prompt(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the tokens of the prompt that the server makes of messages."""
        control = {i: literal.encode() for literal, i in self.control.items()}
        ids = self._tokens.prompt_ids(self._client, self._model, messages, self._current.cancel)
        return [
            PromptToken(token, control[token] if token in control else self.bytes_of(token), token in control)
            for token in ids
        ]

    def bytes_of(self, token: int) -> bytes:
        """Return the bytes of a token; the server is asked for one that was generated."""
        if token not in self._bytes:
            text = self._tokens.decode(self._client, self._model, [token], self._current.cancel)
            self._bytes[token] = text.encode()
        return self._bytes[token]

    def count(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of the prompt that the server makes of messages."""
        return self._tokens.count(self._client, self._model, messages, self._current.cancel)

    def compare(self, _messages: Sequence[Message], counted: int, reported: int) -> Agreement:
        """Compare the server's count with the number of tokens that it reports afterwards."""
        return Agreement.CUT if reported < counted else Agreement.SAME

    def close(self) -> None:
        """Do nothing: the tokenizer stays on the server."""
