"""Persona: who the model plays, as a frozen value, and how such a conversation opens.

It knows the texts of a character and refuses to know which file format they came from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from hermes_cli.messages import Conversation, Message, Role
from hermes_cli.personas.macros import fill

DEFAULT_USER: Final = "User"
"""Whom a persona talks to where neither it nor the user gives a name."""


@dataclass(frozen=True, slots=True)
class Example:
    """One exchange that shows the model how the character speaks."""

    user: str
    assistant: str


@dataclass(frozen=True, slots=True)
class Persona:
    """A character, with its texts as they were written: macros are filled in when a conversation opens.

    `options` holds checked values under the names of GenerationOptions. `verbatim` says that the texts are
    plain and hold no macros, as a `.txt` or `.md` file's. `source` is the file it was read from.
    """

    name: str
    system: str
    source: Path
    description: str = ""
    greeting: str | None = None
    user: str | None = None
    examples: tuple[Example, ...] = ()
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    verbatim: bool = False

    @property
    def key(self) -> str:
        """What is typed to choose it: its file's name without the suffix."""
        return self.source.stem

    @property
    def acts(self) -> bool:
        """Whether the character's own texts tell *actions* from speech, as in roleplay."""
        said = [self.greeting or "", *(example.assistant for example in self.examples)]
        return any("*" in text for text in said)

    def opening(self, user_name: str | None = None) -> Conversation:
        """Return the conversation before its first question: system prompt, examples, greeting.

        `user_name` goes before the name that the persona itself gives to the user.
        """
        user = user_name or self.user or DEFAULT_USER
        turns = [Message(Role.SYSTEM, self.system)]
        for example in self.examples:
            turns += [Message(Role.USER, example.user), Message(Role.ASSISTANT, example.assistant)]
        if self.greeting is not None:
            turns.append(Message(Role.ASSISTANT, self.greeting))
        if not self.verbatim:
            turns = [Message(turn.role, fill(turn.text, self.name, user)) for turn in turns]
        return Conversation(tuple(turns))
