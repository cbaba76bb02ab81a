"""Counts the tokens of the prompt that `ask` would send, for `hermes tokens`."""

from collections.abc import Sequence

from hermes_cli.application.flags import Flags
from hermes_cli.application.model import choose_model
from hermes_cli.application.prompt import require_text
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.session import open_members, template_values
from hermes_cli.application.tokenizer import MAX_CHARACTERS, MAX_TOKENS, PromptTokenizer, open_tokenizer
from hermes_cli.chat.input_text import (
    check_text,
)
from hermes_cli.chat.members import have_names, named
from hermes_cli.chat.prompt_builder import PromptBuilder
from hermes_cli.engines.base import PromptToken
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.errors import HermesError, UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.options import MAX_CONTEXT
from hermes_cli.personas.template import user_turn
from hermes_cli.prompts.template_request import RAW
from hermes_cli.untrusted.deadline import Deadline


def prompt_tokens(runtime: Runtime, flags: Flags, text: str, prefill: str) -> list[PromptToken]:
    """Return the tokens of the prompt that `ask` would send, even if they exceed the context window.

    Raises UsageError if there are more than MAX_TOKENS, or more than MAX_CHARACTERS to count them in.
    """
    check_text(prefill, "--prefill")
    persona = runtime.persona(flags.persona)
    options = flags.options(runtime.settings, persona).options
    request = flags.plan_request(runtime.settings, persona)
    deadline = Deadline()
    members = open_members(runtime, flags, [persona], options, deadline, input_text=text)
    opening, prompt_settings = members[0].opening, members[0].prompt_settings
    text = user_turn(persona, prompt_settings.macros, template_values(flags, persona, text))
    turns = [*opening.conversation().messages[len(opening.before) :], Message(Role.USER, text)]
    if prefill or have_names(members):
        turns.append(Message(Role.ASSISTANT, prefill))
    turns = [named(turn, members) for turn in turns]
    _check_length((*opening.before, *turns))
    with open_tokenizer(runtime, flags.model, request) as tokenizer:
        window = request.context_size or _context_size(runtime, flags, request, tokenizer)
        counter = _TokenCounter(tokenizer, window)
        builder = PromptBuilder(counter, opening, prompt_settings, options.max_tokens, deadline=deadline)
        prompt = builder.prompt(turns)
        if prompt.skipped:
            runtime.terminal.notice(prompt.skipped)
        if prompt.tokens > MAX_TOKENS:
            raise UsageError(
                f"the prompt has more than {MAX_TOKENS:,} tokens, the most that `hermes tokens` shows",
                "shorten it",
            )
        return tokenizer.prompt_tokens(prompt.messages)


def completion_tokens(runtime: Runtime, flags: Flags, text: str) -> list[PromptToken]:
    """Return the tokens of the prompt that `ask --raw` would send. Raises UsageError if it is too long."""
    messages = [Message(Role.USER, require_text(text))]
    _check_length(messages)
    request = flags.plan_request(runtime.settings)._replace(chat_template=RAW)
    with open_tokenizer(runtime, flags.model, request) as tokenizer:
        return tokenizer.prompt_tokens(messages)


def _check_length(messages: Sequence[Message]) -> None:
    if sum(len(message.text) for message in messages) > MAX_CHARACTERS:
        raise UsageError(
            f"the prompt has more than {MAX_CHARACTERS:,} characters, the most that `hermes tokens` reads",
            "shorten it",
        )


def _context_size(runtime: Runtime, flags: Flags, request: PlanRequest, tokenizer: PromptTokenizer) -> int:
    """Return the model's planned context window, or MAX_CONTEXT if the model cannot be loaded."""
    if isinstance(tokenizer, ScriptedEngine):
        return tokenizer.context_size
    try:
        plan = choose_model(runtime, flags.model, request).plan
    except HermesError:  # counting tokens needs only the tokenizer
        return MAX_CONTEXT
    return plan.context_size if plan else MAX_CONTEXT


class _TokenCounter:
    """Counts the tokens of prompts for a context window of `context_size` tokens."""

    def __init__(self, tokenizer: PromptTokenizer, context_size: int) -> None:
        self._tokenizer = tokenizer
        self.context_size = context_size

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of the prompt for these messages."""
        return self._tokenizer.count_tokens(messages, MAX_TOKENS // 2)
