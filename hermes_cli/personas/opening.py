"""Builds the opening of a conversation from a persona: the system prompt, example turns and greetings.

`chat/prompt_builder.py` then removes the parts that do not fit the context window.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from hermes_cli.messages import Message, Opening, Role
from hermes_cli.personas import template
from hermes_cli.personas.macros import TEXTS, Macros
from hermes_cli.personas.persona import Persona
from hermes_cli.untrusted.deadline import Deadline

CHARACTER_PROMPT: Final = (
    "You are {{char}}. Write {{char}}'s next reply in this conversation with {{notChar}}. Stay in character, "
    "and leave it to {{user}} to say what {{user}} says and does."
)
"""The default system prompt of a character, which is also the value of `{{original}}`."""

MAX_GREETINGS: Final = 1000
"""Each greeting is a message of the conversation, which is saved."""

_Fill = Callable[..., str]
"""`Macros.fill` with a deadline."""
_START: Final = re.compile(r"^[ \t]*<START>[ \t]*$|<START>", re.IGNORECASE | re.MULTILINE)


def macros_of(persona: Persona, user: str, seed: int = 0, about_user: str = "") -> Macros:
    """Return the macros of a conversation with the persona, whose texts are themselves macros."""
    if persona.verbatim:
        return Macros(persona.called, user, seed)
    note = persona.note.text if persona.note else ""
    texts = (about_user, persona.character, persona.personality, persona.scenario, persona.dialogue)
    named = zip(TEXTS, (*texts, note, persona.creator_notes), strict=True)
    return Macros(persona.called, user, seed, texts=dict(named))


def open_with(
    persona: Persona, macros: Macros, about_user: str = "", deadline: Deadline | None = None
) -> Opening:
    """Return the opening of a conversation with the persona. Macros are expanded before the deadline.

    If the macros do not have the value of `{{input}}`, as in a chat, the persona's `prompt` is a part of the
    system prompt.
    `about_user` is the user's own description, which is added only to a character's prompt.
    """
    deadline = deadline or Deadline()
    if template.INPUT not in macros.template_values:
        persona = template.without_prompt(persona, macros.template_values)
    if persona.verbatim:
        return Opening(persona.system, (), persona.greetings, character_at=len(persona.system))
    fill = partial(macros.fill, deadline=deadline)
    instructions, description = _system(persona, macros, fill, about_user)
    system = "\n\n".join(filter(None, (instructions, description))) or None
    greetings = tuple(fill(text, f"greeting {n}") for n, text in enumerate(persona.greetings[:MAX_GREETINGS]))
    if left_out := len(persona.greetings) - len(greetings):
        deadline.skipped["greetings"] = f"left out {left_out:,} of {len(persona.greetings):,}"
    return Opening(system, _examples(persona, macros, fill), greetings, character_at=len(instructions))


def _system(persona: Persona, macros: Macros, fill: _Fill, about_user: str) -> tuple[str, str]:
    """Return the instructions of the system prompt, and the description of the character."""
    original = fill(CHARACTER_PROMPT) if persona.is_character else ""
    instructions = fill(persona.system, "system", original=original) or original
    parts = [fill(persona.character, "character")]
    for label, text in (("Personality", persona.personality), ("Scenario", persona.scenario)):
        if text.strip():
            parts.append(f"{label}: {fill(text, label.lower())}")
    if about_user and persona.is_character:
        parts.append(f"About {macros.user}: {fill(about_user, 'user')}")
    return instructions if instructions.strip() else "", "\n\n".join(filter(str.strip, parts))


def _examples(persona: Persona, macros: Macros, fill: _Fill) -> tuple[Message, ...]:
    turns = list(dialogue_turns(persona.dialogue, persona.name, macros, fill))
    for number, example in enumerate(persona.examples):
        turns.append(Message(Role.USER, fill(example.user, f"example {number} user")))
        turns.append(Message(Role.ASSISTANT, fill(example.assistant, f"example {number}")))
    return tuple(turns)


def dialogue_turns(dialogue: str, name: str, macros: Macros, fill: _Fill | None = None) -> Sequence[Message]:
    """Return the turns of a card's example dialogues. Macros are expanded.

    `<START>` begins a dialogue. `{{user}}:`, `{{char}}:` or a name and a colon begins a turn. A dialogue
    without speakers is a single turn of the character.
    """
    fill = fill or macros.fill
    speaker = _speaker(name, macros)
    messages = list[Message]()
    for number, block in enumerate(_START.split(dialogue)):
        pieces = speaker.split(block)
        # Text before the first speaker belongs to the first turn.
        lead, turns = pieces[0], [(pieces[i], pieces[i + 1]) for i in range(1, len(pieces), 2)]
        if not turns and lead.strip():
            turns, lead = [("{{char}}", lead)], ""
        merged = list[tuple[Role, list[str]]]()
        for speaker_name, turn_text in turns:
            is_user = speaker_name.lower() in {"{{user}}", "<user>", macros.user.lower()}
            role = Role.USER if is_user else Role.ASSISTANT
            text = f"{lead.strip()}\n{turn_text.strip()}".strip()
            lead = ""
            if merged and merged[-1][0] is role:
                merged[-1][1].append(text)
            else:
                merged.append((role, [text]))
        messages += [
            Message(role, fill("\n".join(lines), f"dialogue {number}.{place}"))
            for place, (role, lines) in enumerate(merged)
        ]
    return messages


def _speaker(name: str, macros: Macros) -> re.Pattern[str]:
    names = {"{{user}}", "{{char}}", "<user>", "<bot>", "<char>", name, macros.char, macros.user}
    alternatives = "|".join(re.escape(name) for name in sorted(filter(None, names), key=len, reverse=True))
    return re.compile(rf"^[ \t]*({alternatives}):", re.IGNORECASE | re.MULTILINE)
