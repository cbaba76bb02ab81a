"""The flags that several commands share, and their validation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import typer

from hermes_cli import options
from hermes_cli.chat.prompt_settings import Overflow
from hermes_cli.config import Settings
from hermes_cli.errors import ConfigError, UsageError
from hermes_cli.models.plan import PlanRequest
from hermes_cli.options import OptionError, Sourced
from hermes_cli.personas.persona import Persona

MAX_DIGITS = 10
_WORDS = ("model", "persona", "system", "precision", "device", "resume", "user", "on_overflow")
_SWITCHES = ("statistics", "continue_last", "log", "no_log", "fork")


@dataclass(frozen=True)
class Flags:
    """The flags of a command, as they were typed."""

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
        """Return the flags of a command. Flags that the command does not have keep their default."""
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

    def plan_request(self, settings: Settings) -> PlanRequest:
        """Return the requested context size, precision and device: each from its flag, or else its setting.

        Raises UsageError for an invalid flag, and ConfigError for an invalid setting.
        """
        from hermes_cli.models.plan import devices, precision  # noqa: PLC0415 - only this method needs them

        def word(name: str, check: Callable[[str | None], str]) -> str:
            flag, setting = getattr(self, name), getattr(settings, name)
            try:
                return check(flag if flag is not None else setting)
            except UsageError as error:
                if flag is not None:
                    raise
                said = error.message.removeprefix("--")
                raise ConfigError(f"{settings.source(name)}: {said}") from None

        return PlanRequest(
            self.context_size(settings),
            precision=word("precision", precision.normalize),
            device=word("device", devices.normalize),
        )

    def context_size(self, settings: Settings) -> int | None:
        """Return the requested context window in tokens, or None. Raises UsageError for an invalid flag."""
        if self.context is None:
            return settings.context
        digits = self.context.isascii() and self.context.isdecimal() and len(self.context) < MAX_DIGITS
        if not digits or not 1 <= int(self.context) <= options.MAX_CONTEXT:
            raise UsageError(
                f"--context takes a number of tokens, 1 to {options.MAX_CONTEXT:,}, not '{self.context[:40]}'"
            )
        return int(self.context)

    def overflow(self, settings: Settings, *, interactive: bool) -> Overflow:
        """Return what happens if the context window is full. Raises UsageError for an unknown word."""
        word = self.on_overflow if self.on_overflow is not None else settings.on_overflow
        if word is None:
            return Overflow.DROP if interactive else Overflow.ERROR
        try:
            return Overflow(word)
        except ValueError:
            known = f"{', '.join([*Overflow][:-1])} or {[*Overflow][-1]}"
            raise UsageError(f"--on-overflow takes {known}, not '{word[:40]}'") from None

    def options(self, settings: Settings, persona: Persona) -> Sourced:
        """Return the sampling options. Raises UsageError, naming the flag, for an invalid flag."""
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
