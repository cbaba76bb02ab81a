"""The tokenizer and the chat template of a model on this machine, for the same model on a server.

Both are used only as far as the server agrees with them: it has to make the same ids of a conversation, or to
report the same numbers of tokens.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hermes_cli.engines import detokenizer
from hermes_cli.engines.base import Cancel, PromptToken
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.servers.api import RemoteModel, TokenApi
from hermes_cli.engines.remote.token_estimate import CUT_SHARE
from hermes_cli.engines.remote.vocabulary import SAMPLE, Agreement
from hermes_cli.messages import Message, Role
from hermes_cli.prompts.format_choice import FormatChoice, ModelTemplates
from hermes_cli.prompts.prompt_format import PromptFormat, Segment

if TYPE_CHECKING:  # imported only if a GGUF is used
    from hermes_cli.models.gguf.model import GgufHeader

TOLERANCE: Final = 2
"""The tokens by which a server may count more or fewer: a BOS token, and whitespace at the prompt's end.

Another template differs by a token or more in each message, and another vocabulary by some percent of the
text, so that the difference soon exceeds it.
"""
SMALLEST_WINDOW: Final = 256
"""A server that reads fewer tokens has not cut the prompt: no context window is that small."""
MAX_COUNTED: Final = 250_000
"""A text of more than twice as many tokens, which no context window holds, is not encoded as a whole."""
_PROBE: Final = (
    Message(Role.USER, "Hi, who are you?"),
    Message(Role.ASSISTANT, "I am Hermes."),
    Message(Role.USER, SAMPLE),
)
"""It has no system prompt: a template without a system role is adapted here, and perhaps not there."""


class LocalVocabulary:
    """A tokenizer on this machine. `name` is that of its model.

    `entries` are the tokens in the order of their ids, `special` those that no text has, and `close` frees
    what the tokenizer uses.
    """

    def __init__(
        self,
        name: str,
        prompt_format: PromptFormat,
        entries: Sequence[str],
        special: Iterable[str],
        *,
        byte_level: bool,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.close = close
        self._format = prompt_format
        self._entries = entries
        self._special = frozenset(special)
        self._byte_level = byte_level
        self._has_agreed = False

    @property
    def control_literals(self) -> Iterable[str]:
        """The texts of the special tokens, and of those with which the chat template separates turns."""
        segments = self._format.segments((Message(Role.SYSTEM, "You are Hermes."), *_PROBE))
        ids = {i for segment in segments if segment.control for i in segment.ids}
        return self._special | {self._entries[i] for i in ids}

    def format_of(
        self, client: ServerClient, tokens: TokenApi, model: RemoteModel, cancel: Cancel
    ) -> PromptFormat | None:
        """Return the format that gives the ids that the server makes of a conversation, or None.

        Raises ServerUnavailable or ServerError if the server has no tokenizer.
        """
        theirs = tokens.sent_ids(client, model, _PROBE, cancel)
        found = next((made for made in self._formats() if made.ids(_PROBE) == theirs), None)
        self._has_agreed = found is not None
        return found

    def _formats(self) -> Iterator[PromptFormat]:
        """Yield the format with and without the BOS token that a tokenizer adds: vLLM does not add it."""
        from hermes_cli.prompts.template_format import TemplateFormat

        yield self._format
        if isinstance(self._format, TemplateFormat):
            yield self._format.without_added_bos()

    def prompt_tokens(self, segments: Iterable[Segment]) -> list[PromptToken]:
        """Return the tokens of a rendered prompt with their bytes."""
        return detokenizer.prompt_tokens(segments, self._entries, byte_level=self._byte_level)

    def server_prompt(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the tokens of the prompt that the server makes of the texts of messages.

        The literal of a control token is text here, although the server recognizes it.
        """
        return self.prompt_tokens(self._format.segments(_texts(messages)))

    def count(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of that prompt."""
        return self._format.count(_texts(messages), MAX_COUNTED)

    def cancelled_by(self, _cancel: Cancel) -> AbstractContextManager[None]:
        """Return a context without effect: no requests are sent."""
        return nullcontext()

    def compare(self, messages: Sequence[Message], counted: int, reported: int) -> Agreement:
        """Compare the count of messages with the number that the server reports.

        A smaller number means that the prompt was cut, if an earlier number was right or much is missing.
        """
        if abs(reported - counted) <= TOLERANCE:
            self._has_agreed = True
            return Agreement.SAME
        may_be_cut = SMALLEST_WINDOW <= reported < counted
        if may_be_cut and reported < CUT_SHARE * counted:
            return Agreement.CUT
        if any(self._format.encoder.has_literal(message.sent_text) for message in messages):
            return Agreement.SAME
        return Agreement.CUT if may_be_cut and self._has_agreed else Agreement.DIFFERENT


def _texts(messages: Sequence[Message]) -> list[Message]:
    """Return the messages as a server gets them, without ids and reasoning."""
    return [replace(message, turn_ids=None, reasoning=None) for message in messages]


def open_folder(name: str, folder: Path) -> LocalVocabulary:
    """Return the tokenizer in a folder of Hugging Face weights, which may be missing.

    Raises ModelUnavailable if it cannot be read, or its chat template cannot be used.
    """
    from hermes_cli.engines.tokenizer_json import read_vocabulary
    from hermes_cli.models.checkpoint.folder import templates_of

    read = read_vocabulary(folder, _own_format(templates_of(folder)))
    return LocalVocabulary(name, read.format, read.entries, read.special, byte_level=read.byte_level)


def open_gguf(name: str, header: "GgufHeader", log: Callable[[str], None] | None = None) -> LocalVocabulary:
    """Return the tokenizer of a GGUF, which runs in a child process until it is closed.

    `log` is called with each line of llama.cpp's log. Raises ModelUnavailable if the tokenizer cannot be
    loaded, or its chat template cannot be used.
    """
    from hermes_cli.engines.llama_cpp.vocabulary import vocabulary_engine

    stack = ExitStack()
    engine = stack.enter_context(vocabulary_engine(header, log, _own_format(header.templates)))
    return LocalVocabulary(
        name,
        engine.prompt_format,
        header.tokens,
        header.special_tokens,
        byte_level=header.tokenizer_model == "gpt2",
        close=stack.close,
    )


def _own_format(templates: ModelTemplates) -> FormatChoice:
    """Return the model's chat template, which servers use even for ChatML; without one, ChatML."""
    own = FormatChoice("the model's chat template", "servers use it", templates.default)
    choice = own if templates.default is not None else templates.choose()
    choice.check()
    return choice
