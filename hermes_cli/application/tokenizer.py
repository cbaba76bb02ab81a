"""Opens the tokenizer of a model without loading the weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from hermes_cli.application.load import open_engine
from hermes_cli.application.local_choice import select_model
from hermes_cli.application.local_engine import engine_log
from hermes_cli.application.model import scripted, server_choice
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.servers import find_server, suggested_server
from hermes_cli.engines.base import PromptToken
from hermes_cli.engines.tokenizer_json import read_vocabulary
from hermes_cli.errors import ModelUnavailable
from hermes_cli.messages import Message
from hermes_cli.models import hardware, selection
from hermes_cli.models.checkpoint.folder import has_tokenizer, templates_of
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.reference import parse
from hermes_cli.prompts.format_choice import FormatChoice, ModelTemplates

MAX_CHARACTERS: Final = 1 << 21
"""The most characters of which `hermes tokens` counts the tokens: a megabyte can take some seconds."""
MAX_TOKENS: Final = 250_000
"""Tokens of the longest prompt that `hermes tokens` shows, and of the longest text that is counted."""


class PromptTokenizer(Protocol):
    """A tokenizer of prompts."""

    def count_tokens(self, messages: Sequence[Message], limit: int) -> int:
        """Return the number of tokens of the prompt; a text counts as 2 * `limit` + 1 at most."""

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the tokens of the prompt for these messages."""


@contextmanager
def open_tokenizer(runtime: Runtime, name: str | None, request: PlanRequest) -> Iterator[PromptTokenizer]:
    """Yield a model's tokenizer. The weights are not loaded, and may be missing from the model's folder."""
    if script := scripted(runtime, name):
        yield open_engine(runtime, script)
        return
    if (address := find_server(runtime, name, insecure=request.insecure)) is not None:
        yield open_engine(runtime, server_choice(runtime, name, address, request))
        return
    if reference := name or runtime.settings.model:
        with suggested_server(runtime, name):
            ref = parse(reference, models_dir=runtime.paths.models)
        installed = selection.find(ref, runtime.paths.models)
        if installed is not None and has_tokenizer(installed.path):
            yield read_vocabulary(installed.path, _format(templates_of(installed.path), request))
            return
    model = select_model(runtime, name, hardware.probe(), request).model
    if model is not None and model.header is not None:
        from hermes_cli.engines.llama_cpp.vocabulary import vocabulary_engine

        prompt_format = _format(model.header.templates, request)
        with vocabulary_engine(model.header, engine_log(runtime), prompt_format) as engine:
            yield engine
        return
    if model is None or not model.path.is_dir():
        raise ModelUnavailable(
            "this model has neither a GGUF header nor a tokenizer.json",
            "name a .gguf file, or a folder with a tokenizer.json",
        )
    yield read_vocabulary(model.path, _format(templates_of(model.path), request))


def _format(templates: ModelTemplates, request: PlanRequest) -> FormatChoice:
    """Return the prompt format, as a plan has it."""
    choice = templates.choose(request.chat_template)
    choice.check()
    return choice
