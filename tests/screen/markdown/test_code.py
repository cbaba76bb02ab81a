"""Code is highlighted line by line: the text is unchanged, and the style depends on the lines above."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygments.lexers import get_lexer_by_name
from pygments.token import Keyword, String, Token

from hermes_cli.screen import theme
from hermes_cli.screen.markdown.code import MAX_CHARACTERS, ContextAllowance, Highlighter

PYTHON = '''def f(x):
    """What it does.

    def is no keyword here.
    """
    return "a" + str(x)  # a comment
'''.splitlines()


def styles(highlighter: Highlighter, line: str) -> dict[str, object]:
    """Return the style of each piece of a line."""
    text = highlighter.add(line)
    return {text.plain[span.start : span.end]: span.style for span in text.spans}


def test_a_docstring_is_styled_as_a_string_on_all_its_lines() -> None:
    """A docstring is styled as a string on all its lines, and code after it as code."""
    highlighter = Highlighter("python")
    seen = [styles(highlighter, line) for line in PYTHON]
    assert seen[0]["def"] == theme.SYNTAX[Keyword]
    assert set(seen[3].values()) == {theme.SYNTAX[String]}
    assert seen[5]["return"] == theme.SYNTAX[Keyword]


def test_the_styles_are_those_of_pygments_for_the_whole_text() -> None:
    """The styles are those that Pygments gives the whole text."""
    highlighter = Highlighter("python")
    ours = [
        (text.plain[place], span.style)
        for text in map(highlighter.add, PYTHON)
        for span in text.spans
        for place in range(span.start, span.end)
    ]
    whole: list[tuple[str, object]] = []
    for kind, words in get_lexer_by_name("python").get_tokens("\n".join(PYTHON)):
        while kind not in theme.SYNTAX:
            kind = kind.parent or Token  # noqa: PLW2901 - up to the nearest that has a style
        whole += [(character, theme.SYNTAX[kind]) for character in words]
    styled = [(character, style) for character, style in whole if character != "\n" and style != theme.PLAIN]
    assert [pair for pair in ours if pair[1] != theme.PLAIN] == styled


def test_the_context_of_an_answer_is_limited() -> None:
    """After the allowance is used up, a line is highlighted alone: a docstring is no longer known as one."""
    allowance = ContextAllowance(100)
    highlighter = Highlighter("python", allowance)
    for line in ["x = 1"] * 40:
        assert styles(highlighter, line)
    assert allowance.left < 0
    highlighter.add('"""')
    assert theme.SYNTAX[Keyword] in styles(highlighter, "return").values()
    fresh = Highlighter("python")
    fresh.add('"""')
    assert theme.SYNTAX[Keyword] not in styles(fresh, "return").values()


@given(
    st.lists(st.text(st.characters(exclude_categories=["C"]), max_size=30), max_size=80),
    st.sampled_from(["python", "c", "html", "json", "php", "nonsense", ""]),
)
def test_highlighting_changes_no_character(lines: list[str], language: str) -> None:
    """Highlighting changes no character in any language."""
    highlighter = Highlighter(language)
    for line in lines:
        assert highlighter.peek(line).plain == line
        assert highlighter.add(line).plain == line


@pytest.mark.parametrize("line", ["x = 1", '"""', "/*", "y" * (MAX_CHARACTERS + 1)])
def test_the_lines_kept_for_highlighting_are_limited(line: str) -> None:
    """The lines that are kept for highlighting have at most MAX_CHARACTERS characters."""
    highlighter = Highlighter("python")
    for _ in range(500):
        highlighter.add(line)
        assert sum(map(len, highlighter._lines)) <= MAX_CHARACTERS
