"""A persona, the character that the model plays, as a frozen value, independent of the file format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from hermes_cli.personas.lorebook import Lorebook

DEFAULT_USER: Final = "User"
"""The user's name if neither the persona nor the user gives one."""


@dataclass(frozen=True, slots=True)
class Example:
    """An exchange that shows the model how the character speaks."""

    user: str
    assistant: str


@dataclass(frozen=True, slots=True)
class Note:
    """A text that is inserted `depth` turns from the end of every prompt; 0 is after the user's last turn."""

    text: str
    depth: int = 4


@dataclass(frozen=True, slots=True)
class Persona:
    """A character. Macros in its texts are expanded when a conversation opens.

    `system` is the system prompt. If it is empty, characters have a default one, which is also the value of
    `{{original}}` in it. `character`, `personality` and `scenario` follow it. The first of `greetings` opens
    the chat, and the others are its swipes. `dialogue` holds examples in the format of character cards, with
    `<START>`, `{{user}}:` and `{{char}}:`. `post_history` is at the end of every prompt, and `note` near it.
    `worlds` names lorebooks in the lore folder. `description` is a line for the list, and `creator_notes` are
    for the user. Neither is in a prompt.

    `options` holds checked values by the names of GenerationOptions. If `verbatim` is true, the texts are
    plain and have no macros, as in a `.txt` or `.md` file. `source` is the file that the persona was read
    from, `original` the file of another program that it was imported from, and `kind` that file's format.
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
        """The name that selects the persona: its file's name without the suffix."""
        return self.source.stem

    @property
    def called(self) -> str:
        """The character's name in its texts: the nickname if it has one, else the name."""
        return self.nickname or self.name

    @property
    def is_character(self) -> bool:
        """Whether it is a character, with a greeting or a description, and not only a system prompt."""
        return bool(self.greetings or self.character or self.personality or self.scenario or self.dialogue)

    @property
    def is_roleplay(self) -> bool:
        """Whether the character's texts mark *actions*, as in roleplay."""
        texts = [*self.greetings, self.dialogue, *(example.assistant for example in self.examples)]
        return any("*" in text for text in texts)
