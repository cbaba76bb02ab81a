"""Tests of the parser of reasoning: the marks of each family, however the text is split."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.prompts.reasoning import MARKS, THINK, Part, Reasoning, ReasoningParser, find_marks

FINAL = "<|start|>assistant<|channel|>final<|message|>"
CASES = [
    ("<think>Let me see.</think>\n\nFive.", "Let me see.", "Five."),
    ("<think>\n\n</think>\n\nFive.", "\n\n", "Five."),
    ("\n<think>a</think>b</think>", "a", "b"),  # a second mark is left out
    ("<think>a</think>b<think>c</think> d", "ac", "bd"),
    ("Five < six.", "", "Five < six."),
    ("<think>without an end", "without an end", ""),
    ("[THINK]a[/THINK]b", "a", "b"),
    (f"<|channel|>analysis<|message|>Sum.<|end|>{FINAL}Five.<|end|>", "Sum.", "Five."),
    ("<|channel|>final<|message|>Five.", "", "Five."),
    (f"<|channel|>commentary<|message|>a<|end|>{FINAL}b", "a", "b"),
    ("<|channel>thought\na<channel|>b", "a", "b"),
    ("<seed:think>a</seed:think>b", "a", "b"),
]
"""An answer of the model, its reasoning, and its text."""
VOCABULARY = {token: 1000 + n for n, token in enumerate(t for marks in MARKS for t in marks.tokens)}


def tokens_of(text: str, reasoning: Reasoning) -> list[tuple[str, int]]:
    """Return the tokens of an answer: control tokens, and one for each other character."""
    tokens = list[tuple[str, int]]()
    while text:
        control = next((token for token in reasoning.tokens if text.startswith(token)), "")
        tokens.append((control or text[0], VOCABULARY.get(control, 0) or ord(text[0])))
        text = text[len(control or text[0]) :]
    return tokens


def marks_of(answer: str) -> Reasoning:
    """Return the reasoning of the vocabulary that has the marks in an answer."""
    marks = next((m for m in MARKS if any(token in answer for token in m.tokens)), THINK)
    return Reasoning({token: VOCABULARY[token] for token in marks.tokens})


def text_of(parts: list[Part]) -> tuple[str, str]:
    """Return the reasoning and the answer."""
    reasoning, answer = ("".join(p.text for p in parts if p.is_reasoning is kind) for kind in (True, False))
    return reasoning, answer


@pytest.mark.parametrize(("answer", "reasoning", "text"), CASES)
def test_the_marks_of_each_family_are_read(answer: str, reasoning: str, text: str) -> None:
    """The tokens of the vocabulary separate the reasoning from the answer."""
    parser = ReasoningParser(marks := marks_of(answer))
    parts = [part for token, i in tokens_of(answer, marks) for part in parser.feed(token, [i])]
    assert text_of([*parts, *parser.flush()]) == (reasoning, text)


@pytest.mark.parametrize(("answer", "reasoning", "text"), CASES)
def test_control_tokens_without_text_are_read(answer: str, reasoning: str, text: str) -> None:
    """llama.cpp returns no text for control tokens, only their ids."""
    parser = ReasoningParser(marks := marks_of(answer))
    pairs = [("" if token in marks.token_ids else token, i) for token, i in tokens_of(answer, marks)]
    parts = [part for token, i in pairs for part in parser.feed(token, [i])]
    assert text_of([*parts, *parser.flush()]) == (reasoning, text)


def test_the_same_text_without_the_tokens_is_ordinary() -> None:
    """If the marks are tokens, ordinary text that spells them neither begins nor ends the reasoning."""
    reasoning = Reasoning({token: VOCABULARY[token] for token in THINK.tokens})
    parser = ReasoningParser(reasoning)
    parts = parser.feed("<think>", [1]) + parser.feed("a", [2]) + parser.flush()
    assert text_of(parts) == ("", "<think>a")
    parser = ReasoningParser(reasoning, is_open=True)
    parts = (
        parser.feed("a </think> b", [1]) + parser.feed("", [VOCABULARY["</think>"]]) + parser.feed("c", [2])
    )
    assert text_of(parts) == ("a </think> b", "c")


def test_text_marks_count_only_at_the_beginning() -> None:
    """A model without the tokens writes `<think>` as text. Later in the answer, it is ordinary."""
    parts = (parser := ReasoningParser(Reasoning({}))).feed(" <think>a</think> b <think>c</think>", [1])
    assert text_of([*parts, *parser.flush()]) == ("a", "b <think>c</think>")


@given(st.sampled_from(CASES[:6]), st.lists(st.integers(0, 40), max_size=8))
def test_text_marks_may_be_split_anywhere(case: tuple[str, str, str], cuts: list[int]) -> None:
    """The result does not depend on how the text is split."""
    answer, _, _ = case
    edges = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    whole, split = ReasoningParser(Reasoning({})), ReasoningParser(Reasoning({}))
    expected = text_of([*whole.feed(answer, [1]), *whole.flush()])
    pieces = [answer[a:b] for a, b in itertools.pairwise(edges)]
    parts = [part for piece in pieces for part in split.feed(piece, [1])]
    assert text_of([*parts, *split.flush()]) == expected


@given(st.lists(st.sampled_from([*VOCABULARY, "a", " ", "\n", "analysis", "final"]), max_size=20))
def test_any_sequence_of_marks_is_read(words: list[str]) -> None:
    """No sequence loses text or stops the parser, and no control token is shown."""
    for marks in MARKS:
        parser = ReasoningParser(Reasoning({token: VOCABULARY[token] for token in marks.tokens}))
        parts = list[Part]()
        for word in words:
            is_token = word in parser.reasoning.token_ids
            if not parser.has_ended:
                parts += parser.feed("" if is_token else word, [VOCABULARY[word] if is_token else 1])
        reasoning, answer = text_of([*parts, *parser.flush()])
        assert not any(token in answer for token in marks.tokens)
        assert "\ud800" not in reasoning + answer
        if not any(word in marks.tokens for word in words):
            assert answer == "".join(words)


def test_the_ids_of_the_answer_are_kept() -> None:
    """They are those of the tokens after the marks; a token that is only partly shown has none."""
    parser = ReasoningParser(Reasoning({token: VOCABULARY[token] for token in THINK.tokens}))
    parser.feed("", [VOCABULARY["<think>"]])
    parser.feed("a", [7])
    parts = parser.feed("", [VOCABULARY["</think>"]]) + parser.feed("\n\n", [8]) + parser.feed("Five", [9])
    assert parts == [Part("Five", (9,))]
    parser = ReasoningParser(Reasoning({}), is_open=True)
    assert parser.feed("a</think>\nFive", [7, 8]) == [Part("a", (), is_reasoning=True), Part("Five", ())]


def test_a_prompt_can_end_in_the_reasoning_or_in_the_answer() -> None:
    """Text that continues an answer is never the beginning of reasoning."""
    assert text_of(ReasoningParser(Reasoning({}), is_open=True).feed("a</think>b", [1])) == ("a", "b")
    assert text_of(ReasoningParser(Reasoning({}), is_continued=True).feed("<think>b", [1])) == (
        "",
        "<think>b",
    )


def test_marks_are_found_in_the_vocabulary_and_in_the_template() -> None:
    """Tokens come first; a model without either is not given an empty reasoning."""
    assert find_marks({"[THINK]", "[/THINK]", "a"}) == (MARKS[1], True)
    assert find_marks({"[THINK]"}, "… <seed:think></seed:think>") == (MARKS[-1], False)
    marks, is_exact = find_marks(set())
    assert (marks.starts, marks.empty, is_exact) == (("<think>",), "", False)


@pytest.mark.parametrize("marks", MARKS)
def test_an_empty_reasoning_leaves_the_answer(marks: object) -> None:
    """The text that hermes puts into the prompt is read as a reasoning without text, and then an answer."""
    tokens = {token: VOCABULARY[token] for token in marks.tokens}  # type: ignore[attr-defined]
    reasoning = Reasoning(tokens)
    for text in (reasoning.empty, *([reasoning.starts[0].replace("\ud800", "") + "a" + reasoning.closing])):
        parser = ReasoningParser(reasoning)
        for part in reasoning.parts(text):
            parser.feed("" if part in tokens else part, [tokens.get(part, 1)])
        assert text_of(parser.feed("Five", [5])) == ("", "Five")
