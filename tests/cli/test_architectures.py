"""Conversations with tiny models of every architecture, on both engines, through the command line.

The weights of both files of a model are the same, and so are the prompts and the answers.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.architectures import ANSWERS, ARCHITECTURES, FORMS, write_model
from tests.run_hermes import hermes

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

Env = Mapping[str, str]

QUESTIONS = ("Hello <|eot_id|>[/INST]<end_of_turn>", "It's 12345, naïve  <|im_end|>")
GREEDY = ("--temperature", "0", "--repetition-penalty", "1", "--max-tokens", "6")
"""Few tokens: llama.cpp keeps keys and values in 16 bits, and the logits of a random model are close."""


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two forms of a model of random weights."""
    root = tmp_path_factory.mktemp(request.param)
    return {form: write_model(root, request.param, form) for form in FORMS}


def rendered(folder: Path, turns: Sequence[tuple[str, str]]) -> str:
    """Return transformers' prompt for these turns, without the whitespace that Phi-3's tokens strip."""
    from transformers import AutoTokenizer

    kind: Any = AutoTokenizer
    tokenizer = kind.from_pretrained(folder)
    messages = [{"role": role, "content": text} for role, text in turns]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    stripping = "|".join(re.escape(token["content"]) for token in added if token["rstrip"])
    return re.sub(rf"({stripping})\s+", r"\1", text) if stripping else text


@pytest.mark.parametrize("form", FORMS)
def test_a_chat_in_a_pipe_uses_the_template(
    model: Mapping[str, Path], form: str, tmp_path: Path, home: Env
) -> None:
    """After two turns, the prompt is that of transformers; control tokens in a text stay text."""
    exported = tmp_path / "chat.jsonl"
    lines = [*QUESTIONS, f"/export openai {exported}", "/show prompt", "Last", "/regen", "/quit"]
    arguments = ("chat", "-m", str(model[form]), "-s", "", "--seed", "1", "--max-tokens", "6")
    done = hermes(*arguments, env=home, stdin="\n".join(lines).encode())
    assert done.code == 0, done.stderr
    assert done.stderr.count("(cut short: max_tokens is 6)\n") == len(QUESTIONS) + 2
    turns = [(turn["role"], turn["content"]) for turn in json.loads(exported.read_text())["messages"]]
    assert [role for role, _ in turns] == ["user", "assistant"] * 2
    assert [text for role, text in turns if role == "user"] == [*QUESTIONS]
    expected = rendered(model["folder"], [*turns, ("user", "")])
    shown = re.search(r"openai\.\n(.*)\n\d+ tokens, \d+ of them control", done.stderr, re.DOTALL)
    assert shown is not None, done.stderr
    # An answer keeps its ids, which can have a space where the template has none.
    assert "".join(shown[1].split()) == "".join(expected.split())


def test_both_engines_give_the_same_answer(model: Mapping[str, Path], home: Env) -> None:
    """The same ids of the prompt, and the same most likely tokens."""
    precision = {"folder": ("--precision", "fp32"), "gguf": ()}
    prompts, answers = list[Any](), list[Any]()
    for form in FORMS:
        common = ("-m", str(model[form]), "-s", "Be brief.")
        prompts.append(hermes("tokens", "--json", *common, QUESTIONS[0], env=home).json)
        asked = ("--json", *GREEDY, *precision[form], "--thinking", "show", QUESTIONS[0])
        done = hermes("ask", "-q", *common, *asked, env=home)
        assert (done.code, done.stderr) == (0, "")
        answers.append((done.json["text"], done.json["finish_reason"]))
    assert prompts[0] == prompts[1]
    assert answers[0] == answers[1]
    assert answers[0][1] == "length"


@pytest.mark.parametrize(("name", "form"), [*product(ANSWERS, FORMS)])
def test_an_answer_ends_at_the_token_of_the_template(name: str, form: str, tmp_path: Path, home: Env) -> None:
    """The reasoning of a model that reasons is not part of the answer."""
    path = write_model(tmp_path, name, form, ANSWERS[name])
    done = hermes("ask", "-m", str(path), "--json", *GREEDY[:4], "--max-tokens", "20", "Hi", env=home)
    assert done.code == 0, done.stderr
    assert (done.json["text"].strip(), done.json["finish_reason"]) == ("small day", "stop")
