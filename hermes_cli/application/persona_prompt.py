"""`hermes personas prompt`: the prompts of the first two turns of a chat.

They are printed as ChatML, because no model is loaded whose prompt format could be used.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Final

from hermes_cli.application.flags import Flags
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.session import open_members
from hermes_cli.chat.input_text import check_text
from hermes_cli.chat.members import have_names, named
from hermes_cli.chat.prompt_builder import PromptBuilder
from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.chat.regex_scripts import Stage
from hermes_cli.chat.sillytavern_prompt import SillyTavern
from hermes_cli.chat.turn_macros import fill_turn
from hermes_cli.errors import UsageError
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.personas import check
from hermes_cli.prompts.chatml import IM_END, IM_START
from hermes_cli.untrusted.deadline import Deadline

ANSWER: Final = "(the first answer)"
MESSAGES: Final = ("(your first message)", "(your second message)")
_CONTROL_TOKENS: Final = 4
"""The control tokens, the role and the newlines of a turn, about."""


class Program(StrEnum):
    """The programs whose prompts can be printed."""

    HERMES = "hermes"
    SILLYTAVERN = "sillytavern"


class EstimatedTokens:
    """Counts the tokens of prompts without a vocabulary, for a context window of `context_size` tokens."""

    def __init__(self, context_size: int) -> None:
        self.context_size = context_size

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return an estimate of the number of tokens of the prompt for these messages."""
        return sum(check.estimate(message.text) + _CONTROL_TOKENS for message in messages)


def print_prompts(runtime: Runtime, flags: Flags, like: str, messages: Sequence[str]) -> None:
    """Print the prompts for the user's first two messages.

    Raises UsageError for an unknown program, or more than two messages.
    """
    if like not in [*Program]:
        raise UsageError(f"--like takes {' or '.join(Program)}, not '{like[:40]}'")
    if len(messages) > len(MESSAGES):
        raise UsageError("there are more than two messages", "put each message in quotes")
    texts = [check_text(message, "a message") for message in messages]
    for number, prompt in enumerate(_prompts(runtime, flags, Program(like), texts), 1):
        separator = "" if number == 1 else "\n"
        runtime.terminal.write(f"{separator}# Turn {number}\n\n{chatml(prompt)}\n")
        if any(control in message.text for message in prompt for control in (IM_START, IM_END)):
            runtime.terminal.notice("a text spells a control token; hermes sends it as text")


def chatml(messages: Sequence[Message]) -> str:
    """Return a prompt as ChatML, with the start of the answer, which may be its last message."""
    turns = [f"{IM_START}{message.role}\n{message.sent_text}{IM_END}\n" for message in messages]
    if messages[-1].role is Role.ASSISTANT:
        return "".join(turns).removesuffix(f"{IM_END}\n")
    return f"{''.join(turns)}{IM_START}{Role.ASSISTANT}"


def _prompts(
    runtime: Runtime, flags: Flags, like: Program, texts: Sequence[str]
) -> Iterator[Sequence[Message]]:
    """Yield the prompts of the first two turns."""
    persona = runtime.persona(flags.persona)
    options = flags.options(runtime.settings, persona).options
    window = flags.plan_request(runtime.settings, persona).context_size or check.USUAL_WINDOW
    deadline = Deadline()
    members = open_members(runtime, flags, [persona], options, deadline)
    opening, settings = members[0].opening, members[0].prompt_settings
    build: Callable[[Sequence[Message]], Sequence[Message]]
    if like is Program.SILLYTAVERN:
        about_user = settings.macros.texts.get("persona", "")
        build = SillyTavern(persona, settings, window, opening.greetings, about_user, deadline).prompt
    else:
        build = _hermes(runtime, opening, settings, window, options.max_tokens)
    turns = list(opening.conversation().messages[len(opening.before) :])
    for number, default in enumerate(MESSAGES):
        if number:
            turns.append(Message(Role.ASSISTANT, ANSWER))
        text = texts[number] if number < len(texts) else default
        filled = fill_turn(text, settings, len(turns), turns, deadline, stage=Stage.ADD)
        turns.append(Message(Role.USER, filled))
        has_names = have_names(members) and like is Program.HERMES
        answer = [Message(Role.ASSISTANT, "")] if has_names else []
        yield build([named(turn, members) for turn in (*turns, *answer)] if has_names else turns)


def _hermes(
    runtime: Runtime, opening: Opening, settings: PromptSettings, window: int, max_tokens: int | None
) -> Callable[[Sequence[Message]], Sequence[Message]]:
    """Return the function that builds hermes' prompts, and prints what is left out of them."""
    builder = PromptBuilder(EstimatedTokens(window), opening, settings, max_tokens)

    def build(turns: Sequence[Message]) -> Sequence[Message]:
        prompt = builder.prompt(turns)
        for part in prompt.left_out:
            left_out = f"{part.of - part.kept:,} of {part.of:,} left out"
            runtime.terminal.notice(f"{part.kind}: {left_out}, with estimated token counts")
        return prompt.messages

    return build
