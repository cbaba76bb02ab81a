"""Macros put two names into a text, once, and evaluate nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.personas import fill


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{char}} greets {{user}}.", "Ed greets Winry."),
        ("{{Char}}{{USER}}<BOT><bot><User>", "EdWinryEdEdWinry"),
        ("{char} {{ char }} {{chars}} {{{char}}} < user> {{", "{char} {{ char }} {{chars}} {Ed} < user> {{"),
        ("", ""),
    ],
)
def test_each_spelling_is_filled_and_nothing_else(text: str, filled: str) -> None:
    """If this failed, a character would say its placeholders aloud, or a text with braces would change."""
    assert fill(text, char="Ed", user="Winry") == filled


def test_a_name_that_spells_a_macro_is_not_expanded_again() -> None:
    """If this failed, a name could pull in texts, and two names that hold each other would never end."""
    assert fill("{{char}} and {{user}}", char="{{user}}", user="{{char}}\\1") == "{{user}} and {{char}}\\1"
    assert fill("{{{{user}}}}", char="c", user="char") == "{{char}}"


@given(st.text(), st.text(), st.text())
def test_a_text_without_macros_stays_as_it_is(text: str, char: str, user: str) -> None:
    """If this failed, code or markup in a prompt would be damaged on its way to the model."""
    plain = text.replace("{{", "{").replace("<", "")
    assert fill(plain, char, user) == plain
