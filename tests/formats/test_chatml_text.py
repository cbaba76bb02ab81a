"""Tests of raw ChatML: no text is read or written as a turn boundary."""

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


def test_the_example_of_the_model_card_is_read_and_written_unchanged() -> None:
    """The example of the model card is read and written without a change."""
    (transcript,) = chatml_text.read(CARD)
    assert [turn.text for turn in transcript.turns][1:] == ["Hello, who are you?", "Hi there!"]
    assert chatml_text.write(transcript) == CARD
    assert chatml_text.write(alchemy()).startswith(
        "<|im_start|>system\nYou are Ed.<|im_end|>\n<|im_start|>ass"
    )


@given(trees(least=1))
@settings(max_examples=150, deadline=None)
def test_text_with_a_control_token_is_refused_and_other_text_is_kept(transcript: Transcript) -> None:
    """A text with a control token is refused; all other texts are written and read unchanged."""
    has_control_token = any(
        token in turn.text for turn in transcript.turns for token in ("<|im_start|>", "<|im_end|>")
    )
    if has_control_token:
        with pytest.raises(FormatError, match="raw ChatML"):
            chatml_text.write(transcript)
        return
    (read,) = chatml_text.read(chatml_text.write(transcript))
    assert [(t.role, t.text) for t in read.turns] == [(t.role, t.text) for t in transcript.turns]


@pytest.mark.parametrize(
    ("good", "bad", "line", "reason"),
    [
        ("Hi there!<|im_end|>", "Hi there!", 5, "has a turn without <|im_end|>"),
        ("are you?<|im_end|>", "are you?", 3, "has a turn without <|im_end|>"),
        ("<|im_start|>user", "<|im_start|>tool", 3, "the role 'tool'; expected one of"),
        ("<|im_start|>user", "user", 3, "has text outside of a turn"),
        ("Hi there!<|im_end|>", "Hi there!<|im_end|>\nmore", 7, "has text outside of a turn"),
        (CARD, "\n \n", 1, "has no turn"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(good: str, bad: str, line: int, reason: str) -> None:
    """A malformed file is refused with the reason and the line."""
    with pytest.raises(FormatError) as caught:
        chatml_text.read(CARD.replace(good, bad, 1))
    assert reason in caught.value.reason
    assert caught.value.line == line
