"""Conversations of three characters with lore, notes, branches, failures, a small context and resumption."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from hermes_cli.chat.members import Member, together
from hermes_cli.chat.prompt_settings import Overflow, PromptSettings
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Chunk
from hermes_cli.engines.scripted import ScriptedEngine, ScriptedTurn
from hermes_cli.errors import HermesError, UsageError
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.personas.lorebook import Lorebook, LoreEntry, Position
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.persona import Note, Persona
from hermes_cli.store.store import Store
from hermes_cli.tree import Node, Tree

NAMES = ("Alice", "Bob", "Carol")
KEYS = {"Alice": "oven", "Bob": "rum", "Carol": "star"}
CONTEXT = 1200
"""Tokens, which are characters: about ten turns, the system prompt and the lore."""
SUMMARY = "What happened before:\n"
SEEDS = 2
MOVES = (
    *("send", "send", "send", "waiting", "waiting", "talk", "regenerate", "continue", "edit", "replace"),
    *("undo", "left", "goto", "hide", "delete", "rewrite", "fork", "resume", "note", "lore", "leave", "join"),
)
OUTCOMES = ("answers", "answers", "answers", "returns nothing", "is stopped", "fails", "fails at once")


def member(name: str, overflow: Overflow) -> Member:
    """Return a character whose every text has its name."""
    key = KEYS[name]
    book = Lorebook(
        (
            LoreEntry(f"[lore {name}: always]", constant=True),
            LoreEntry(f"[lore {name}: {key} with the {key}-word]", (key,)),
            LoreEntry(f"[lore {name}: second]", (f"{key}-word",), only_recursion=True),
            LoreEntry(f"[lore {name}: at the end]", constant=True, position=Position.DEPTH, depth=1),
        ),
        recursive=True,
    )
    prompt_settings = PromptSettings(
        Macros(name, "Winry"),
        (book,),
        post_history=f"[post {name}: {{{{char}}}} of {{{{group}}}}]",
        character_note=Note(f"[note {name}]", 2),
        overflow=overflow,
    )
    opening = Opening(f"You are {name}.", greetings=(f"{name} greets.", f"{name} nods."))
    return Member(Persona(name, "", Path(f"{name.lower()}.toml")), opening, prompt_settings)


class ObservedEngine(ScriptedEngine):
    """A scripted engine that checks the prompts when it receives them."""

    def __init__(self, check: Callable[[Sequence[Message]], None], context: int = CONTEXT) -> None:
        super().__init__([], context)
        self.check, self.turn = check, ScriptedTurn()

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Check the prompt, and answer with the turn that is set; summaries have another text."""
        if messages[0].text.startswith("You condense"):
            self._turns = [ScriptedTurn(f"They talked about {len(messages[1].text)} things.")]
        else:
            self.check(messages)
            self._turns = [self.turn]
        return super().stream(messages, options, cancel)


