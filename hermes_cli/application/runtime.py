"""The context of a command: the terminal, and the paths, settings and personas, read on first use."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.screen.terminal import Terminal

if TYPE_CHECKING:
    from hermes_cli.config import Paths, Settings
    from hermes_cli.personas.loader import Listing
    from hermes_cli.personas.persona import Persona


class Runtime:
    """One run of the program. Its methods import modules on first use, so that `--version` stays fast.

    `home_problem` is the reason why OPENHERMES_HOME cannot be used, or an empty string. It is printed once.
    `at_exit` is closed at the end of the run, even after an error. If `debug` is true, tracebacks and the
    engine's log are printed.
    """

    def __init__(self, terminal: Terminal, environ: Mapping[str, str]) -> None:
        self.terminal = terminal
        self.environ = environ
        self.debug = False
        self.at_exit = ExitStack()
        self.home_problem = ""
        self._needs_home = False

    @cached_property
    def paths(self) -> "Paths":
        """The folders and files of hermes. If OPENHERMES_HOME cannot be used, a warning is printed."""
        from hermes_cli.config import HOME_VARIABLE, WRITABLE_HINT, Paths

        paths, self.home_problem = Paths.usable(self.environ)
        if self.home_problem and not self._needs_home:
            home = sanitize_line(self.environ[HOME_VARIABLE])
            self.terminal.error(
                f"nothing is saved: {HOME_VARIABLE}={home}: {self.home_problem}", f"  {WRITABLE_HINT}"
            )
        return paths

    def require_home(self, folder: str) -> None:
        """Raise HermesError if this folder of OPENHERMES_HOME cannot be written. No warning is printed.

        `folder` is an attribute of Paths; for `data`, the error is a StoreError. Call this method before
        `paths` is used.
        """
        from hermes_cli.config import HOME_VARIABLE, WRITABLE_HINT, write_problem
        from hermes_cli.errors import HermesError, StoreError

        self._needs_home = True
        if write_problem(getattr(self.paths, folder)) and self.home_problem:
            home = self.environ[HOME_VARIABLE]
            kind = StoreError if folder == "data" else HermesError
            raise kind(f"{HOME_VARIABLE}={home} cannot be written: {self.home_problem}", WRITABLE_HINT)

    @cached_property
    def settings(self) -> "Settings":
        """The settings from the config file and the environment."""
        from hermes_cli import config

        return config.load(self.paths, self.environ)

    def persona(self, name: str | None) -> "Persona":
        """Return the persona with that name or from that file, by default the configured one."""
        from hermes_cli.errors import PersonaError
        from hermes_cli.personas import loader

        try:
            return loader.find(name or self.settings.persona, self.paths.personas, loader.shipped_dir())
        except PersonaError as error:
            if name or "persona" not in self.settings.sources:
                raise
            source = f"the persona is set in the {self.settings.source('persona')}"
            hint = "; ".join(filter(None, (source, error.hint)))
            raise PersonaError(error.message, hint) from None

    def listed_persona(self, name: str) -> "Persona | None":
        """Return the installed persona with that key or display name, or None. No file is opened."""
        found = [row.persona for row in self.personas() if row.persona]
        by_key, folded = [persona for persona in found if persona.key == name], name.casefold()
        alike = (persona for persona in found if folded in {persona.key.casefold(), persona.name.casefold()})
        return next(iter([*by_key, *alike]), None)

    def personas(self) -> "list[Listing]":
        """Return all installed personas."""
        from hermes_cli.personas import loader

        return loader.list_all(self.paths.personas, loader.shipped_dir())
