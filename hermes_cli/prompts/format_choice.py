"""Chooses the format of a model's prompts: ChatML, a chat template, or plain text."""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from hermes_cli.errors import ConfigError, ModelUnavailable
from hermes_cli.prompts.chat_template import ChatTemplate
from hermes_cli.untrusted import source
from hermes_cli.untrusted.source import Source

FLAG: Final = "--chat-template"
CHATML: Final = "chatml"
"""The name that requests ChatML."""
CHATML_TEMPLATE: Final = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML for a vocabulary without its tokens. Source: OpenHermes 2.5's tokenizer_config.json."""
PLAIN_TEMPLATE: Final = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
MAX_FILE: Final = 192 << 10
"""Bytes of a template file. JinjaTemplate reads a quarter of it in characters."""


class TemplateRequest(NamedTuple):
    """The user's choice of a prompt format: a name, or a file, whose text is `source`.

    `origin` is the flag or the setting that makes the choice.
    """

    name: str
    origin: str = FLAG
    source: str | None = None


RAW: Final = TemplateRequest("plain text", "--raw", PLAIN_TEMPLATE)
"""The request of `hermes ask --raw`."""
ANY_MODEL: Final = TemplateRequest(CHATML)
"""A request that every model can meet."""


def read_request(text: str, origin: str = FLAG) -> TemplateRequest:
    """Return the choice in a value of --chat-template. If it is a file, read it.

    A text without a slash that is not the name of a file names a template of the model. Raises ConfigError if
    a file is missing, cannot be read, is empty or larger than MAX_FILE, or is not UTF-8.
    """
    if text == CHATML:
        return TemplateRequest(text, origin)
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - leaves the name of an unknown user unchanged
    if os.sep not in text and not os.path.isfile(path):  # noqa: PTH113 - accepts any text
        return TemplateRequest(text, origin)
    file = Source(f"{origin}: {text}", ConfigError)
    template = source.read_text(path, MAX_FILE, file).removeprefix(source.BOM)
    if not template.strip():
        raise file.error("is empty")
    return TemplateRequest(text, origin, template)


class FormatChoice(NamedTuple):
    """The format of a model's prompts, and why it was chosen. Without a `template`, it is ChatML.

    `is_own` is true if the template is the model's.
    """

    name: str = "ChatML"
    why: str = "its vocabulary has both tokens"
    template: ChatTemplate | None = None
    is_own: bool = True

    def __str__(self) -> str:
        return f"{self.name} ({self.why})"

    def check(self) -> None:
        """Render short conversations with the template, if there is one. This needs no vocabulary.

        Raises ModelUnavailable if the model's template cannot be used, and ConfigError if it is another one.
        """
        if self.template is None:
            return
        tokens = tuple(sorted(self.template.special_tokens.items()))
        if not (reason := _problem(self.template.source, tokens)):
            return
        from hermes_cli.prompts.template_budget import InvalidTemplate

        if self.is_own:
            raise InvalidTemplate(reason)
        raise ConfigError(f"the {self.name} {reason}", f"correct it, or choose another with {FLAG}")


@lru_cache(maxsize=16)
def _problem(template: str, special_tokens: tuple[tuple[str, str], ...]) -> str:
    """Return why a template cannot be used, or an empty string."""
    # jinja2 is imported only for models that need it.
    from hermes_cli.prompts.template_budget import InvalidTemplate
    from hermes_cli.prompts.template_format import TemplateFormat

    try:
        # Control tokens and ids do not change what the template returns.
        TemplateFormat(ChatTemplate(template, dict(special_tokens)), lambda text: [*text.encode()], {}, "")
    except InvalidTemplate as error:
        return error.reason
    return ""


class ModelTemplates(NamedTuple):
    """The chat templates of a model, and the properties that decide its prompt format.

    `chatml_problem` is the error if the vocabulary lacks a ChatML token, else None. `default` is the template
    for plain conversations, or None, and `named` are all that have a name. A template that is not the model's
    gets its `special_tokens`, and a BOS token if its tokenizer `adds_bos`.
    """

    chatml_problem: ModelUnavailable | None = None
    default: ChatTemplate | None = None
    named: Mapping[str, ChatTemplate] = MappingProxyType({})
    special_tokens: Mapping[str, str] = MappingProxyType({})
    adds_bos: bool = False

    def choose(self, request: TemplateRequest | None = None) -> FormatChoice:
        """Return the requested format, or else ChatML if the vocabulary has its tokens, or else `default`.

        Raises ModelUnavailable if there is no such format.
        """
        if request is None:
            return self._automatic()
        if request.name == CHATML and self.chatml_problem is None:
            return FormatChoice(why=request.origin)
        if request.name == CHATML:
            template = self._other(CHATML_TEMPLATE, begins_with_text=True)
            return FormatChoice("ChatML as text", request.origin, template, is_own=False)
        if request == RAW:
            template = self._other(PLAIN_TEMPLATE, begins_with_text=True)
            return FormatChoice(request.name, request.origin, template, is_own=False)
        if named := self.named.get(request.name):
            return FormatChoice(f"the model's chat template '{request.name}'", request.origin, named)
        if request.source is not None:
            name = f"chat template {request.name}"
            return FormatChoice(name, request.origin, self._other(request.source), is_own=False)
        names = ", ".join([CHATML, *self.named])
        raise ModelUnavailable(
            f"{request.origin}: the model has no chat template '{request.name}', and there is no such file",
            f"give {names} or a file",
        )

    def _automatic(self) -> FormatChoice:
        if self.chatml_problem is None:
            return FormatChoice()
        if self.default is None:
            raise self.chatml_problem
        return FormatChoice("the model's chat template", "its vocabulary lacks a ChatML token", self.default)

    def _other(self, text: str, *, begins_with_text: bool = False) -> ChatTemplate:
        return ChatTemplate(text, self.special_tokens, self.adds_bos, begins_with_text)
