"""Chooses the format of a model's prompts: ChatML, a chat template, or plain text."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from hermes_cli.errors import ConfigError, ModelUnavailable
from hermes_cli.prompts.chat_template import ChatTemplate
from hermes_cli.prompts.template_request import CHATML, FLAG, PLAIN_TEMPLATE, RAW, TemplateRequest

CHATML_TEMPLATE: Final = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML for a vocabulary without its tokens. Source: OpenHermes 2.5's tokenizer_config.json."""


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
