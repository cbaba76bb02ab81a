"""The interface that the REPL needs from the program around it. Flags, files and downloads are behind it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.chat.session import Session
from hermes_cli.messages import Opening
from hermes_cli.options import LayeredOptions
from hermes_cli.personas.lorebook import LoreEntry
from hermes_cli.personas.persona import Persona


class Host(Protocol):
    """Opens personas and models by name for a running conversation."""

    @property
    def is_saving_disabled(self) -> bool:
        """Whether messages, typed lines and system prompts must not be written to disk."""

    def stop_saving(self) -> None:
        """Write nothing to disk for the rest of the run."""

    def find_persona(self, name: str) -> Persona:
        """Return the persona with that name or from that file. Raises PersonaError if there is none."""

    def persona_names(self) -> Mapping[str, str]:
        """Return the name and description of every persona."""

    def open_with_persona(self, persona: Persona) -> tuple[Opening, PromptSettings]:
        """Return the opening of a conversation with the persona, and the other parts of its prompts."""

    def add_lore(self, persona: Persona, entry: LoreEntry) -> Path:
        """Write an entry into the user's own lorebook for a persona, and return the path of that file."""

    def options_for(self, persona: Persona) -> LayeredOptions:
        """Return the sampling options in force with the persona."""

    def model_names(self) -> Mapping[str, str]:
        """Return the installed models, with a line about each."""

    def model_line(self) -> str:
        """Return the model's name and precision, for the toolbar."""

    def plan_line(self) -> str:
        """Return the model's plan in one line: engine or precision, device, memory, context."""

    def describe_model(self) -> str:
        """Return the plan of the loaded model, and the reason for it."""

    def load_smaller(self, session: Session) -> None:
        """After a load that ran out of memory: ask whether to load a smaller form, and do so."""

    def use_model(self, name: str, session: Session) -> None:
        """Switch the session to another model. If that fails or is interrupted, the old one is restored.

        Raises HermesError with the reason.
        """
