"""Adapts conversations to the roles that a chat template supports.

Some templates have no system role, forbid two turns of a role in a row, or require that the user begins. The
system prompt then goes into the first user turn, as the documentation of Gemma and Mistral does it, turns of
a role are joined with an empty line, and a greeting follows a placeholder of the user, as in SillyTavern.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hermes_cli.messages import Message, Role
from hermes_cli.prompts.template_budget import InvalidTemplate

PLACEHOLDER: Final = "Let's get started."
"""The user's turn before a greeting. Source: SillyTavern's default `prompt_placeholder`."""
BETWEEN_JOINED: Final = "\n\n"

Render = Callable[[Sequence["Turn"]], str]


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn as the template receives it."""

    role: Role
    text: str
    reasoning: str = ""


class RoleSupport:
    """What a template supports. This renders test conversations, and looks for their texts in the prompts.

    Raises InvalidTemplate if the template cannot render the turn of a user.
    """

    def __init__(self, render: Render) -> None:
        render([Turn(Role.USER, "a0z")])
        system, user, assistant = Role.SYSTEM, Role.USER, Role.ASSISTANT

        def accepts(*roles: Role) -> bool:
            return _accepts(render, roles)

        self._has_system = accepts(system, user)
        # Mistral's templates put the system prompt into the last turn, if it is the user's.
        self._has_system_before_answer = self._has_system and accepts(system, user, assistant)
        self._has_later_system = self._has_system and accepts(system, user, assistant, system, user)
        self._has_repetition = accepts(user, user, assistant, assistant, user)
        self._has_greeting = accepts(assistant, user)

    def adapt(self, messages: Sequence[Message]) -> list[Turn]:
        """Return the turns that the template receives."""
        turns = list[Turn]()
        ends_with_answer = bool(messages) and messages[-1].role is Role.ASSISTANT
        has_system = self._has_system_before_answer if ends_with_answer else self._has_system
        for index, message in enumerate(messages):
            has_role = self._has_later_system if index else has_system
            is_moved = message.role is Role.SYSTEM and not has_role
            role = Role.USER if is_moved else message.role
            is_joined = not self._has_repetition or (index == 1 and _moves_system(messages, turns))
            if turns and turns[-1].role is role and is_joined:
                text = f"{turns[-1].text}{BETWEEN_JOINED}{message.sent_text}"
                turns[-1] = Turn(role, text, message.reasoning or "")
            else:
                turns.append(Turn(role, message.sent_text, message.reasoning or ""))
        first = next((i for i, turn in enumerate(turns) if turn.role is not Role.SYSTEM), len(turns))
        starts_with_greeting = first < len(turns) and turns[first].role is Role.ASSISTANT
        if not turns or (starts_with_greeting and not self._has_greeting):
            turns.insert(first, Turn(Role.USER, PLACEHOLDER))
        return turns


def _moves_system(messages: Sequence[Message], turns: Sequence[Turn]) -> bool:
    """Return whether the system prompt became the user's first turn."""
    return messages[0].role is Role.SYSTEM and turns[0].role is Role.USER


def _accepts(render: Render, roles: Sequence[Role]) -> bool:
    """Return whether a template renders each text of a conversation once, in order."""
    texts = [f"a{index}z" for index in range(len(roles))]
    try:
        prompt = render([Turn(role, text) for role, text in zip(roles, texts, strict=True)])
    except InvalidTemplate:
        return False
    positions = [prompt.find(text) for text in texts]
    is_single = all(prompt.count(text) == 1 for text in texts)
    return is_single and positions == sorted(positions)
