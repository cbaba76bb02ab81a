"""The hints of the error for a prompt that does not fit in the context window. One character is one token."""

from collections.abc import Sequence

import pytest

from hermes_cli.chat.members import Member
from hermes_cli.chat.prompt_settings import Overflow, PromptSettings
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.errors import ContextOverflow
from hermes_cli.messages import Message, Opening
from hermes_cli.options import LayeredOptions

WINDOW = 600
DROP = "drop old turns with --on-overflow drop"
OTHER_MODEL = "choose a model with a longer context"


def hints(
    text: str,
    *,
    system: str = "",
    turns: int = 0,
    longest: int = WINDOW,
    overflow: Overflow = Overflow.ERROR,
    files: tuple[str, ...] = (),
) -> list[str]:
    """Return the hints for `text` after some turns of 100 tokens."""
    engine = ScriptedEngine(["A" * 50] * turns, WINDOW)
    engine.max_context_size = longest
    settings = PromptSettings(overflow=overflow)
    session = Session(
        engine, [Member(opening=Opening(system or None), prompt_settings=settings)], LayeredOptions()
    )
    for _ in range(turns):
        list(session.send("Q" * 20, Cancel()))
    with pytest.raises(ContextOverflow) as caught:
        list(session.send(text, Cancel(), files=files))
    return caught.value.hint.split("; or ")


def test_dropping_is_a_hint_if_it_helps() -> None:
    """It helps if there are old turns, they are not dropped already, and the rest fits."""
    assert hints("x" * 300, turns=4) == ["shorten the message", DROP, OTHER_MODEL]
    assert hints("x" * 600) == ["shorten the message", OTHER_MODEL]
    assert hints("x" * 600, turns=4) == ["shorten the message", OTHER_MODEL]
    assert hints("x" * 600, turns=4, overflow=Overflow.DROP) == ["shorten the message", OTHER_MODEL]


def larger(size: int) -> str:
    """Return the hint to use a larger context window."""
    return f"use --context {size}, or /context {size} in a chat"


def test_a_larger_context_is_a_hint_if_the_model_supports_it() -> None:
    """The suggested one has room for the prompt and an answer."""
    assert hints("x" * 600, longest=4096) == [
        "shorten the message",
        larger(1024),
    ]
    assert hints("x" * 600, longest=700) == [
        "shorten the message",
        larger(700),
    ]
    assert hints("x" * 5000, longest=4096) == ["shorten the message", OTHER_MODEL]
    assert hints("x" * 3000, longest=4096) == [
        "shorten the message",
        larger(3328),
    ]


def test_what_can_be_shortened_is_named() -> None:
    """It is the files in the message, or the system prompt if that alone is too long."""
    assert hints("x" * 600, files=("a.txt", "b.txt"))[0] == "send less of a.txt and b.txt"
    assert hints("x", system="s" * 600)[0] == "shorten the system prompt or the persona"


class EstimatingEngine(ScriptedEngine):
    """An engine whose estimate of the tokens is `ratio` times the number of characters."""

    ratio = 1

    def count_tokens(
        self, messages: Sequence[Message], limit: int | None = None, cancel: Cancel | None = None
    ) -> int:
        del limit, cancel
        return self.ratio * sum(len(message.text) + 20 for message in messages)


def test_turns_are_dropped_when_an_estimate_grows() -> None:
    """The turns were counted with the smaller estimate, with which all of them fit."""
    engine = EstimatingEngine(["A" * 100] * 5, 4096)
    engine.estimates_tokens = True
    settings = PromptSettings(overflow=Overflow.DROP)
    session = Session(engine, [Member(prompt_settings=settings)], LayeredOptions())
    for _ in range(4):
        list(session.send("Q" * 100, Cancel()))
    assert len(session.next_prompt().messages) == 9
    engine.ratio = 8
    list(session.send("Q" * 100, Cancel()))
    assert len(session.next_prompt().messages) < 9
