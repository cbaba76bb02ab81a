"""The reasoning of models: how each family marks it, and a parser that separates it from the answer."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final, NamedTuple

CONTROL: Final = "\ud800"
"""Precedes the text of a control token in marks and in parsed text. No decoded text contains a surrogate."""


@dataclass(frozen=True, slots=True)
class ReasoningMarks:
    """The texts that mark the reasoning of an answer.

    One of `starts` begins the reasoning, and `end` ends it. One of `headers` can precede the answer, which
    `answer_end` ends. `closing` is the text between the reasoning and the answer, as the model writes it.
    `empty` is an empty reasoning, after which the model begins the answer. `tokens` are the parts of these
    texts that are control tokens of the family's vocabulary.
    """

    tokens: tuple[str, ...]
    starts: tuple[str, ...]
    end: str
    closing: str
    empty: str
    headers: tuple[str, ...] = ()
    answer_end: str = ""


def _harmony() -> ReasoningMarks:
    channels = [f"<|channel|>{name}<|message|>" for name in ("analysis", "commentary")]
    final, role = "<|channel|>final<|message|>", "<|start|>assistant"
    return ReasoningMarks(
        ("<|start|>", "<|channel|>", "<|message|>", "<|end|>"),
        (*channels, *(role + channel for channel in channels)),
        "<|end|>",
        f"<|end|>{role}{final}",
        final,
        (final, role + final),
        "<|end|>",
    )


THINK: Final = ReasoningMarks(
    ("<think>", "</think>"), ("<think>",), "</think>", "</think>\n\n", "<think>\n\n</think>\n\n"
)
NO_MARKS: Final = ReasoningMarks((), (), "", "", "")
MARKS: Final = (
    THINK,  # Qwen, DeepSeek, SmolLM, GLM; source: the reasoning parsers of vLLM 0.22, Qwen3's template
    ReasoningMarks(  # Magistral; source: mistral-common 1.13, SpecialTokens
        ("[THINK]", "[/THINK]"), ("[THINK]",), "[/THINK]", "[/THINK]", "[THINK][/THINK]"
    ),
    _harmony(),  # gpt-oss; source: OpenAI's documentation of the harmony response format
    ReasoningMarks(  # Gemma 4; source: "Gemma 4 prompt formatting" on ai.google.dev
        ("<|channel>", "<channel|>"),
        ("<|channel>thought\n",),
        "<channel|>",
        "<channel|>",
        "<|channel>thought\n<channel|>",
    ),
    ReasoningMarks(  # Seed-OSS; source: the reasoning parsers of vLLM 0.20
        ("<seed:think>", "</seed:think>"),
        ("<seed:think>",),
        "</seed:think>",
        "</seed:think>",
        "<seed:think></seed:think>",
    ),
)


def find_marks(control: Container[str], template: str = "") -> tuple[ReasoningMarks, bool]:
    """Return the marks of a model, and whether they are control tokens of its vocabulary.

    If they are not, they are those in the template, and otherwise `<think>`, which some models are trained to
    write as ordinary text. The others need no empty reasoning.
    """
    for marks in MARKS:
        if all(token in control for token in marks.tokens):
            return marks, True
    in_template = (marks for marks in MARKS if all(token in template for token in marks.tokens))
    return next(in_template, replace(THINK, empty="")), False


class Reasoning:
    """The marks of a model, for one vocabulary.

    `control` maps the text of each control token to its id, and `token_ids` those of the marks. By default,
    the marks are those in the vocabulary or in the template.
    """

    def __init__(
        self, control: Mapping[str, int], template: str = "", marks: ReasoningMarks | None = None
    ) -> None:
        found, self.is_exact = find_marks(control, template)
        marks = marks or found
        self.is_exact = self.is_exact and marks is found
        self.tokens = marks.tokens if self.is_exact else ()
        self.token_ids = {text: control[text] for text in self.tokens}
        self.token_texts = {index: text for text, index in self.token_ids.items()}
        self.starts = tuple(map(self.marked, marks.starts))
        self.end = self.marked(marks.end)
        self.headers = tuple(map(self.marked, marks.headers))
        self.answer_end = self.marked(marks.answer_end) if self.is_exact else ""
        self.closing, self.empty = marks.closing, marks.empty

    def marked(self, text: str) -> str:
        """Return the text with CONTROL before each control token of the marks."""
        for token in self.tokens:
            text = text.replace(token, CONTROL + token)
        return text

    def parts(self, text: str) -> Iterator[str]:
        """Yield a text of the marks in parts: a control token, or the text between two of them."""
        for part in self.marked(text).split(CONTROL):
            token = next((token for token in self.tokens if part.startswith(token)), "")
            yield from filter(None, (token, part.removeprefix(token)))

    def is_open(self, opening: str) -> bool:
        """Return whether the text with which a template opens an answer begins the reasoning."""
        marked = self.marked(opening)
        begun = max((marked.rfind(start) for start in self.starts), default=-1)
        return begun >= 0 and self.end not in marked[begun:]


class Part(NamedTuple):
    """A piece of an answer or of its reasoning. `ids` is empty if the text is only a part of its tokens."""

    text: str
    ids: tuple[int, ...]
    is_reasoning: bool = False


class _State(Enum):
    START = auto()  # before the answer: reasoning or a header can follow
    REASONING = auto()
    ANSWER = auto()


@dataclass(slots=True)
class ReasoningParser:
    """Separates the reasoning from the answer, incrementally.

    `is_open` is true if the prompt ends in the reasoning, and `is_continued` if it ends in the answer.
    `has_ended` is true after the mark that ends the answer.
    """

    reasoning: Reasoning
    is_open: bool = False
    is_continued: bool = False
    has_ended: bool = False
    _state: _State = _State.START
    _held: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    _text: str = ""
    _follows_reasoning: bool = False

    def __post_init__(self) -> None:
        self._state = _State.REASONING if self.is_open else self._state
        self._state = _State.ANSWER if self.is_continued else self._state

    @property
    def is_reasoning(self) -> bool:
        """Whether the last text belongs to the reasoning."""
        return self._state is _State.REASONING

    def feed(self, text: str, ids: Sequence[int]) -> list[Part]:
        """Add the next whole characters with their ids, and return the parts that are complete."""
        for token in (i for i in ids if i in self.reasoning.token_texts):
            literal = self.reasoning.token_texts[token]
            before, found, after = text.partition(literal)  # an engine can leave out control tokens
            text = f"{before}{CONTROL}{literal}{after if found else ''}"
        return self._advance(text, tuple(ids))

    def flush(self) -> list[Part]:
        """Return the text that is still held back at the end of the answer."""
        if self._state is _State.START:
            self._begin_answer()
        return self._take(len(self._text))

    def close(self) -> list[Part]:
        """End the reasoning, as if the model had written the closing text; return what is held back of it."""
        parts = self._take(len(self._text))
        self._state, self._follows_reasoning = _State.START, True
        return parts

    def _advance(self, text: str, ids: tuple[int, ...]) -> list[Part]:
        self._held.append((text, ids))
        self._text += text
        parts = list[Part]()
        before = None
        while before != (self._state, len(self._text)) and not self.has_ended:
            before = self._state, len(self._text)
            if self._state is _State.START:
                self._read_start()
            else:
                parts += self._read_reasoning() if self.is_reasoning else self._read_answer()
        return parts

    def _read_start(self) -> None:
        """Skip a mark, or begin the answer if the text is not the beginning of one."""
        space = len(self._text) - len(self._text.lstrip())
        text = self._text[space:]
        next_states = dict.fromkeys(self.reasoning.starts, _State.REASONING)
        next_states |= dict.fromkeys(self.reasoning.headers, _State.ANSWER)
        for mark, state in next_states.items():
            if text.startswith(mark):
                self._take(space + len(mark))
                self._state = state
                return
        if not any(mark.startswith(text) for mark in next_states):
            self._begin_answer()

    def _begin_answer(self) -> None:
        if self._follows_reasoning:
            self._take(len(self._text) - len(self._text.lstrip()))
        self._state = _State.ANSWER

    def _read_reasoning(self) -> list[Part]:
        position = self._text.find(self.reasoning.end)
        if position < 0:
            return self._take(len(self._text) - suffix_length(self._text, (self.reasoning.end,)))
        parts = self._take(position)
        self._take(len(self.reasoning.end))
        self._state, self._follows_reasoning = _State.START, True
        return parts

    def _read_answer(self) -> list[Part]:
        """Return the text up to the next control token of the marks, which ends the answer or is dropped."""
        position = self._text.find(CONTROL)
        if position:
            return self._take(position if position > 0 else len(self._text))
        starts = self.reasoning.starts
        if self.reasoning.answer_end and self._text.startswith(self.reasoning.answer_end):
            self._take(len(self._text))
            self.has_ended = True
        elif any(mark.startswith(self._text) or self._text.startswith(mark) for mark in starts):
            self._state = _State.START
        else:
            token = next(token for token in self.reasoning.tokens if self._text.startswith(CONTROL + token))
            self._take(len(CONTROL + token))
        return []

    def _take(self, length: int) -> list[Part]:
        """Remove `length` characters from the held text, and return them as parts."""
        parts = list[Part]()
        is_reasoning = self.is_reasoning
        self._text = self._text[length:]
        while self._held and (length > 0 or not self._held[0][0]):
            text, ids = self._held.pop(0)
            if len(text) > length:
                self._held.insert(0, (text[length:], ()))
                text, ids = text[:length], ()
            length -= len(text)
            shown = text.replace(CONTROL, "") if is_reasoning else self._without_marks(text)
            if shown or not text:
                parts.append(Part(shown, ids, is_reasoning))
        return parts

    def _without_marks(self, text: str) -> str:
        for token in self.reasoning.tokens:
            text = text.replace(CONTROL + token, "")
        return text


def suffix_length(text: str, phrases: Sequence[str]) -> int:
    """Return the length of the longest suffix of `text` that may begin one of `phrases`."""
    longest = max(map(len, phrases)) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(phrase.startswith(text[-size:]) for phrase in phrases):
            return size
    return 0
