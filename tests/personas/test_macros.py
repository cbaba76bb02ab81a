"""Macros are filled in once, and nothing is evaluated."""

import re
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.messages import Message, Role
from hermes_cli.personas.macro_times import duration_text
from hermes_cli.personas.macros import (
    MAX_DICE,
    MAX_DRAWS,
    MAX_MARKS,
    MAX_ORIGINAL,
    MAX_UNKNOWN,
    MAX_VARIABLE,
    NAME_LENGTH,
    Macros,
    unknown_macros,
)
from hermes_cli.store.records import MAX_VARIABLES
from hermes_cli.untrusted.deadline import Deadline


def clock() -> datetime:
    """Return a fixed time."""
    return datetime(2026, 3, 7, 15, 4, tzinfo=UTC)


ED = Macros("Ed", "Winry", 1, clock)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{char}} greets {{user}}.", "Ed greets Winry."),
        ("{{Char}}{{USER}}<BOT><bot><User><char>", "EdWinryEdEdWinryEd"),
        ("{char} {{ char }} {{chars}} {{{char}}} < user> {{", "{char} Ed {{chars}} {Ed} < user> {{"),
        ("a{{newline}}b", "a\nb"),
        ("a \n\n{{trim}}\n\r\n b", "a  b"),
        ("\n{{trim}}{{trim}}\n", ""),
        ("a{{// not for {{char}}, ever }}b{{comment: x}}{{hidden_key:y}}", "ab"),
        ("{{time}} on {{date}}", "15:04 on March 7, 2026"),
        ("{{original}} {{setvar::a}} {{}}", "{{original}} {{setvar::a}} {{}}"),
        ("{{roll:d1}} {{roll: 1}} {{roll:3d1+4}} {{roll::2d1-3}}", "1 1 7 -1"),
        ("{{roll d1}} {{roll 3d1+4}}", "1 7"),
        ("{{isotime}} {{isodate}} {{weekday}}", "15:04 2026-03-07 Saturday"),
        ("{{time_UTC+2}} {{time_UTC-5}} {{time_utc+99}}", "17:04 10:04 {{time_utc+99}}"),
        ("a{{noop}}b {{reverse:abc}} {{reverse:{{char}}}}", "ab cba dE"),
        ("{{group}} <CHARIFNOTGROUP>", "Ed Ed"),
        ("{{lastMessage}}{{lastUserMessage}}{{idle_duration}}", "just now"),
        ("{{roll:0d6}} {{roll:d0}} {{roll:x}}", "{{roll:0d6}} {{roll:d0}} {{roll:x}}"),
        ("{{random:only}} {{pick::only}} {{random::{{char}}}}", "only only Ed"),
        (r"{{random:a\, b}}", "a, b"),
        ("", ""),
    ],
)
def test_every_spelling_of_a_macro_is_filled_in(text: str, filled: str) -> None:
    """Each spelling of a macro is filled in, and all other text is unchanged."""
    assert ED.fill(text) == filled


def test_original_inserts_the_given_text() -> None:
    """`{{original}}` inserts the given text, with its macros filled in."""
    assert ED.fill("{{original}} Be kind.", original="{{char}} here.") == "{{char}} here. Be kind."


def test_a_macro_in_a_name_is_not_expanded() -> None:
    """A macro in a name is not expanded."""
    assert Macros("{{user}}", "{{char}}\\1").fill("{{char}} and {{user}}") == "{{user}} and {{char}}\\1"
    assert Macros("c", "char").fill("{{{{user}}}}") == "{{char}}"
    assert Macros("a,b", "x").fill("{{random:{{char}}}}") == "a,b"  # a comma in a name splits nothing


def test_the_same_seed_place_and_moment_give_the_same_draws() -> None:
    """The same seed, place and moment give the same draws, and others give other draws."""
    text = "{{random:a,b,c,d,e,f,g,h}}{{roll:d1000}}{{pick:a,b,c,d,e,f,g,h}}"
    assert ED.fill(text, "lore 1", 3) == ED.fill(text, "lore 1", 3)
    drawn = [ED.fill(text, "lore 1", moment) for moment in range(20)]
    assert len(set(drawn)) > 10
    assert len({draw[-1] for draw in drawn}) == 1  # a pick is the same at every moment
    assert {draw[0] for draw in drawn} > {"a"}
    assert {ED.fill("{{random::a::b, c}}", "", n) for n in range(50)} == {"a", "b, c"}
    assert {ED.fill("{{random:{{char}} a,b}}", "", n) for n in range(50)} == {"Ed a", "b"}
    assert len({Macros("Ed", "Winry", seed).fill(text) for seed in range(20)}) > 10
    assert len({ED.fill(text, f"lore {number}") for number in range(20)}) > 10


def test_a_roll_of_3d6_is_between_3_and_18() -> None:
    """A roll of 3d6 is between 3 and 18."""
    rolls = [int(ED.fill("{{roll:3d6}}", "", moment)) for moment in range(300)]
    assert min(rolls) >= 3
    assert max(rolls) <= 18
    assert len(set(rolls)) > 10


@given(st.text(), st.text(), st.text())
def test_a_text_without_macros_is_unchanged(text: str, char: str, user: str) -> None:
    """A text without macros is unchanged."""
    plain = text.replace("{{", "{").replace("<", "")
    assert Macros(char, user).fill(plain) == plain


@given(st.lists(st.sampled_from(["{{", "}}", "{", "}", "char", "random:a,b", "//", ":", "trim", "\n", "x"])))
def test_nested_macros_are_filled_in_once(pieces: list[str]) -> None:
    """Any nesting of macros is filled in once, to at most twice its length."""
    text = "".join(pieces)
    filled = ED.fill(text)
    assert len(filled) <= 2 * len(text)
    assert len(re.findall("x", filled)) <= text.count("x")


