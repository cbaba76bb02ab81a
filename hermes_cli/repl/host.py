"""What the REPL needs from the program around it, so that it knows no flags, files or downloads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from hermes_cli.chat.frame import Frame
from hermes_cli.chat.session import Session
from hermes_cli.messages import Opening
from hermes_cli.options import Sourced
from hermes_cli.personas.lorebook import Entry
from hermes_cli.personas.persona import Persona


class Host(Protocol):
    """Opens personas and models by name for a running conversation."""

    leaves_no_trace: bool
    """Whether nothing of what is said or typed may be written down. Once set, it is never taken back."""

    def find_persona(self, name: str) -> Persona:
        """Return the persona of that name or file. Raises PersonaError."""

    def persona_names(self) -> Mapping[str, str]:
        """Return every persona that can be named, with its description."""

    def stage(self, persona: Persona) -> tuple[Opening, Frame]:
        """Return how a conversation with the persona begins, and what stands around its turns."""

    def add_lore(self, persona: Persona, entry: Entry) -> Path:
        """Write an entry into the person's own book for a persona, and return that file."""

    def options_for(self, persona: Persona) -> Sourced:
        """Return the sampling options in force with the persona."""

    def model_names(self) -> Mapping[str, str]:
        """Return the models that are on this machine, with a line about each."""

    def model_line(self) -> str:
        """Return the model's name and precision, for a narrow place."""

    def plan_line(self) -> str:
        """Return the model's plan in one line: engine or precision, device, memory, context."""

    def describe_model(self) -> str:
        """Return the plan of the model that is loaded, and its reason."""

    def use_model(self, name: str, session: Session) -> None:
        """Give the session another model. Where that fails or is interrupted, it has the old one again.

        Raises HermesError with the reason.
        """
