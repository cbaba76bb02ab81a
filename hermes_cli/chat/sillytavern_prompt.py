"""Assembles the prompt that SillyTavern sends for a character, to compare it with that of hermes.

The settings are SillyTavern's presets for ChatML and its default ones for world info. The order of the parts
was read in its public source. `docs/sillytavern.md` lists the differences between the two prompts.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from hermes_cli.chat.lore import LoreMatcher
from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.messages import Message, Role
from hermes_cli.personas import template
from hermes_cli.personas.check import estimate
from hermes_cli.personas.lorebook import LoreEntry, Position
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.opening import CHARACTER_PROMPT
from hermes_cli.personas.persona import Persona
from hermes_cli.untrusted.deadline import Deadline

_START: Final = re.compile(r"<START>", re.IGNORECASE)
_BUDGET_PERCENT: Final = 25
_ROLES: Final = (Role.ASSISTANT, Role.USER, Role.SYSTEM)
"""The order of the roles at one depth."""


class SillyTavern(NamedTuple):
    """The prompts of one conversation with a persona, as SillyTavern assembles them.

    `greetings` are the expanded greetings of the chat, `about_user` is the user's description, and `window`
    the context size in tokens. A persona without a system prompt has that of hermes.
    """

    persona: Persona
    settings: PromptSettings
    window: int
    greetings: tuple[str, ...] = ()
    about_user: str = ""
    deadline: Deadline | None = None

    def prompt(self, turns: Sequence[Message]) -> tuple[Message, ...]:
        """Return the messages of the prompt for these turns, the last of which is the user's."""
        persona = template.without_prompt(self.persona)
        macros = replace(self.settings.macros, char=persona.name)  # it has no nicknames
        scripts, deadline = self.settings.scripts, self.deadline or Deadline()
        turns = scripts.sent(turns, len(turns), macros, deadline)
        entries = list(self._entries(macros, turns))
        story = self._story(persona, macros, entries)
        messages = [Message(Role.SYSTEM, story)] if story else []
        for block in _START.split(self._fill(macros, persona.dialogue)):
            messages += _example(block, persona.name, macros.user)
        for example in persona.examples:
            messages.append(Message(Role.USER, f"{macros.user}: {self._fill(macros, example.user).strip()}"))
            messages.append(Message(Role.ASSISTANT, self._fill(macros, example.assistant).strip()))
        messages += self._chat(macros, turns, entries)
        if text := self._fill(macros, persona.post_history, original=""):
            messages.append(Message(Role.USER, text))
        return tuple(messages)

    def _fill(self, macros: Macros, text: str, original: str | None = None) -> str:
        return macros.fill(text.strip(), original=original, deadline=self.deadline)

    def _story(self, persona: Persona, macros: Macros, entries: Sequence[tuple[LoreEntry, str]]) -> str:
        """Return the system message: the parts of the character with the lore around them."""
        original = self._fill(macros, CHARACTER_PROMPT) if persona.is_character else ""
        personality = self._fill(macros, persona.personality)
        scenario = self._fill(macros, persona.scenario)
        parts = [
            self._fill(macros, persona.system, original=original) or original,
            *(text for entry, text in entries if entry.position is Position.BEFORE),
            self._fill(macros, persona.character),
            f"{persona.name}'s personality: {personality}" if personality else "",
            f"Scenario: {scenario}" if scenario else "",
            *(text for entry, text in entries if entry.position is Position.AFTER),
            self._fill(macros, self.about_user),
        ]
        return "\n".join(filter(None, parts)).strip("\n")

    def _chat(
        self, macros: Macros, turns: Sequence[Message], entries: Sequence[tuple[LoreEntry, str]]
    ) -> Iterator[Message]:
        """Yield the turns, with the note and the lore that are inserted some turns from the end."""
        texts = defaultdict[tuple[int, Role], list[str]](list)
        if (note := self.settings.character_note) is not None:
            texts[min(note.depth, len(turns)), Role.SYSTEM].append(self._fill(macros, note.text))
        for entry, text in entries:
            if entry.position is Position.DEPTH:
                texts[min(entry.depth, len(turns)), entry.role].append(text)
        for place in range(len(turns) + 1):
            for role in _ROLES:
                if inserted := list(filter(None, texts[len(turns) - place, role])):
                    yield Message(role, "\n".join(inserted))
            yield from turns[place : place + 1]

    def _entries(self, macros: Macros, turns: Sequence[Message]) -> Iterator[tuple[LoreEntry, str]]:
        """Yield the active lore entries in prompt order, each with its text.

        Those of an equal order are reversed: each is inserted before the ones that were activated earlier.
        """
        rounds = self._rounds(macros, turns)
        budget = round(self.window * _BUDGET_PERCENT / 100) or 1
        active, used = list[tuple[LoreEntry, str]](), 0
        for entry, text in (found for entries in rounds for found in entries):
            used += estimate(f"{text}\n")
            if used >= budget:
                break
            active.append((entry, text))
        newest_first = [item for item in reversed(active) if item[1]]
        yield from sorted(newest_first, key=lambda item: item[0].order)

    def _rounds(self, macros: Macros, turns: Sequence[Message]) -> list[list[tuple[LoreEntry, str]]]:
        """Return the entries that the turns activate, and those that other entries activate."""
        without_recursion = [book._replace(recursive=False) for book in self.settings.books]
        direct, lore = (
            LoreMatcher(
                books,
                macros,
                self.settings.lore,
                greetings=self.greetings,
                off=self.settings.lore_off,
                scripts=self.settings.scripts,
            )
            for books in (without_recursion, self.settings.books)
        )
        first = {*direct.always(), *direct.fires(turns, {}, self.deadline)}
        fired = lore.fires(turns, {}, self.deadline)
        by_order = sorted(first, key=lambda number: (-lore.entries[number][0].order, number))
        return [
            [(lore.entries[n][0], lore.text(n, len(turns), self.deadline, turns).strip()) for n in numbers]
            for numbers in (by_order, [number for number in fired if number not in first])
        ]


def _example(block: str, char: str, user: str) -> Iterator[Message]:
    """Yield the turns of an example dialogue. Only the user's have a name before the text."""
    names = {f"{user}:": Role.USER, f"{char}:": Role.ASSISTANT}
    role, lines = None, list[str]()
    for line in block.strip().split("\n"):
        new = next((names[name] for name in names if line.startswith(name)), role)
        if role is not None and new is not role:
            yield _example_turn(role, lines, char, user)
            lines = []
        role = new
        lines.append(line)
    if role is not None:
        yield _example_turn(role, lines, char, user)


def _example_turn(role: Role, lines: Sequence[str], char: str, user: str) -> Message:
    name = user if role is Role.USER else char
    text = "\n".join(lines).replace(f"{name}:", "", 1).strip()
    return Message(role, f"{user}: {text}" if role is Role.USER else text)
