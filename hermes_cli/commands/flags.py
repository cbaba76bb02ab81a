"""What the flags of `ask` and `chat` ask for, checked against what can be asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import typer

from hermes_cli import options
from hermes_cli.chat.frame import Overflow
from hermes_cli.config import Settings
from hermes_cli.errors import ConfigError, UsageError
from hermes_cli.models.plan.values import Wishes
from hermes_cli.options import OptionError, Sourced
from hermes_cli.personas.persona import Persona

MAX_DIGITS = 10
_WORDS = ("model", "persona", "system", "precision", "device", "resume", "user", "on_overflow")
_SWITCHES = ("statistics", "continue_last", "log", "no_log", "fork")


@dataclass(frozen=True)
class Flags:
    """What the flags of a verb ask for, as they were typed."""

    model: str | None = None
    persona: str | None = None
    system: str | None = None
    context: str | None = None
    statistics: bool = False
    continue_last: bool = False
    resume: str | None = None
    log: bool = False
    no_log: bool = False
    fork: bool = False
    precision: str | None = None
    device: str | None = None
    user: str | None = None
    lore: tuple[str, ...] = ()
    on_overflow: str | None = None
    sampling: Mapping[str, str | list[str] | None] = field(default_factory=dict)

    @classmethod
    def from_context(cls, context: typer.Context) -> "Flags":
        """Return what the verb's flags say. A verb that was not named, as in bare `hermes`, has none."""
        given = context.params
        sampling = {name: given.get(name) for name in options.FIELDS}
        words = {name: given.get(name) for name in _WORDS}
        switches = {name: bool(given.get(name)) for name in _SWITCHES}
        return cls(
            **words,  # type: ignore[arg-type]
            **switches,  # type: ignore[arg-type]
            context=given.get("context_size"),
            lore=tuple(given.get("lore") or ()),
            sampling=sampling,
        )

    def wishes(self, settings: Settings) -> Wishes:
        """Return what is wished for the way a model is run: by a flag, or else by a setting.

        Raises UsageError for a flag that means nothing, and ConfigError for such a setting.
        """
        from hermes_cli.models.plan import devices, precision  # noqa: PLC0415 - only a run needs them

        def word(name: str, check: Callable[[str | None], str]) -> str:
            flag, setting = getattr(self, name), getattr(settings, name)
            try:
                return check(flag if flag is not None else setting)
            except UsageError as error:
                if flag is not None:
                    raise
                said = error.message.removeprefix("--")
                raise ConfigError(f"{settings.source(name)}: {said}") from None

        return Wishes(
            self.context_size(settings),
            precision=word("precision", precision.check_word),
            device=word("device", devices.check_word),
        )

    def context_size(self, settings: Settings) -> int | None:
        """Return the context window that was asked for, in tokens."""
        if self.context is None:
            return settings.context
        digits = self.context.isascii() and self.context.isdecimal() and len(self.context) < MAX_DIGITS
        if not digits or not 1 <= int(self.context) <= options.MAX_CONTEXT:
            raise UsageError(
                f"--context takes a number of tokens, 1 to {options.MAX_CONTEXT:,}, not '{self.context[:40]}'"
            )
        return int(self.context)

    def overflow(self, settings: Settings, *, interactive: bool) -> Overflow:
        """Return what happens where the context is full. Raises UsageError for a word that is none."""
        word = self.on_overflow if self.on_overflow is not None else settings.on_overflow
        if word is None:
            return Overflow.DROP if interactive else Overflow.ERROR
        try:
            return Overflow(word)
        except ValueError:
            known = f"{', '.join([*Overflow][:-1])} or {[*Overflow][-1]}"
            raise UsageError(f"--on-overflow takes {known}, not '{word[:40]}'") from None

    def options(self, settings: Settings, persona: Persona) -> Sourced:
        """Return the sampling options in force. Raises UsageError naming the flag that is wrong."""
        values: dict[str, Any] = {}
        for name, given in self.sampling.items():
            if given is None or given in ([], ()):
                continue
            try:
                values[name] = (
                    options.parse_text(name, given)
                    if isinstance(given, str)
                    else options.check_value(name, given)
                )
            except OptionError as error:
                raise UsageError(f"--{name.replace('_', '-')}: {error}") from None
        return settings.sampling(persona.key, persona.options, flags=values)
