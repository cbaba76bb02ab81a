"""The result of reading a file: a persona or a lorebook, and remarks for the user."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.persona import Persona
from hermes_cli.untrusted.source import line_feeds
from hermes_cli.untrusted.value import Policy, ValuePath

REGEX: Final = "regex"
PRESET: Final = "preset"
PARTS: Final = (REGEX, PRESET)
"""The kinds of files that may hold only a part of a persona."""
_MAX_REMARKS: Final = 40
"""Further remarks are only counted, because a hostile file could cause one for each value."""
_MAX_LENGTH: Final = 300
MAX_REJECTED: Final = 25_000
"""The limit of ignored values, because a hostile file can have 250,000, and each takes time."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The content of a file.

    `kind` is the name of the format. A card has a `persona`, which contains the card's lorebook; a world file
    has a `lorebook`. `remarks` are sentences without a full stop.
    """

    kind: str
    persona: Persona | None
    lorebook: Lorebook | None
    remarks: tuple[str, ...]

    @property
    def is_part(self) -> bool:
        """Whether the file holds only a part of a persona, such as regex scripts."""
        persona = self.persona
        return self.kind in PARTS and not (persona and (persona.system or persona.post_history))


class Remarks(Policy):
    """Collects remarks and counts repeated ones.

    Published cards contain null instead of a string, a number instead of a name, or "4" instead of 4. Such
    values are converted if possible, or else ignored with a remark, so that the card remains usable.
    """

    converts: ClassVar[bool] = True

    def __init__(self, source: Path = Path("the file")) -> None:
        self._source = source
        self._counts: dict[str, int] = {}
        self._omitted = 0
        self._rejected = 0

    def add(self, remark: str) -> None:
        """Add a remark."""
        remark = remark[:_MAX_LENGTH]
        if remark in self._counts or len(self._counts) < _MAX_REMARKS:
            self._counts[remark] = self._counts.get(remark, 0) + 1
        else:
            self._omitted += 1

    def reject(self, path: ValuePath, reason: str, hint: str = "") -> None:  # noqa: ARG002 - a remark has no hint
        """Add a remark that a value is ignored. Raises PersonaError if there are too many such values."""
        self._rejected += 1
        if self._rejected > MAX_REJECTED:
            raise PersonaError(
                f"{self._source} has more than {MAX_REJECTED:,} values of the wrong type",
                "it is damaged, or not a character card or world: get the original file",
            )
        self.add(f"'{'.'.join(map(str, path))}' {reason}; ignored")

    def clean(self, path: ValuePath, text: str) -> str:  # noqa: ARG002 - the same remark for all paths
        """Return a string without NUL characters, and with LF at the end of each line."""
        if "\0" in text:
            self.add("NUL characters are removed")
        return line_feeds(text.replace("\0", ""))

    def summary(self) -> tuple[str, ...]:
        """Return the remarks in the order in which they were first added."""
        lines = [text if count == 1 else f"{text} ({count:,} times)" for text, count in self._counts.items()]
        return (*lines, f"and {self._omitted:,} more remarks") if self._omitted else tuple(lines)
