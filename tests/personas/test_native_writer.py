"""Writing hermes' own format: readable files that are read back unchanged."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry
from hermes_cli.personas.native import parse, parse_lorebook
from hermes_cli.personas.native_writer import append, toml_string, toml_value, write
from hermes_cli.personas.persona import Example, Note, Persona
from tests.personas.values import SOURCE, entries, lorebooks, personas, prose

HAND_MADE = '''\
name = "Al"
description = "A suit of armour."
system = 'You are "Al".'
greeting = """
*He waves.* "Brother!"
"Are you there?\\""""
greetings = ["Hi.", "Oh."]

[note]
text = "Al is \\\\kind\\\\."
depth = 2

[[examples]]
user = "Who?"
assistant = "Al."

[options]
temperature = 0.5

[lorebook]
scan_depth = 3

[[lore]]
keys = ["armour", "/steel(ed)?/i"]
content = "Hollow."
logic = "not-any"
'''
AL = Persona(
    "Al",
    'You are "Al".',
    SOURCE,
    description="A suit of armour.",
    greetings=('*He waves.* "Brother!"\n"Are you there?"', "Hi.", "Oh."),
    note=Note("Al is \\kind\\.", 2),
    examples=(Example("Who?", "Al."),),
    options={"temperature": 0.5},
    lorebook=Lorebook(
        (LoreEntry("Hollow.", ("armour", "/steel(ed)?/i"), logic=Logic.NOT_ANY),), scan_depth=3, source=SOURCE
    ),
)


def test_a_persona_is_written_as_a_user_writes_it_by_hand() -> None:
    """A persona is written as a user writes it by hand, and is read back unchanged."""
    assert write(AL) == HAND_MADE
    assert parse(HAND_MADE, SOURCE) == AL


@given(personas)
def test_any_persona_is_read_back_unchanged(persona: Persona) -> None:
    """Any persona is written as TOML and read back unchanged."""
    written = write(persona)
    assert parse(written, SOURCE) == persona
    assert tomllib.loads(written)["name"] == persona.name


@given(lorebooks)
def test_any_lorebook_is_read_back_unchanged(book: Lorebook) -> None:
    """Any lorebook is written and read back unchanged."""
    assert parse_lorebook(write(book), SOURCE) == book


@given(prose | st.text(st.characters(codec="utf-8")))
def test_any_text_is_written_as_valid_toml(text: str) -> None:
    """Any text is written as valid TOML and read back unchanged."""
    assert tomllib.loads(f"x = {toml_string(text)}\ny = {toml_value([text])}") == {
        "x": text,
        "y": [text],
    }


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('"Hi."', "'\"Hi.\"'"),
        ("It's.", '"It\'s."'),
        ('She\'s "here".', '"""\nShe\'s "here"."""'),
        ("C:\\dir", '"C:\\\\dir"'),
        ("a\n\nb", '"""\na\n\nb"""'),
    ],
)
def test_quotes_and_line_breaks_are_written_without_escapes(text: str, quoted: str) -> None:
    """Quotes, apostrophes and line breaks are written without escapes."""
    assert toml_string(text) == quoted


@given(lorebooks, entries)
def test_an_entry_is_appended_after_the_others(book: Lorebook, entry: LoreEntry) -> None:
    """An appended entry is the last one, and the others are unchanged."""
    longer = append(write(book), entry)
    assert parse_lorebook(longer, SOURCE) == book._replace(entries=(*book.entries, entry))


@pytest.mark.parametrize("before", ["", "# mine", 'name = "x"\nsystem = "y"\n', "[[lore]]\ncontent = 'a'"])
def test_appending_an_entry_keeps_the_text_of_the_file(before: str) -> None:
    """Appending an entry keeps the text of the file, with its comments."""
    after = append(before, LoreEntry("b", ("k",)))
    assert after.startswith(before)
    assert tomllib.loads(after)["lore"][-1] == {"keys": ["k"], "content": "b"}


def test_blank_fields_are_left_out() -> None:
    """Fields that are blank are left out of the file."""
    blank = AL._replace(system=" ", greetings=("", "Hi."), note=Note("\n"), nickname="\t", options={})
    read = parse(write(blank), SOURCE)
    assert (read.system, read.greetings, read.note, read.nickname) == ("", ("Hi.",), None, "")
