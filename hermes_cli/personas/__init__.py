"""Personas and lorebooks: the values, the files they are read from, and the macros in their texts."""

from hermes_cli.personas.loader import Listing, find, list_all, load_file, shipped_dir
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.opening import open_with
from hermes_cli.personas.persona import DEFAULT_USER, Example, Note, Persona

__all__ = [
    "DEFAULT_USER",
    "Example",
    "Listing",
    "LoreEntry",
    "Lorebook",
    "Macros",
    "Note",
    "Persona",
    "find",
    "list_all",
    "load_file",
    "open_with",
    "shipped_dir",
]