def test_deep_nesting_is_unchanged_and_a_long_name_is_cut() -> None:
    """Deep nesting is left unchanged, and a long name is cut to NAME_LENGTH."""
    deep = "{{ " * 100_000 + "char" + "}}" * 100_000
    assert ED.fill(deep) == deep
    assert ED.fill("{{" * 100_000) == "{{" * 100_000
    assert len(Macros("n" * 10**6, "").fill("{{char}}" * 1000)) == 1000 * NAME_LENGTH


@pytest.mark.usefixtures("frozen_heap")
@pytest.mark.parametrize(
    "text",
    [
        "{{roll:999d999999}}" * 45_000,
        "{{pick:a}}" * 400_000,
        "{{char}}" * 500_000,
        "<bot>" * 800_000,
        "{{}}" * 1_000_000,
        "{{original}}" * 330_000,
        "{{random:" + "a," * 2_000_000 + "}}",
        "{{random:" + "{{char}}" * 400_000 + "}}",
        "{{scenario}}" * 300_000,
        "{{random:" + ("a" * 400 + "{{char}}") * 9000 + "}}",
    ],
)
def test_the_macros_of_a_text_cost_a_bounded_amount(text: str) -> None:
    """4 MB of any macro are filled in within 1 s of CPU time, and grow by at most 2 MB."""
    began = time.thread_time()
    texts = {"scenario": "{{user}}" * 10_000}
    filled = Macros("n" * 100, "u" * 100, texts=texts).fill(text, original="o" * 600)
    assert time.thread_time() - began < 1
    assert len(filled) <= len(text) + MAX_MARKS * NAME_LENGTH


def test_macros_beyond_a_limit_are_unchanged_and_reported() -> None:
    """Draws, dice and inserted text beyond their limits are left unchanged, and the deadline reports it."""
    for macro, original, limit in (
        ("{{pick:a}}", "", MAX_DRAWS),
        ("{{roll:500d1}}", "", MAX_DICE // 500),
        ("{{original}}", "o" * 100_000, MAX_ORIGINAL // 100_000),
        ("<bot>", "", MAX_MARKS),
    ):
        deadline = Deadline()
        assert ED.fill(macro * limit, original=original, deadline=deadline).count(macro) == 0
        assert deadline.report == ""
        assert ED.fill(macro * (limit + 3), original=original, deadline=deadline).count(macro) == 3
        assert "too many" in deadline.report


def test_macros_are_unchanged_after_the_deadline() -> None:
    """A text that is filled in after the deadline is unchanged, and the deadline reports it."""
    deadline = Deadline(-1)
    assert ED.fill("{{char}}", deadline=deadline) == "{{char}}"
    assert ED.fill("no macro", deadline=deadline) == "no macro"
    assert deadline.report == "macros: not all were filled in within -1 s"


def test_the_last_messages_are_inserted() -> None:
    """The last message, and the last ones of each speaker, are inserted without expanding their macros."""
    turns = [Message(Role.ASSISTANT, "Hi {{user}}"), Message(Role.USER, "one"), Message(Role.USER, "two")]
    text = "{{lastMessage}}, {{lastUserMessage}}, {{lastCharMessage}}"
    assert ED.fill(text, turns=turns) == "two, two, Hi {{user}}"


def test_texts_of_the_persona_are_macros() -> None:
    """The names of texts are macros; without a text they are unknown."""
    macros = Macros("Ed", "Ann", texts={"scenario": "{{user}} {{scenario}}", "mesexamples": ""})
    text = "{{scenario}}|{{mesExamples}}|{{persona}}"
    assert macros.fill(text) == "Ann {{scenario}}||{{persona}}"
    assert replace(macros, user="Winry").fill(text) == "Winry {{scenario}}||{{persona}}"


def test_a_variable_is_set_and_read() -> None:
    """A variable that one text sets is read in another one. It is limited in length and number."""
    macros = Macros("Ed", "Ann")
    assert macros.fill("{{getvar::mood}}{{setvar::mood::{{char}} is grim}}") == ""
    assert macros.fill("{{getvar:: mood }}") == "Ed is grim"
    assert Macros("Ed", "Ann").fill("{{getvar::mood}}") == ""
    macros.fill("{{setvar::long::" + "x" * (MAX_VARIABLE + 5) + "}}")
    assert len(macros.fill("{{getvar::long}}")) == MAX_VARIABLE
    deadline = Deadline()
    macros.fill("".join(f"{{{{setvar::v{n}::x}}}}" for n in range(MAX_VARIABLES)), deadline=deadline)
    assert "too many" in deadline.report
    assert len(macros.state.variables) == MAX_VARIABLES


def test_unknown_macros_are_reported_by_name() -> None:
    """An unknown macro is reported; other braces, and known macros with wrong arguments, are not."""
    texts = [
        '{{banned "x"}} {{char}} {{ calc::1+1 }}',
        "{{}} {{ }} {{? }} {{roll:x}} {{original}} {{scenario}}",
    ]
    assert unknown_macros(texts) == ["banned", "calc"]
    assert len(unknown_macros([f"{{{{m{n}}}}}" for n in range(99)])) == MAX_UNKNOWN


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "just now"),
        (44, "a few seconds"),
        (60, "a minute"),
        (300, "5 minutes"),
        (3600, "an hour"),
        (7200, "2 hours"),
        (86_400, "a day"),
        (5 * 86_400, "5 days"),
        (30 * 86_400, "a month"),
        (90 * 86_400, "3 months"),
        (365 * 86_400, "a year"),
        (1000 * 86_400, "3 years"),
    ],
)
def test_a_duration_is_in_words(seconds: float | None, text: str) -> None:
    """A duration has one unit."""
    assert duration_text(seconds) == text
