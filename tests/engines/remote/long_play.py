"""A long conversation with a character that has lore, for the tests of engines of model servers."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from hermes_cli.chat import saved_conversations
from hermes_cli.chat.members import Member
from hermes_cli.chat.prompt_settings import Overflow, PromptSettings
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Engine, FinishReason, Usage
from hermes_cli.messages import Opening, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.personas.macros import Macros
from hermes_cli.store.store import Store
from hermes_cli.tree import MessageState, Tree

SYSTEM = "You are Sera, keeper of the lighthouse."
LORE = "The lamp burns whale oil."
GREETING = "Come in, the storm is near."
QUESTIONS = [
    f"Question {number}: what about the {'lamp' if number % 3 == 0 else 'sea'}?" for number in range(1, 21)
]
"""Every third one has the key of the lore."""
GREEDY = GenerationOptions(temperature=0, repetition_penalty=1, max_tokens=24, loop_guard=0)


@dataclass
class LongPlay:
    """Plays the conversation with an engine, and saves it in a file. `answers` are those that were shown."""

    engine: Engine
    file: Path
    overflow: Overflow = Overflow.DROP
    options: GenerationOptions = GREEDY
    answers: list[str] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    after_answer: Callable[[str], None] = lambda _question: None
    """Called with the question after each answer to a new one."""

    def __post_init__(self) -> None:
        self.session = self._open()

    def _open(self) -> Session:
        macros = Macros("Sera", "Ann", 7)
        settings = PromptSettings(macros, (Lorebook((LoreEntry(LORE, ("lamp",)),)),), overflow=self.overflow)
        member = Member(opening=Opening(SYSTEM, (), (GREETING,)), prompt_settings=settings)
        session = Session(self.engine, [member], LayeredOptions(self.options), Recorder(Store(self.file)))
        assert session.recorder.store is not None
        if stored := session.recorder.store.conversations(1):
            saved_conversations.resume(session, stored[0], [member])
        return session

    def resume(self, engine: Engine | None = None) -> None:
        """Continue the conversation as another process does, also with another engine."""
        self.session.recorder.close()
        self.engine = engine or self.engine
        before = self._shown()
        self.session = self._open()
        assert self._shown() == before

    def close(self) -> None:
        """Close the store."""
        self.session.recorder.close()

    def _shown(self) -> list[str]:
        return [node.text for node in self.session.tree.path]

    def send(self, question: str) -> str:
        """Send a turn, and return its whole answer."""
        text = self._answer(self.session.send(question, Cancel()))
        self.after_answer(question)
        return text

    def _answer(self, stream: object, start: str = "") -> str:
        text = start + "".join(chunk.text for chunk in stream)  # type: ignore[attr-defined]
        last = self.session.last
        assert last is not None
        self.answers.append(text)
        self.usages.append(last.usage)
        self.remarks += [*self.session.remarks, *self.session.warnings]
        self.session.remarks.clear()
        self.session.warnings.clear()
        self.check(text)
        return text

    def check(self, text: str) -> None:
        """Check that the answer is shown, and that a new store loads the whole conversation."""
        tree, number = self.session.tree, self.session.recorder.conversation
        assert (tree.path[-1].role, tree.path[-1].text) == (Role.ASSISTANT, text)
        assert number is not None
        with closing(Store(self.file, read_only=True)) as store:
            stored = store.conversation(number)
            assert stored is not None
            loaded = Tree.from_nodes(store.tree(number), stored.leaf)
        assert [(n.parent, n.text, n.state) for n in loaded.nodes] == [
            (n.parent, n.text, n.state) for n in tree.nodes
        ]
        assert loaded.cursor == tree.cursor

    def retry(self) -> str:
        """Generate another answer to the last turn."""
        return self._answer(self.session.regenerate(Cancel()))

    def cancel(self, question: str) -> str:
        """Send a turn, and press Ctrl-C after the first text of the answer."""
        cancel, text = Cancel(), ""
        for chunk in self.session.send(question, cancel):
            text += chunk.text
            if text:
                cancel.set()
        assert self.session.last is not None
        assert self.session.last.finish_reason is FinishReason.CANCELLED
        assert self.session.tree.path[-1].state is MessageState.STOPPED
        self.answers.append(text)
        self.usages.append(self.session.last.usage)
        self.check(text)
        return text

    def proceed(self) -> str:
        """Continue the last answer."""
        start = self.session.tree.path[-1].text
        return self._answer(self.session.continue_answer(Cancel()), start)

    def play(self, questions: Sequence[str] = QUESTIONS, *, can_continue: bool = True) -> None:
        """Play the turns, with a retry, a swipe, an undo, Ctrl-C and a restart among them."""
        session = self.session
        for number, question in enumerate(questions, 1):
            if number == 9:
                begun = self.cancel(question)
                assert not can_continue or self.proceed().startswith(begun)
                continue
            self.send(question)
            if number == 4:
                self.retry()
                session.swipe(0)
                assert session.tree.path[-1].text == self.answers[-2]
            elif number == 6:
                session.undo()
                assert session.tree.path[-1].text in self.answers
                self.send(f"{question} And why?")
            elif number == 14:
                self.resume()
                session = self.session
