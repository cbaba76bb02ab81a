"""What every shell verb starts from: streams, folders, settings, and what its flags ask for."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import typer

from hermes_cli import config, options
from hermes_cli.commands.prompt_input import check_text
from hermes_cli.config import Paths, Settings
from hermes_cli.errors import UsageError
from hermes_cli.messages import Conversation
from hermes_cli.options import OptionError, Sourced
from hermes_cli.personas import loader
from hermes_cli.personas.persona import Persona
from hermes_cli.screen.terminal import Terminal


@dataclass
class Runtime:
    """One run of the program."""

    terminal: Terminal
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    debug: bool = False

    @cached_property
    def paths(self) -> Paths:
        """The folders that hermes keeps."""
        return Paths.from_environment(self.environ)

    @cached_property
    def settings(self) -> Settings:
        """Config file and environment, read when they are first needed."""
        return config.load(self.paths, self.environ)

    def persona(self, name: str | None) -> Persona:
        """Return the persona of that name or file, or the configured one."""
        return loader.find(name or self.settings.persona, self.paths.personas, loader.shipped_dir())

    def personas(self) -> list[loader.Listing]:
        """Return every persona that can be named."""
        return loader.list_all(self.paths.personas, loader.shipped_dir())

    def opening(self, persona: Persona, system: str | None) -> Conversation:
        """Return how a conversation with the persona begins; `system` replaces its system prompt."""
        opening = persona.opening(self.settings.user)
        if system is None:
            return opening
        return opening.with_system(check_text(system, "--system") or None)


@dataclass(frozen=True)
class Flags:
    """What the flags of a verb ask for, as they were typed."""

    model: str | None = None
    persona: str | None = None
    system: str | None = None
    context: str | None = None
    sampling: Mapping[str, str | list[str] | None] = field(default_factory=dict)

    @classmethod
    def from_context(cls, context: typer.Context) -> "Flags":
        """Return what the verb's flags say. A verb that was not named, as in bare `hermes`, has none."""
        given = context.params
        sampling = {name: given.get(name) or None for name in options.FIELDS}
        return cls(
            given.get("model"), given.get("persona"), given.get("system"), given.get("context_size"), sampling
        )

    def context_size(self, settings: Settings) -> int | None:
        """Return the context window that was asked for, in tokens."""
        if self.context is None:
            return settings.context
        if not self.context.isdecimal() or not 1 <= int(self.context) <= options.MAX_CONTEXT:
            raise UsageError(f"--context takes a number of tokens, not '{self.context}'")
        return int(self.context)

    def options(self, settings: Settings, persona: Persona) -> Sourced:
        """Return the sampling options in force. Raises UsageError naming the flag that is wrong."""
        values: dict[str, Any] = {}
        for name, given in self.sampling.items():
            if given is None:
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
