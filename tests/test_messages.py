"""Tests of messages and conversations, which are immutable values."""

import dataclasses

import pytest

from hermes_cli.messages import Conversation, Message, Role, TurnIds

SYSTEM, ASK, ANSWER = Message(Role.SYSTEM, "s"), Message(Role.USER, "q"), Message(Role.ASSISTANT, "a")


def test_roles_are_spelt_as_chatml_spells_them() -> None:
    """The roles are spelled as in ChatML."""
    assert [f"{role}" for role in Role] == ["system", "user", "assistant"]


def test_adding_makes_a_new_conversation() -> None:
    """`add` returns a new conversation and leaves the first one unchanged."""
    first = Conversation((SYSTEM,))
    second = first.add(ASK, ANSWER)
    assert len(first) == 1
    assert list(second) == [SYSTEM, ASK, ANSWER]
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.messages = ()  # type: ignore[misc]


def test_the_system_prompt_is_the_first_turn_or_none() -> None:
    """The system prompt is the first turn if that has the role system."""
    assert Conversation((ASK, ANSWER)).system is None
    assert Conversation().system is None
    assert Conversation((SYSTEM, ASK)).system == "s"
    assert Conversation((Message(Role.SYSTEM, ""),)).system == ""


def test_ids_stay_out_of_what_is_printed() -> None:
    """The ids are not in a message's repr, and count for equality."""
    message = Message(Role.ASSISTANT, "a", TurnIds("v", (1, 2, 3)))
    assert "TurnIds" not in repr(message)
    assert message != ANSWER