class GroupHistory:
    """A session of three characters in a store, and the moves that a user can make."""

    def __init__(self, overflow: Overflow) -> None:
        self.overflow, self.store = overflow, Store()
        self.engine = ObservedEngine(self.check_prompt)
        self.session = self._new_session(self.engine)
        self.number = 0
        self.answers = list[str]()
        self.prompts = 0
        self.parts = set[str]()
        self.expected: str | None = None

    def _new_session(self, engine: ScriptedEngine) -> Session:
        members = together([member(name, self.overflow) for name in NAMES])
        options = LayeredOptions(GenerationOptions(max_tokens=100))
        return Session(engine, members, options, Recorder(self.store))

    @property
    def names(self) -> list[str]:
        """The names of the members."""
        return [each.name for each in self.session.members]

    def move(self, name: str, outcome: str, number: int) -> None:
        """Make one move. A move that is refused with a UsageError changes nothing."""
        self.number += 1
        texts = {"returns nothing": "", "fails at once": ""}
        text = texts.get(outcome, f"says {self.number} about the {list(KEYS.values())[number % 3]} again.")
        self.engine.turn = ScriptedTurn(text, error="failed" if "fails" in outcome else "")
        cancel, shown, before = Cancel(), "", self.snapshot
        try:
            for chunk in self._moves(number, cancel)[name]() or ():
                shown += chunk.text
                if outcome == "is stopped":
                    cancel.set()
        except UsageError:
            assert self.snapshot == before
        except HermesError:
            assert "fails" in outcome
        if shown.strip():
            self.answers.append(shown)

    def _moves(self, number: int, cancel: Cancel) -> dict[str, Callable[[], Iterator[Chunk] | None]]:
        session, tree = self.session, self.session.tree
        visible = tree.path[number % len(tree.path)] if tree.path else None
        node = visible.id if visible else 1

        def hide() -> None:
            session.hide(node)

        def join() -> None:
            missing = [name for name in NAMES if name not in self.names]
            if missing:
                session.add_member(member(missing[0], self.overflow))

        def leave() -> None:
            if len(session.members) > 2:
                gone = number % len(session.members)
                session.change_personas(
                    together([each for at, each in enumerate(session.members) if at != gone])
                )

        return {
            "send": lambda: self._send(number, cancel),
            "waiting": lambda: self._talk(session.waiting[0], cancel) if session.waiting else None,
            "talk": lambda: self._talk(number % len(session.members), cancel),
            "regenerate": lambda: self._regenerate(cancel),
            "continue": lambda: session.continue_answer(cancel),
            "edit": lambda: session.edit(1 + number % 3, f"Edited {self.number}.", cancel),
            "replace": lambda: session.replace_answer(f"Replaced {self.number}."),
            "undo": lambda: session.undo(1 + number % 2),
            "left": lambda: session.swipe(number % len(tree.swipes())),
            "goto": lambda: session.goto(1 + number % len(tree)),
            "hide": hide,
            "delete": lambda: session.branch(node, None),
            "rewrite": lambda: session.branch(node, f"Rewritten {self.number}."),
            "fork": lambda: session.fork(f"copy {self.number}"),
            "resume": self._resume,
            "note": lambda: session.change_settings(note=Note(f"[note shared {number}]", number % 4)),
            "lore": lambda: session.change_settings(lore_off=frozenset([KEYS[NAMES[number % 3]]])),
            "leave": leave,
            "join": join,
        }

    def _send(self, number: int, cancel: Cancel) -> Iterator[Chunk]:
        """Send a turn that mentions 0 to 3 of the characters, in any order."""
        mentioned = Random(number).sample(NAMES, number % 4)
        present = [name for name in mentioned if name in self.names]
        self.expected = present[0] if present else self._next()
        answer = self.session.send(" and ".join(["Hello", *mentioned]) + f"? Turn {self.number}.", cancel)
        assert [self.names[index] for index in self.session.waiting] == (present or [self.expected])
        return answer

    def _next(self) -> str:
        """Return the name after that of the last answer; greetings do not count."""
        answered = [
            node for node in self.session.tree.path if node.generation.model or "greets" not in node.text
        ]
        answered = [node for node in answered if node.role is Role.ASSISTANT and "nods" not in node.text]
        if self.session.tree.is_at_greeting or not answered:
            return self.session.speaking
        last = answered[-1].speaker
        index = self.names.index(last) if last in self.names else 0
        return self.names[(index + 1) % len(self.names)]

    def _talk(self, speaker: int, cancel: Cancel) -> Iterator[Chunk]:
        self.expected = self.names[speaker]
        return self.session.talk(speaker, cancel)

    def _regenerate(self, cancel: Cancel) -> Iterator[Chunk]:
        path = self.session.tree.path
        is_answer = bool(path) and path[-1].role is Role.ASSISTANT
        self.expected = path[-1].speaker if is_answer and path[-1].speaker in self.names else None
        return self.session.regenerate(cancel)

    def _resume(self) -> None:
        """Continue in a new session, as a new process does."""
        number = self.session.recorder.conversation
        stored = self.store.conversation(number) if number else None
        if stored is not None:
            self.engine = ObservedEngine(self.check_prompt)
            self.session = self._new_session(self.engine)
            self.session.resume(stored, self._opened(stored.names))

    def _opened(self, names: Sequence[str]) -> list[Member]:
        """Return newly opened members, which do not know each other yet."""
        return [member(name, self.overflow) for name in names]

    # Checks

    def check_prompt(self, messages: Sequence[Message]) -> None:
        """Check that a prompt has only the parts of its speaker and the last visible turns, in order."""
        self.prompts += 1
        beginning, session = messages[-1], self.session
        speaker = beginning.speaker
        assert beginning.role is Role.ASSISTANT
        assert beginning.is_named
        assert self.expected in {None, speaker}
        self.expected = None
        assert sum(len(message.sent_text) for message in messages) < CONTEXT
        assert messages[0].text.startswith(f"You are {speaker}.")
        systems = [message.text for message in messages if message.role is Role.SYSTEM]
        for text in systems:
            for other in NAMES:
                if other != speaker:
                    assert not any(f"[{kind} {other}" in text for kind in ("lore", "note", "post"))
                    assert f"You are {other}" not in text
        post = f"[post {speaker}: {speaker} of {', '.join(self.names)}]"
        assert systems[-1] == post or not session.prompt_settings.post_history
        allowed = (
            f"You are {speaker}.",
            f"[lore {speaker}",
            f"[note {speaker}",
            "[note shared",
            "[post",
            SUMMARY,
        )
        assert all(text.startswith(allowed) for text in systems)
        turns = [(each.role, each.text, each.speaker) for each in messages if each.role is not Role.SYSTEM]
        path = [(node.role, node.text, node.speaker) for node in session.tree.path if not node.is_hidden]
        assert turns[:-1] == path[len(path) - len(turns) + 1 :]
        self.parts |= {part for text in systems for part in re.findall(r"\[(\w+ \w+)", text)}
        self.parts |= {"turns left out"} if len(turns) <= len(path) else set()
        self.parts |= {"summary"} if any(text.startswith(SUMMARY) for text in systems) else set()

    @property
    def snapshot(self) -> list[object]:
        """The whole tree without times, the cursor and the members."""
        return [rows(self.session.tree.nodes), self.session.tree.cursor, self.names]

    def check(self) -> None:
        """Check the store, the answers, and that a new session builds the same prompt for a character."""
        session, number = self.session, self.session.recorder.conversation
        stored = [each for found in self.store.conversations() for each in self.store.tree(found.id)]
        texts = [node.text for node in stored]
        for answer in self.answers:
            assert any(answer in text for text in texts), answer
        if number is None:
            return
        conversation = self.store.conversation(number)
        assert conversation is not None
        saved = Tree.from_nodes(self.store.tree(number), conversation.leaf)
        assert rows(saved.nodes) == rows(session.tree.nodes)
        assert saved.cursor == session.tree.cursor
        other = self._new_session(ScriptedEngine([], CONTEXT))
        other.resume(conversation, self._opened(conversation.names))
        assert [each.name for each in other.members] == self.names
        turn = Message(Role.USER, "And?", speaker="Winry", is_named=True)
        index = self.number % len(session.members)
        prompt = session.prompts.assembled((*session.turns, turn), index)
        assert other.prompts.assembled((*other.turns, turn), index).messages == prompt.messages


