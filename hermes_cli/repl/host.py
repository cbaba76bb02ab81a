"""What the REPL needs from the program around it, so that it knows no flags, files or downloads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from hermes_cli.engines.base import Engine
from hermes_cli.messages import Conversation
from hermes_cli.options import Sourced
from hermes_cli.personas.persona import Persona


class Host(Protocol):
    """Opens personas and models by name for a running conversation."""

    @property
    def history_file(self) -> Path:
        """Where typed lines are kept."""

    def find_persona(self, name: str) -> Persona:
        """Return the persona of that name or file. Raises PersonaError."""

    def persona_names(self) -> Mapping[str, str]:
        """Return every persona that can be named, with its description."""

    def open_conversation(self, persona: Persona) -> Conversation:
        """Return how a conversation with the persona begins."""

    def options_for(self, persona: Persona) -> Sourced:
        """Return the sampling options in force with the persona."""

    def model_names(self) -> Mapping[str, str]:
        """Return the models that are on this machine, with a line about each."""

    def describe_model(self) -> str:
        """Return the plan of the model that is loaded, and its reason."""

    def replace_engine(self, name: str, old: Engine) -> Engine:
        """Return the engine for another model, closing the old one; where that fails, the old one again.

        Raises HermesError with the old engine still open where the other model cannot be chosen.
        """
