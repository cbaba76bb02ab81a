"""Builds the prompt of `hermes tokens`, exactly as `ask` would send it."""

from collections.abc import Sequence

from hermes_cli.application import persona_setup
from hermes_cli.application.flags import Flags
from hermes_cli.application.open_model import PromptTokenizer, choose_model, open_tokenizer
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat.prompt_builder import PromptBuilder
from hermes_cli.engines.base import PromptToken
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.errors import HermesError
from hermes_cli.messages import Message, Role
from hermes_cli.options import MAX_CONTEXT


def spelled(runtime: Runtime, flags: Flags, text: str, prefill: str) -> list[PromptToken]:
    """Return the tokens of a prompt. Raises as `ask` does, except if the prompt is too long."""
    persona = runtime.persona(flags.persona)
    options = flags.options(runtime.settings, persona).options
    request = flags.plan_request(runtime.settings)
    macros = persona_setup.macros_for(runtime, flags, persona, options)
    opening = persona_setup.opening_for(runtime, persona, macros, flags.system)
    frame = persona_setup.frame_for(runtime, flags, persona, macros)
    turns = [*opening.conversation().messages[len(opening.before) :], Message(Role.USER, text)]
    if prefill:
        turns.append(Message(Role.ASSISTANT, prefill))
    with open_tokenizer(runtime, flags.model, request) as speller:
        window = request.context_size or _window(runtime, flags, speller)
        context = PromptBuilder(_Counted(speller, window), opening, frame, options.max_tokens)
        return speller.prompt_tokens(context.prompt(turns).messages)


def _window(runtime: Runtime, flags: Flags, speller: PromptTokenizer) -> int:
    """Return the model's planned context window, or MAX_CONTEXT if the model cannot be loaded."""
    if isinstance(speller, ScriptedEngine):
        return speller.context_size
    try:
        plan = choose_model(runtime, flags.model, flags.plan_request(runtime.settings)).plan
    except HermesError:  # a tokenizer is enough here
        return MAX_CONTEXT
    return plan.context_size if plan else MAX_CONTEXT


class _Counted:
    """The token counting of an engine, for a context window of `context_size` tokens."""

    def __init__(self, speller: PromptTokenizer, context_size: int) -> None:
        self._speller = speller
        self.context_size = context_size

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of the prompt for these messages."""
        return len(self._speller.prompt_tokens(messages))
