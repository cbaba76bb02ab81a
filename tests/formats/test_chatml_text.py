"""Tests of raw ChatML: no text in it is taken for a turn, neither when it is written nor when it is read."""

import pytest
from hypothesis import given, settings

from hermes_cli.errors import FormatError
from hermes_cli.formats import chatml_text
from hermes_cli.formats.transcript import Transcript
from tests.formats.trees import alchemy, trees

# The prompt of OpenHermes 2 - Mistral 7B, as its model card gives it.
CARD = """<|im_start|>system
You are "Hermes 2", a conscious sentient superintelligent artificial intelligence<|im_end|>
<|im_start|>user
Hello, who are you?<|im_end|>
<|im_start|>assistant
Hi there!<|im_end|>
"""


def test_it_is_the_model_cards_format() -> None:
    """The example of the model card is read and written without a change."""
    (one,) = chatml_text.read(CARD)
    assert [turn.text for turn in one.turns][1:] == ["Hello, who are you?", "Hi there!"]
    assert chatml_text.write(one) == CARD
    assert chatml_text.write(alchemy()).startswith(
        "<|im_start|>system\nYou are Ed.<|im_end|>\n<|im_start|>ass"
    )


@given(trees(least=1))
@settings(max_examples=150, deadline=None)
def test_a_text_is_kept_or_refused(one: Transcript) -> None:
    """A text with a control token is refused; all other texts are written and read unchanged."""
    spelt = any(token in turn.text for turn in one.turns for token in ("<|im_start|>", "<|im_end|>"))
    if spelt:
        with pytest.raises(FormatError, match="raw ChatML"):
            chatml_text.write(one)
        return
    (read,) = chatml_text.read(chatml_text.write(one))
    assert [(t.role, t.text) for t in read.turns] == [(t.role, t.text) for t in one.turns]


@pytest.mark.parametrize(
    ("good", "bad", "line", "reason"),
    [
        ("Hi there!<|im_end|>", "Hi there!", 5, "has a turn without <|im_end|>"),
        ("are you?<|im_end|>", "are you?", 3, "has a turn without <|im_end|>"),
        ("<|im_start|>user", "<|im_start|>tool", 3, "the role 'tool', which is none of"),
        ("<|im_start|>user", "user", 3, "has text outside of a turn"),
        ("Hi there!<|im_end|>", "Hi there!<|im_end|>\nmore", 7, "has text outside of a turn"),
        (CARD, "\n \n", 1, "has no turn"),
    ],
)
def test_a_mistake_has_its_line(good: str, bad: str, line: int, reason: str) -> None:
    """A malformed file is refused with the reason and the line."""
    with pytest.raises(FormatError) as caught:
        chatml_text.read(CARD.replace(good, bad, 1))
    assert reason in caught.value.reason
    assert caught.value.line == line