def rows(nodes: Sequence[Node]) -> list[tuple[object, ...]]:
    """Return what must be stored of each node."""
    return [(node.parent, node.role, node.text, node.speaker, node.state, node.is_hidden) for node in nodes]


def play(overflow: Overflow, steps: Sequence[tuple[str, str, int]]) -> GroupHistory:
    """Make the moves, with all checks after each of them."""
    history = GroupHistory(overflow)
    with closing(history.store):
        for step in steps:
            history.move(*step)
            history.check()
    return history


@pytest.mark.slow
@pytest.mark.parametrize("overflow", [Overflow.DROP, Overflow.SUMMARISE])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_fifty_turns(overflow: Overflow, seed: int) -> None:
    """A long conversation has prompts with every kind of part, and turns are left out."""
    random = Random(seed)
    steps = [("send", "answers", random.randrange(50)) for _ in range(20)]
    steps += [(random.choice(MOVES), random.choice(OUTCOMES), random.randrange(50)) for _ in range(50)]
    history = play(overflow, steps)
    assert history.prompts > 25
    parts = {"lore Alice", "lore Bob", "lore Carol", "note shared", "post Alice", "turns left out"}
    assert parts <= history.parts
    assert ("summary" in history.parts) == (overflow is Overflow.SUMMARISE)
