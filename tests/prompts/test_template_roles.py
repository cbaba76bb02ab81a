"""Tests of conversations whose roles a chat template does not support."""

from collections.abc import Sequence

import pytest

from hermes_cli.messages import Message, Role
from hermes_cli.prompts.prompt_format import is_continued
from tests.prompts.chat_templates import FAMILIES
from tests.prompts.template_checks import format_of

SYSTEM, USER, ASSISTANT = Role.SYSTEM, Role.USER, Role.ASSISTANT


def prompt(name: str, *turns: tuple[Role, str]) -> str:
    """Return the text of a prompt."""
    messages = [Message(role, text) for role, text in turns]
    return prompt_of(name, messages)


def prompt_of(name: str, messages: Sequence[Message]) -> str:
    """Return the text of a prompt."""
    pieces = format_of(name)._pieces(tuple(messages), continues=is_continued(messages))
    return "".join(piece.text for piece in pieces)


def test_a_system_prompt_without_a_role_begins_the_first_turn() -> None:
    """Gemma has no system role."""
    assert prompt("gemma", (SYSTEM, "Be brief."), (USER, "Hello")) == (
        "<bos><start_of_turn>user\nBe brief.\n\nHello<end_of_turn>\n<start_of_turn>model\n"
    )


def test_a_greeting_follows_a_placeholder() -> None:
    """Gemma's first turn is the user's."""
    assert prompt("gemma", (ASSISTANT, "Welcome."), (USER, "Hello")) == (
        "<bos><start_of_turn>user\nLet's get started.<end_of_turn>\n"
        "<start_of_turn>model\nWelcome.<end_of_turn>\n"
        "<start_of_turn>user\nHello<end_of_turn>\n<start_of_turn>model\n"
    )


def test_a_greeting_follows_a_moved_system_prompt() -> None:
    """The system prompt is the first turn of the user, so there is no placeholder."""
    assert prompt("gemma", (SYSTEM, "Be brief."), (ASSISTANT, "Welcome."), (USER, "Hello")) == (
        "<bos><start_of_turn>user\nBe brief.<end_of_turn>\n<start_of_turn>model\nWelcome.<end_of_turn>\n"
        "<start_of_turn>user\nHello<end_of_turn>\n<start_of_turn>model\n"
    )


def test_two_turns_of_a_role_are_joined() -> None:
    """Mistral's roles alternate, and a later system message is a part of the user's turn."""
    assert (
        prompt("mistral-v0.1", (USER, "a"), (USER, "b"), (ASSISTANT, "c"), (SYSTEM, "d"), (USER, "e"))
        == "<s>[INST] a\n\nb [/INST]c</s> [INST] d\n\ne [/INST]"
    )


def test_supported_roles_are_unchanged() -> None:
    """Llama 3 has every role, in any order."""
    header = "<|start_header_id|>{}<|end_header_id|>\n\n{}"
    roles = [(ASSISTANT, "a"), (SYSTEM, "b"), (USER, "c"), (USER, "d")]
    turns = "<|eot_id|>".join(header.format(role, text) for role, text in [*roles, (ASSISTANT, "")])
    assert prompt("llama-3", *roles) == f"<|begin_of_text|>{turns}"


def test_a_last_answer_is_continued() -> None:
    """Its turn is not closed."""
    assert prompt("gemma", (USER, "a"), (ASSISTANT, "b ")) == (
        "<bos><start_of_turn>user\na<end_of_turn>\n<start_of_turn>model\nb"
    )
    assert prompt("phi-4", (USER, "a"), (ASSISTANT, "b ")).endswith("<|im_sep|>b ")


@pytest.mark.parametrize("text", ["", " \n"])
@pytest.mark.parametrize("name", FAMILIES)
def test_an_empty_answer_is_a_new_one(name: str, text: str) -> None:
    """White space is no beginning of an answer."""
    question = (USER, "a")
    assert prompt(name, question, (ASSISTANT, text)) == prompt(name, question)
    assert prompt(name, (ASSISTANT, text)) == prompt(name)


def test_an_open_turn_of_the_user_is_continued() -> None:
    """It is not the same prompt as that of the closed turn."""
    assert prompt("phi-4", (USER, "a")).endswith("<|im_begin|>assistant<|im_sep|>")
    opened = prompt_of("phi-4", [Message(USER, "a", is_open=True)])
    assert opened == "<|im_begin|>user<|im_sep|>a"


def test_a_system_prompt_is_kept_before_an_answer() -> None:
    """Mistral's template drops it there, so it moves into the first turn."""
    turns = ((SYSTEM, "Be brief."), (USER, "a"))
    assert prompt("mistral-v3", *turns) == "<s>[INST] Be brief.\n\na[/INST]"
    assert prompt("mistral-v3", *turns, (ASSISTANT, "b")) == "<s>[INST] Be brief.\n\na[/INST] b"
