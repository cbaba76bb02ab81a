"""What every shell verb starts from: streams, folders, settings, personas. Each is read when first needed."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from hermes_cli.screen.terminal import Terminal

if TYPE_CHECKING:
    from hermes_cli.config import Paths, Settings
    from hermes_cli.personas.loader import Listing
    from hermes_cli.personas.persona import Persona


class Runtime:
    """One run of the program. Imports stand in the methods: `--version` must not wait for them.

    What was put on `at_exit` is closed at its end, however it ends.
    """

    def __init__(self, terminal: Terminal, environ: Mapping[str, str]) -> None:
        self.terminal = terminal
        self.environ = environ
        self.debug = False
        self.at_exit = ExitStack()
        self.leaves_no_trace = False
        """Nothing of what is said or typed in this run is written down."""
        self.persona_prompts: set[str | None] = set()
        """The system prompts that are a persona's own, and no text that somebody typed."""

    @cached_property
    def paths(self) -> "Paths":
        """The folders that hermes keeps."""
        from hermes_cli.config import Paths  # noqa: PLC0415

        return Paths.from_environment(self.environ)

    @cached_property
    def settings(self) -> "Settings":
        """Config file and environment."""
        from hermes_cli import config  # noqa: PLC0415

        return config.load(self.paths, self.environ)

    def persona(self, name: str | None) -> "Persona":
        """Return the persona of that name or file, or the configured one."""
        from hermes_cli.personas import loader  # noqa: PLC0415

        return loader.find(name or self.settings.persona, self.paths.personas, loader.shipped_dir())

    def personas(self) -> "list[Listing]":
        """Return every persona that can be named."""
        from hermes_cli.personas import loader  # noqa: PLC0415

        return loader.list_all(self.paths.personas, loader.shipped_dir())
