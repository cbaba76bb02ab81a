"""The further characters of a conversation as JSON."""

from typing import Any

from hermes_cli.messages import Role
from hermes_cli.store.records import SavedMember
from hermes_cli.untrusted.value import Value


def to_json(member: SavedMember) -> dict[str, Any]:
    """Return a character as a JSON object."""
    return {
        "persona": member.persona,
        "name": member.name,
        "system": member.system,
        "examples": [{"role": role, "text": text} for role, text in member.examples],
        "character_at": member.character_at,
    }


def from_json(node: Value) -> SavedMember:
    """Return the character in a JSON object. Raises FormatError if it is invalid."""
    examples = tuple(
        (turn["role"].one_of(Role).value, turn["text"].text()) for turn in node.get("examples").items()
    )
    system = None if node.get("system").value is None else node["system"].text()
    persona, at = node["persona"].text(), node.get("character_at").integer()
    if "/" in persona:  # a resumed conversation loads the persona by this name
        node["persona"].reject("is a path, not the name of a persona")
    return SavedMember(persona, name(node["name"]), system, examples, at)


def name(node: Value) -> str:
    """Return a name on one line."""
    return " ".join(node.text().split())
