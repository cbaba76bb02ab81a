"""The interface of a kind of model server, and the values that it uses.

A server supports one of three levels. At the first, a prompt is sent as token ids; at the second and third,
as messages, which the server renders. At the second, the server or a tokenizer on this machine counts the
tokens of a prompt; at the third, their number is an estimate.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple, Protocol

from hermes_cli.engines.base import Cancel, FinishReason, Progress, Usage
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.event_stream import EventDecoder, ServerSentEvents
from hermes_cli.engines.remote.failures import one_line
from hermes_cli.engines.unsupported_option import UnsupportedOption
from hermes_cli.errors import ServerError, UsageError
from hermes_cli.messages import Message
from hermes_cli.options import FIELDS, GenerationOptions
from hermes_cli.prompts.chat_template import ChatTemplate
from hermes_cli.prompts.prompt_format import is_continued
from hermes_cli.untrusted.value import Policy, Value, ValuePath

HANDLED_HERE: Final = {"stop", "loop_guard"}
"""Options that hermes applies to the stream."""
REASONING: Final = {"thinking_budget"}
"""The option of servers that can exclude reasoning."""
WITHOUT_REASONING: Final = {"chat_template_kwargs": {"enable_thinking": False}}
"""Turns the reasoning off in a chat template. Source: the documentation of vLLM and of llama-server."""

MAX_VERSION: Final = 40


class Level(IntEnum):
    """What a server supports, best first."""

    TOKEN_IDS = 1
    COUNTED = 2
    ESTIMATED = 3


class RemoteModel(NamedTuple):
    """A model of a server. Sizes are in tokens, and None if they are unknown.

    `context_size` is the context window with which it is loaded, and `max_context_size` the longest that it
    supports. `is_loaded` is None if the server does not report it. `is_listed` is false if the server has a
    list of models without this one, which may be an alias.
    """

    name: str
    context_size: int | None = None
    max_context_size: int | None = None
    is_loaded: bool | None = None
    is_listed: bool = True


class AnswerPart(NamedTuple):
    """A part of an answer. `ids` are the token ids of `text`, if the server reports them.

    llama-server reports only the last id of a character of several tokens; `generated` is then greater than
    the number of ids so far. It is 0 if the server does not report it. `finish` is set once, when the model
    has ended the answer. `usage` may follow it.
    """

    text: str = ""
    reasoning: str = ""
    ids: tuple[int, ...] = ()
    generated: int = 0
    finish: FinishReason | None = None
    usage: Usage | None = None
    progress: Progress | None = None


class AnswerRequest(NamedTuple):
    """A request for an answer. `read` returns the part of the answer in the JSON value of an event."""

    url: str
    body: Mapping[str, Any]
    read: Callable[[Value], AnswerPart]
    new_decoder: Callable[[], EventDecoder] = ServerSentEvents


Token = tuple[int, bytes]
"""A token id and its bytes."""


class TokenApi(Protocol):
    """The token ids of a server: of its prompts, and of text.

    `prefills` is true if a request may evaluate a prompt and generate nothing.
    """

    prefills: bool

    def request(
        self, model: RemoteModel, prompt: Sequence[int], options: GenerationOptions, ends: Sequence[int]
    ) -> AnswerRequest:
        """Return the request for an answer to a prompt of token ids. A token of `ends` ends the answer.

        Raises UsageError if an option is set that the server does not have.
        """

    def encode(
        self, client: ServerClient, model: RemoteModel, text: str, cancel: Cancel, *, control: bool = False
    ) -> list[Token]:
        """Return the tokens of a text, without BOS. With `control`, it may contain control tokens.

        vLLM always recognizes control tokens, so that the caller must cut their literals.
        """

    def decode(self, client: ServerClient, model: RemoteModel, ids: Sequence[int], cancel: Cancel) -> str:
        """Return the text of token ids."""

    def prompt_ids(
        self, client: ServerClient, model: RemoteModel, messages: Sequence[Message], cancel: Cancel
    ) -> list[int]:
        """Return the ids of the prompt that the server makes of messages, without a BOS of its own."""

    def sent_ids(
        self, client: ServerClient, model: RemoteModel, messages: Sequence[Message], cancel: Cancel
    ) -> list[int]:
        """Return the ids of the prompt that the server makes of messages, as it sends them to the model."""

    def chat_template(
        self, client: ServerClient, model: RemoteModel, cancel: Cancel, /
    ) -> ChatTemplate | None:
        """Return the chat template of the model, or None if the server does not report it."""

    def count(
        self, client: ServerClient, model: RemoteModel, messages: Sequence[Message], cancel: Cancel
    ) -> int:
        """Return the number of tokens of the prompt that the server makes of messages."""


class ServerApi(Protocol):
    """A kind of model server.

    `kind` is one of `server_settings.KINDS`, and `name` how it is written. `tokens` is None if it has none.
    `cannot_continue` is the reason why an assistant's message cannot be continued, or "". If it
    `can_exclude_reasoning`, a model answers without reasoning if the budget for it is 0. A server that
    `keeps_models` does not unload one after some minutes. `options` are the generation options that it
    has, and `if_no_models` is the hint if it has no models, or "".
    """

    kind: str
    name: str
    cannot_continue: str
    can_exclude_reasoning: bool
    keeps_models: bool
    if_no_models: str
    options: Collection[str]
    tokens: TokenApi | None

    def recognizes(self, client: ServerClient, cancel: Cancel) -> bool:
        """Return whether the server is of this kind."""

    def version(self, client: ServerClient, cancel: Cancel) -> str:
        """Return the version that the server reports, in one line, or an empty string."""

    def models(self, client: ServerClient, cancel: Cancel) -> list[RemoteModel]:
        """Return the models of the server that generate text."""

    def find_model(self, client: ServerClient, name: str, cancel: Cancel) -> RemoteModel:
        """Return a model with all that the server reports about it.

        Raises ServerUnavailable if the server does not have it.
        """

    def chat_request(
        self, model: RemoteModel, messages: Sequence[Message], options: GenerationOptions, context_size: int
    ) -> AnswerRequest:
        """Return the request for an answer to messages.

        Raises UsageError if an option is set that the server does not have, or if the last message is to be
        continued and the server cannot do that.
        """


class AnswerPolicy(Policy):
    """Raises ServerError for a value that a server should not send."""

    table_name = "an object"

    def __init__(self, where: str) -> None:
        self._where = where

    def reject(self, path: ValuePath, reason: str, hint: str = "") -> None:
        """Raise an error that names the server and the value."""
        place = ".".join(str(step)[:40] for step in path)
        name = f"'{place}' in the answer" if place else "the answer"
        raise ServerError(f"{name} of {self._where} {reason}", hint or "see the server's log")


def version_in(body: Any, name: str) -> str:
    """Return the version in a response of the server, or an empty string if it has none."""
    version = body.get(name) if isinstance(body, dict) else None
    return one_line(version, MAX_VERSION) if isinstance(version, str) else ""


def checked(body: Any, client: ServerClient) -> Value:
    """Return a response of the server for typed access, which raises ServerError."""
    return Value(body, AnswerPolicy(client.where))


def mapped_options(
    options: GenerationOptions, names: Mapping[str, str], server: str, supported: Collection[str] = ()
) -> dict[str, Any]:
    """Return the values of the options in `names` that are set, under the server's names.

    Raises UnsupportedOption if another option has a value that is not its default and has an effect, unless
    it is in `supported`.
    """
    for name, field in FIELDS.items():
        if name in HANDLED_HERE or name in names or name in supported:
            continue
        if getattr(options, name) != field.default and not _has_no_effect(name, options):
            raise UnsupportedOption(server, name)
    values = {theirs: getattr(options, ours) for ours, theirs in names.items()}
    return {name: value for name, value in values.items() if value is not None}


def options_left_to(api: ServerApi) -> list[str]:
    """Return the options whose default has an effect, but is not sent, so that the server's applies."""
    default = GenerationOptions()
    others = [name for name in FIELDS if name not in HANDLED_HERE and name not in api.options]
    return [name for name in others if getattr(default, name) and not _has_no_effect(name, default)]


def _has_no_effect(name: str, options: GenerationOptions) -> bool:
    """Return whether the value of an option turns it off, or belongs to an option that is off."""
    off = {"temperature": None, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    if name in off:
        return bool(getattr(options, name) == off[name])
    if name in {"dry_base", "dry_allowed_length"}:
        return options.dry_multiplier == 0
    if name == "xtc_threshold":
        return options.xtc_probability == 0
    return name == "repetition_range" and options.repetition_penalty == 1.0


def require_continuable(api: ServerApi, messages: Sequence[Message]) -> bool:
    """Return whether the last message is continued. Raises UsageError if the server cannot do that."""
    if is_continued(messages) and api.cannot_continue:
        raise UsageError(
            f"{api.name} cannot continue a message: {api.cannot_continue}", "send a message instead"
        )
    return is_continued(messages)


def message_list(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Return messages as OpenAI's and Ollama's APIs write them.

    Raises UsageError for a lone surrogate, which is no text in any encoding.
    """
    for message in messages:
        if any("\ud800" <= character <= "\udfff" for character in message.sent_text):
            raise UsageError("a message contains half of a character, a lone surrogate", "remove it")
    return [{"role": str(message.role), "content": message.sent_text} for message in messages]
