"""Persona: who the model plays, as a frozen value.

It knows the texts of a character, by the names that character cards have for them. It refuses to know which
file format they came from, and how a conversation is made of them: `opening.py` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from hermes_cli.personas.lorebook import Lorebook

DEFAULT_USER: Final = "User"
"""Whom a persona talks to where neither it nor the user gives a name."""


@dataclass(frozen=True, slots=True)
class Example:
    """One exchange that shows the model how the character speaks."""

    user: str
    assistant: str


@dataclass(frozen=True, slots=True)
class Note:
    """A text that stands `depth` turns from the end of every prompt: 0 is behind the person's last turn."""

    text: str
    depth: int = 4


@dataclass(frozen=True, slots=True)
class Persona:
    """A character, with its texts as they were written: macros are filled in when a conversation opens.

    `system` is the system prompt; where it is empty hermes has one for characters, and `{{original}}` in it
    stands for that one. `character`, `personality` and `scenario` follow it. `greetings` open the chat: the
    first, and the others as its swipes. `dialogue` is examples as cards hold them, with `<START>`,
    `{{user}}:` and `{{char}}:`. `post_history` stands at the end of every prompt, and `note` near it.
    `worlds` names lorebooks that lie beside the personas. `description` is a line for the list, and
    `creator_notes` are for the person who plays: neither reaches a prompt.

    `options` holds checked values under the names of GenerationOptions. `verbatim` says that the texts are
    plain and hold no macros, as a `.txt` or `.md` file's. `source` is the file it was read from, `original`
    the one of another program's that it was imported from, and `kind` the name of that one's format.
    """

    name: str
    system: str
    source: Path
    description: str = ""
    nickname: str = ""
    character: str = ""
    personality: str = ""
    scenario: str = ""
    greetings: tuple[str, ...] = ()
    dialogue: str = ""
    examples: tuple[Example, ...] = ()
    post_history: str = ""
    note: Note | None = None
    user: str | None = None
    creator_notes: str = ""
    lorebook: Lorebook | None = None
    worlds: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    verbatim: bool = False
    original: Path | None = None
    kind: str = ""

    @property
    def key(self) -> str:
        """What is typed to choose it: its file's name without the suffix."""
        return self.source.stem

    @property
    def called(self) -> str:
        """What the character is called in its texts: its nickname, where it has one."""
        return self.nickname or self.name

    @property
    def is_character(self) -> bool:
        """Whether it is somebody to talk to, rather than an instruction: it greets, or is described."""
        return bool(self.greetings or self.character or self.personality or self.scenario or self.dialogue)

    @property
    def acts(self) -> bool:
        """Whether the character's own texts tell *actions* from speech, as in roleplay."""
        said = [*self.greetings, self.dialogue, *(example.assistant for example in self.examples)]
        return any("*" in text for text in said)
