"""`hermes chat` on a pty with tiny models of every architecture, on both engines."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path

import pytest

from tests.architectures import ANSWERS, FORMS, write_model
from tests.terminal.screen import at_the_prompt

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

QUICKEST = (("llama", "gguf"), ("gemma3", "folder"))
CASES = [
    pytest.param(*case, id="-".join(case), marks=() if case in QUICKEST else pytest.mark.long)
    for case in product(ANSWERS, FORMS)
]
OPENINGS = {
    "llama": "<|start_header_id|>assistant<|end_header_id|>",
    "mistral": "[/INST]",
    "gemma3": "<start_of_turn>model",
    "phi3": "<|assistant|>",
    "qwen3": "<|im_start|>assistant",
    "deepseek2": "<\uff5cAssistant\uff5c>",
    "gpt-oss": "<|start|>assistant",
}
"""The texts before an answer. Source: the documentation of the models."""
TURN = r"> Hi\n(?:\(thought for .*\n)?Hermes 2\n\s*small day\n\n"
GREEDY = ("--temperature", "0", "--repetition-penalty", "1", "--max-tokens", "20")


@pytest.mark.parametrize(("name", "form"), CASES)
def test_a_model_answers_and_its_prompt_is_shown(
    name: str, form: str, tmp_path: Path, home: Mapping[str, str]
) -> None:
    """Two turns end at the token of the template, and `/show prompt` has its control tokens."""
    model = write_model(tmp_path, name, form, ANSWERS[name])
    with at_the_prompt(str(model), home, "-s", "Be brief.", *GREEDY, columns=300) as term:
        term.type("Hi\r")
        term.expect(f"{TURN}>")
        term.type("Hi\r")
        term.expect(f"{TURN}{TURN}>")
        term.type("/show prompt\r")
        text = term.expect(r"\d+ tokens, \d+ of them control tokens")
        _, _, shown = text.partition("> /show prompt\n")
        assert shown.count("small day") == 2
        assert shown.count(OPENINGS[name]) == len(("Hi", "Hi", "the next turn"))
        term.type("\x04")
        assert term.leave() == 0
