"""Whether the store already has the content of a conversation."""

import pytest

from hermes_cli.messages import Message, Role
from hermes_cli.store.duplicates import Duplicates
from hermes_cli.store.records import StoredConversation
from hermes_cli.tree import Node, Tree
from tests.database import OpenStore

OPENING = (Message(Role.SYSTEM, "Be brief."),)
EMPTY = StoredConversation(
    0, "", is_named=False, persona="", opening=OPENING, created=0, updated=0, leaf=None
)


def tree(*texts: str) -> Tree:
    """Return a conversation of the user and the model in turn."""
    result = Tree()
    for number, text in enumerate(texts):
        result.append(Message(Role.ASSISTANT if number % 2 else Role.USER, text))
    return result


@pytest.mark.parametrize(
    ("conversation", "found"),
    [
        (tree("Hi", "Hello"), True),
        (tree("Hi", "Hello", "Why?\r\n", "So."), True),
        (tree("Hi", "Hello", "Why?\n", "So.", "More"), False),
        (tree("Hello", "Hello"), False),
        (tree("Ho", "Hello"), False),
        (tree("Why?\n", "Hello"), False),
        (tree("Ho", "Hi", "Hi", "Hello"), False),
        (tree(), False),
    ],
)
def test_a_conversation_is_found_by_its_turns(
    open_store: OpenStore, conversation: Tree, *, found: bool
) -> None:
    """They are the beginning of a branch; the ends of lines may differ."""
    store = open_store()
    number = store.begin(OPENING, "", tree("Hi", "Hello", "Why?\n", "So."))
    holder = Duplicates(store).holder(EMPTY, conversation.path, conversation.nodes)
    assert holder == (number if found else None)


def test_the_opening_and_the_other_answers_must_be_the_same(open_store: OpenStore) -> None:
    """An answer that the store lacks is not left out; examples may be turns in the file."""
    store, stored = open_store(), tree("Hi", "Hello")
    number = store.begin(OPENING, "", stored)
    duplicates = Duplicates(store)
    other = EMPTY._replace(opening=(Message(Role.SYSTEM, "Be long."),))
    assert duplicates.holder(other, stored.path, stored.nodes) is None
    more = (*stored.nodes, Node(3, 1, Role.ASSISTANT, "Hey"))
    assert duplicates.holder(EMPTY, stored.path, more) is None
    as_turns = [Node(0, None, turn.role, turn.text) for turn in OPENING]
    assert duplicates.holder(EMPTY._replace(opening=()), [*as_turns, *stored.path], stored.nodes) == number
