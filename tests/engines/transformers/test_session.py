"""Tests of moving in a conversation with a real model and a real store: only new ids are evaluated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.chat import saved_conversations
from hermes_cli.chat.members import Member
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.tokenizer_json import Vocabulary
from hermes_cli.messages import Opening, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.store.store import Store
from tests.database import OpenStore
from tests.engines.transformers.conftest import engine_over

OPENING = Opening("You are a lighthouse keeper.")
SHORT = GenerationOptions(temperature=0, repetition_penalty=1, max_tokens=12, loop_guard=0)


class CountingSession:
    """A session that checks for each answer that exactly the ids outside of the cache were prefilled."""

    def __init__(self, model: Any, vocabulary: Vocabulary, store: Store) -> None:
        self.vocabulary = vocabulary
        self.store = store
        engine = engine_over(model, vocabulary)
        self.session = Session(engine, [Member(opening=OPENING)], LayeredOptions(SHORT), Recorder(self.store))
        self._cached: list[int] = []

    def answer(self, begin: Callable[[], Any]) -> int:
        """Read an answer and return how many ids were prefilled for it."""
        list(begin())
        done = self.session.last
        assert done is not None
        messages = self.session.conversation.messages[:-1]
        prompt = self.vocabulary.format.ids(messages)
        same = next(
            (n for n, (a, b) in enumerate(zip(prompt, self._cached, strict=False)) if a != b),
            min(len(prompt), len(self._cached)),
        )
        new = len(prompt) - min(same, len(prompt) - 1)
        assert done.usage.prefilled_tokens == new
        whole = self.vocabulary.format.ids(self.session.conversation.messages)
        self._cached = whole[: len(prompt) + done.usage.completion_tokens - 1]
        return new

    def ask(self, text: str) -> int:
        """Send a question and return how many ids were prefilled."""
        return self.answer(lambda: self.session.send(text, Cancel()))


@pytest.fixture
def counted(
    mistral: Any, mistral_vocabulary: Vocabulary, tmp_path: Path, open_store: OpenStore
) -> CountingSession:
    """A session over the tiny Mistral that is kept in a file."""
    return CountingSession(mistral, mistral_vocabulary, open_store(tmp_path / "conversations.db"))


def test_every_move_prefills_only_new_ids(counted: CountingSession) -> None:
    """After a retry, swipe, undo, fork, edit or jump only ids that are not in the cache are prefilled."""
    session = counted.session
    first = counted.ask("Good evening! Is the lamp lit, and how is the sea tonight?")
    second = counted.ask("And the wind?")
    assert second < first
    assert counted.answer(lambda: session.regenerate(Cancel())) == 1  # all but the id that is evaluated again
    session.swipe(0)
    assert counted.ask("Go on.") < first
    session.undo()
    assert counted.ask("Stop.") < first
    session.fork("another")
    assert counted.ask("And now?") < first
    assert counted.answer(lambda: session.edit(2, "Halt.", Cancel())) < first
    session.goto(session.tree.path[1].id)
    assert counted.ask("Once more.") < first


def test_a_resumed_conversation_has_the_same_ids(
    counted: CountingSession, mistral: Any, mistral_vocabulary: Vocabulary, open_store: OpenStore
) -> None:
    """A resumed conversation has the same prompt ids, and its answers have recorded ids."""
    counted.ask("Good evening!")
    counted.ask("And the wind?")
    ids = mistral_vocabulary.format.ids(counted.session.conversation.messages)
    counted.store.close()
    later = CountingSession(mistral, mistral_vocabulary, open_store(counted.store.file))
    saved_conversations.resume(later.session, later.store.conversations()[0])
    assert mistral_vocabulary.format.ids(later.session.conversation.messages) == ids
    turn_ids = [m.turn_ids for m in later.session.conversation if m.role is Role.ASSISTANT]
    assert all(turn_ids)
