"""Chooses the model to open: a script, a model on a server, or one on this machine."""

from dataclasses import replace
from pathlib import Path

from hermes_cli.application.model_choice import ModelChoice
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.servers import find_server, suggested_server, with_model
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.errors import UsageError
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.selected_model import SelectedModel
from hermes_cli.prompts.template_request import RAW

SCRIPTED = "scripted:"
"""`-m scripted:FILE` answers with the turns of a TOML file."""


def choose_model(runtime: Runtime, name: str | None, request: PlanRequest) -> ModelChoice:
    """Return the model to open. If none is installed, let the user choose one, and download it.

    At a terminal, if a GPU is not used, print the reason and the command that helps.

    Raises ModelUnavailable, ResourcesExhausted or UsageError, each with a hint.
    """
    if script := scripted(runtime, name):
        return script
    if (address := find_server(runtime, name, insecure=request.insecure)) is not None:
        return server_choice(runtime, name, address, request)
    from hermes_cli.application import local_choice

    with suggested_server(runtime, name):
        return local_choice.choose(runtime, name, request)


def server_choice(
    runtime: Runtime, name: str | None, address: ServerAddress, request: PlanRequest
) -> ModelChoice:
    """Return a model on the server at an address, which a name or else the setting `model` means.

    Raises the errors of `with_model`, and of `find_tokenizer`.
    """
    if request.chat_template == RAW:
        raise UsageError("--raw needs a model on this machine", "name one with -m, or omit --raw")
    if address.tokenizer:
        from hermes_cli.application.server_tokenizer import find_tokenizer

        find_tokenizer(runtime, address)
    address = with_model(runtime, address)
    named = "you named" if name else f"of the setting 'model' ({runtime.settings.source('model')})"
    selected = SelectedModel(address.model, f"it is on the server {named}")
    return ModelChoice(selected, server=address, context_size=request.context_size)


def with_request(choice: ModelChoice, request: PlanRequest) -> ModelChoice:
    """Return the same model with a plan for another request. Raises ResourcesExhausted if it does not fit."""
    if choice.server is not None:
        return replace(choice, context_size=request.context_size, connection=None)
    from hermes_cli.application import local_choice

    return local_choice.planned_again(choice, request)


def known_choice(runtime: Runtime, request: PlanRequest) -> ModelChoice | None:
    """Return the default model, or None if it would have to be downloaded first."""
    if script := scripted(runtime, None):
        return script
    if find_server(runtime, None) is not None:  # it is not contacted
        return None
    from hermes_cli.application import local_choice

    return local_choice.known(runtime, request)


def scripted(runtime: Runtime, name: str | None) -> ModelChoice | None:
    """Return the scripted engine if the name or the settings request it, else None."""
    named = name or runtime.settings.model
    if not named or not named.startswith(SCRIPTED):
        return None
    path = Path(named.removeprefix(SCRIPTED))
    return ModelChoice(SelectedModel("scripted", "a script was requested"), script=path)
