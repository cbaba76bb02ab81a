"""Conversations are values: adding to one never changes another."""

import dataclasses

import pytest

from hermes_cli.messages import Conversation, Message, Role, TurnIds

SYSTEM, ASK, ANSWER = Message(Role.SYSTEM, "s"), Message(Role.USER, "q"), Message(Role.ASSISTANT, "a")


def test_roles_are_spelt_as_chatml_spells_them() -> None:
    """If this failed, the model would see roles that it was never trained on."""
    assert [f"{role}" for role in Role] == ["system", "user", "assistant"]


def test_adding_makes_a_new_conversation() -> None:
    """If this failed, undo and retry would lose the branch that they came from."""
    first = Conversation((SYSTEM,))
    second = first.add(ASK, ANSWER)
    assert len(first) == 1
    assert list(second) == [SYSTEM, ASK, ANSWER]
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.messages = ()  # type: ignore[misc]


def test_the_system_prompt_is_the_first_turn_or_none() -> None:
    """If this failed, `/system` would stack prompts, lose turns, or take a user's turn for one."""
    turns = Conversation((ASK, ANSWER))
    assert turns.system is None
    assert Conversation().system is None
    assert turns.with_system(None) == turns
    framed = turns.with_system("s")
    assert framed.messages == (SYSTEM, ASK, ANSWER)
    assert framed.system == "s"
    assert framed.with_system("").system == ""
    assert framed.with_system("t").with_system(None) == turns


def test_ids_stay_out_of_what_is_printed() -> None:
    """If this failed, a log line of a message would carry thousands of numbers."""
    message = Message(Role.ASSISTANT, "a", TurnIds("v", (1, 2, 3)))
    assert "TurnIds" not in repr(message)
    assert message != ANSWER
