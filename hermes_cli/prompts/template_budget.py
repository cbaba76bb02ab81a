"""A limit on the work of a chat template, in units: a busy machine must not change a prompt."""

from collections.abc import Iterable, Iterator
from typing import Any

from hermes_cli.errors import ModelUnavailable

UNITS = 6_000_000
"""Units of one rendering: less than a second and 48 MiB, whatever the template does."""
UNITS_PER_CHARACTER = 64
UNITS_PER_MESSAGE = 8_000
"""The largest published templates need less than half of these."""

STEP = 32
"""Units of an iteration, an element of a list, or a piece of output."""
CALL = 64
PART = 8
"""Units of a value that is compared or written as text."""
READ = 16
"""Characters that are compared or searched for one unit. A new character is a unit."""

ADVICE = "choose another model, or another template with --chat-template"


class InvalidTemplate(ModelUnavailable):
    """A chat template cannot be used. `reason` is the message without its subject."""

    def __init__(self, reason: str) -> None:
        self.reason = "".join(c if c.isprintable() else " " for c in reason)
        super().__init__(f"the model's chat template {self.reason}", ADVICE)


class Budget:
    """The units that a rendering may still use."""

    def __init__(self, units: int) -> None:
        self._left = units

    def charge(self, units: int) -> None:
        """Subtract units. Raises InvalidTemplate if none are left."""
        self._left -= units
        if self._left < 0:
            raise InvalidTemplate("takes too much time or memory")

    def read(self, value: Any, weight: int = 1) -> None:
        """Charge for reading a value, including its parts, `weight` times."""
        pending = [value]
        while pending:
            part = pending.pop()
            self.charge(weight * PART)
            if isinstance(part, str):
                self.charge(weight * (len(part) // READ))
            elif isinstance(part, list | tuple):
                self.charge(PART * len(part))
                pending += part
            elif isinstance(part, dict):
                self.charge(2 * PART * len(part))
                pending += part.keys()
                pending += part.values()

    def counted(self, values: Iterable[Any], units: int = STEP) -> Iterator[Any]:
        """Yield the values, and charge `units` for each."""
        for value in values:
            self.charge(units)
            yield value

    def join(self, separator: str, parts: Iterable[str]) -> str:
        """Return the joined parts. Their length is charged before the text is built."""
        checked = list[str]()
        for part in parts:
            self.charge(STEP + len(part) + len(separator))
            checked.append(part)
        return separator.join(checked)
