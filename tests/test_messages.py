"""Tests of messages and conversations, which are immutable values."""

import dataclasses

import pytest

from hermes_cli.messages import Conversation, Message, Role, TurnIds

SYSTEM, ASK, ANSWER = Message(Role.SYSTEM, "s"), Message(Role.USER, "q"), Message(Role.ASSISTANT, "a")


def test_roles_are_spelled_as_in_chatml() -> None:
    """A role can be formatted into a prompt."""
    assert [f"{role}" for role in Role] == ["system", "user", "assistant"]


def test_add_returns_a_new_conversation() -> None:
    """The first conversation is unchanged."""
    first = Conversation((SYSTEM,))
    second = first.add(ASK, ANSWER)
    assert len(first) == 1
    assert list(second) == [SYSTEM, ASK, ANSWER]
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.messages = ()  # type: ignore[misc]


def test_the_system_prompt_is_a_first_turn_of_the_system() -> None:
    """Otherwise there is none; an empty one is not None."""
    assert Conversation((ASK, ANSWER)).system is None
    assert Conversation().system is None
    assert Conversation((SYSTEM, ASK)).system == "s"
    assert Conversation((Message(Role.SYSTEM, ""),)).system == ""


def test_the_repr_of_a_message_has_no_ids() -> None:
    """Messages with and without ids are not equal."""
    message = Message(Role.ASSISTANT, "a", TurnIds("v", (1, 2, 3)))
    assert "TurnIds" not in repr(message)
    assert message != ANSWER
