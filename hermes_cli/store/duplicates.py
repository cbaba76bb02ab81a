"""Finds conversations whose content the store already has, so that an import does not add them again."""

from collections.abc import Iterable, Sequence
from functools import cached_property

from hermes_cli.messages import Message, Role
from hermes_cli.store.imports import Imports
from hermes_cli.store.records import StoredConversation
from hermes_cli.tree import Node
from hermes_cli.untrusted.source import line_feeds

_Turn = tuple[Role, str]


class Duplicates:
    """Finds the stored conversation that contains another one.

    A conversation is contained if its opening and its visible turns are the beginning of a branch of the
    stored one, and if the stored one has the texts of all its messages. The ends of lines may differ.
    """

    def __init__(self, store: Imports) -> None:
        self._store = store

    def holder(
        self, conversation: StoredConversation, path: Sequence[Node], messages: Sequence[Node]
    ) -> int | None:
        """Return the id of a stored conversation that contains another one, or None.

        `path` holds the visible messages of the other one, and `messages` all of them.
        """
        if not path:
            return None
        turns = [*_turns(conversation.opening), *_turns(node.message for node in path)]
        texts = set(_turns(node.message for node in messages))
        candidates = self._by_turn.get(hash(turns[-1]), ())
        return next((number for number in candidates if self._contains(number, turns, texts)), None)

    @cached_property
    def _by_turn(self) -> dict[int, tuple[int, ...]]:
        """The ids of the conversations that have a message, by the hash of the message."""
        found = dict[int, tuple[int, ...]]()
        for conversation, role, text in self._store.turns():
            key = hash((Role(role), line_feeds(text)))
            others = found.get(key, ())
            if conversation not in others[-1:]:  # the rows of a conversation follow each other
                found[key] = (*others, conversation)
        return found

    def _contains(self, number: int, turns: Sequence[_Turn], texts: set[_Turn]) -> bool:
        """Return whether a stored conversation has these turns on a branch, and all the texts."""
        stored = self._store.conversation(number)
        if stored is None:
            return False
        opening, nodes = _turns(stored.opening), self._store.tree(number)
        if turns[: len(opening)] != opening:
            return False
        children = dict[int | None, list[Node]]()
        for node in nodes:
            children.setdefault(node.parent, []).append(node)
        reached: list[int | None] = [None]
        for turn in turns[len(opening) :]:
            below = [node for parent in reached for node in children.get(parent, [])]
            reached = [node.id for node in below if (node.role, line_feeds(node.text)) == turn]
        return bool(reached) and texts <= {*opening, *_turns(node.message for node in nodes)}


def _turns(messages: Iterable[Message]) -> list[_Turn]:
    return [(message.role, line_feeds(message.text)) for message in messages]
