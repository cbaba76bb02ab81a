"""The toolbar: one line, never wider than the terminal, with the most important facts first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcwidth

from hermes_cli.repl.toolbar import NARROW, Facts, toolbar
from hermes_cli.screen.waiting import FRAMES

FACTS = Facts("OpenHermes-2 q4_k_m", "Hermes 2", used=1234, size=4096, speed=41.6, remarks=("plain",))
names = st.tuples(st.text("aé日👩🏽\u200d\u0301 ·", min_size=1, max_size=4), st.integers(1, 40)).map(
    lambda drawn: drawn[0] * drawn[1]
)


def cells(facts: Facts, width: int, tick: int = 0) -> int:
    """Return the number of cells of the line on a terminal that draws each character separately."""
    return sum(max(0, wcwidth(character)) for character in text(facts, width, tick))


def text(facts: Facts, width: int = 200, tick: int = 0) -> str:
    """Return the line without its styles."""
    return "".join(part for _, part in toolbar(facts, width, tick))


def style(facts: Facts, word: str) -> str:
    """Return the style of the part that holds a word."""
    (style_name,) = {name for name, part in toolbar(facts, 200) if word in part}
    return style_name


def test_the_toolbar_shows_all_facts() -> None:
    """These are the model, the persona, the used tokens, the speed and the remarks."""
    assert text(FACTS) == "OpenHermes-2 q4_k_m · Hermes 2 · plain · 1,234 of 4,096 tokens · 42 tok/s"


@pytest.mark.parametrize("width", [0, 1, 20, NARROW - 1])
def test_a_narrow_terminal_has_no_toolbar(width: int) -> None:
    """A terminal is narrow if it has fewer than NARROW columns."""
    assert toolbar(FACTS, width) == []


facts = st.builds(
    Facts,
    names,
    names,
    loading=st.one_of(st.just(""), names),
    failed=st.one_of(st.just(""), names),
    used=st.integers(0, 9999),
    size=st.just(4096),
    speed=st.floats(0, 9999),
    remarks=st.lists(names, max_size=3).map(tuple),
)


@given(facts, st.integers(NARROW, 120), st.integers(0, 99))
def test_the_toolbar_is_never_wider_than_the_terminal(drawn: Facts, width: int, tick: int) -> None:
    """It is one line and not empty."""
    line = text(drawn, width, tick)
    assert line
    assert "\n" not in line
    assert cells(drawn, width, tick) <= width


@given(st.integers(NARROW, 90))
def test_parts_that_do_not_fit_are_left_out_from_the_end(width: int) -> None:
    """No part is cut."""
    parts = text(FACTS, width).split(" · ")
    assert parts == text(FACTS).split(" · ")[: len(parts)]


def test_a_first_part_wider_than_the_terminal_is_cut() -> None:
    """The cut part ends with an ellipsis."""
    line = text(Facts("m" * 300, "Hermes 2"), 60)
    assert line == "m" * 58 + "…"


@pytest.mark.parametrize(
    ("used", "name"),
    [
        (0, "class:toolbar"),
        (799, "class:toolbar"),
        (800, "class:toolbar.warm"),
        (949, "class:toolbar.warm"),
        (950, "class:toolbar.hot"),
        (1001, "class:toolbar.hot"),
    ],
)
def test_the_token_count_changes_its_style_as_the_window_fills(used: int, name: str) -> None:
    """The style changes at 80 % and at 95 % of the context window."""
    assert style(Facts("m", "p", used=used, size=1000), "tokens") == name


@pytest.mark.parametrize("facts", [Facts("m", "p", size=4096), Facts("m", "p", used=7)])
def test_unknown_token_counts_are_left_out(facts: Facts) -> None:
    """The count needs both the used tokens and the context window."""
    assert text(facts) == "m · p"


def test_a_model_that_is_loading_is_shown_with_a_spinner() -> None:
    """It takes the place of the loaded model."""
    facts = Facts("m", "p", loading="m q4 · 40 %")
    lines = [text(facts, tick=tick) for tick in range(len(FRAMES) + 1)]
    assert all(line.endswith(" loading m q4 · 40 % · p") for line in lines)
    assert len(set(lines)) == len(FRAMES)
    assert lines[0] == lines[-1]
    assert style(facts, "loading") == "class:toolbar.busy"


def test_a_model_that_could_not_be_loaded_is_shown_first() -> None:
    """The failure takes the place of the model."""
    facts = Facts("m", "p", loading="m q4", failed="no model; /model NAME loads one")
    assert text(facts, NARROW) == "no model; /model NAME loads one · p"
    assert style(facts, "no model") == "class:toolbar.hot"


def test_a_remark_is_shown_before_the_counts() -> None:
    """In a terminal of 80 columns, a long model name leaves room for it."""
    named = Facts("openhermes-2.5-mistral-7b 4-bit NF4", "Hermes 2", used=1234, size=4096, speed=41.6)
    assert "not saved" in text(named._replace(remarks=("not saved",)), 80)
