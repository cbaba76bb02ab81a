"""An immutable persona, which is a character for the model to play, independent of the file format."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.regex_script import RegexScript
from hermes_cli.untrusted.source import valid_text

TEXT_SUFFIXES: Final = (".txt", ".md")
"""The suffixes of files whose whole text is a system prompt."""
DEFAULT_USER: Final = "User"
"""The user's name if neither the persona nor the user gives one."""


class Example(NamedTuple):
    """An exchange that shows the model how the character speaks."""

    user: str
    assistant: str


class Note(NamedTuple):
    """Text inserted `depth` turns from the end of every prompt; 0 means after the user's last turn."""

    text: str
    depth: int = 4


class Persona(NamedTuple):
    """A persona. The macros in its texts are not expanded yet.

    `system` is the system prompt. If it is empty, a character has a default system prompt, which is also the
    value of `{{original}}`. `character`, `personality` and `scenario` follow the system prompt. The first of
    `greetings` begins the chat, and the others are its swipes. `dialogue` contains examples in the format of
    character cards, with `<START>`, `{{user}}:` and `{{char}}:`. `post_history` is at the end of every
    prompt, and `note` near the end. `worlds` names lorebooks in the lore folder. `regex` are scripts that
    change the text of turns, in this order. The user sees `description` in the list of personas, and
    `creator_notes` on request; the model sees neither.

    `prompt` is the template of the user's turn for `hermes ask`, and `variables` has the default values of
    the variables in the texts (`template.py`). `context` is the size of the context window in tokens, or None
    for the default.

    `options` maps names in GenerationOptions to checked values. If `verbatim` is true, as for a `.txt` or
    `.md` file, macros are not expanded. `source` is the file that the persona was read from, `original` is
    the other program's file that it was imported from, and `kind` is the format of `original`.
    """

    name: str
    system: str
    source: Path
    prompt: str = ""
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
    regex: tuple[RegexScript, ...] = ()
    variables: Mapping[str, str] = MappingProxyType({})
    context: int | None = None
    options: Mapping[str, Any] = MappingProxyType({})
    verbatim: bool = False
    original: Path | None = None
    kind: str = ""

    @property
    def key(self) -> str:
        """The name that selects the persona: its file name without the suffix."""
        return valid_text(self.source.stem)

    @property
    def called(self) -> str:
        """The value of `{{char}}`: the nickname, or the name if there is no nickname."""
        return self.nickname or self.name

    @property
    def is_character(self) -> bool:
        """Whether the persona has a greeting, an example dialogue or a description of a character."""
        return bool(self.greetings or self.character or self.personality or self.scenario or self.dialogue)

    @property
    def is_roleplay(self) -> bool:
        """Whether the greetings or examples contain asterisks, which mark *actions* in roleplay."""
        texts = [*self.greetings, self.dialogue, *(example.assistant for example in self.examples)]
        return any("*" in text for text in texts)
