"""Reading hermes' own persona format: every key, and the messages for invalid files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.errors import PersonaError
from hermes_cli.messages import Message, Role
from hermes_cli.personas.loader import load_file
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position
from hermes_cli.personas.native import BOOK_FIELDS, ENTRY_FIELDS, KEYS, parse, parse_lorebook
from hermes_cli.personas.persona import Note, Persona
from tests.personas.files import error_text, start_conversation, write_file

FULL = """
name = "Al"
description = "A suit of armour."
system = "You are {{char}}; {{user}} is your brother."
greeting = "Hello, {{user}}!"
user = "Ed"

[[examples]]
user = "<USER> asks"
assistant = "<BOT> answers"

[options]
top-p = 0.5
max_tokens = 64
stop = "END"
"""


def test_every_key_sets_its_field(tmp_path: Path) -> None:
    """The keys of a file set the persona's fields, options and first messages."""
    persona = load_file(write_file(tmp_path, "alphonse.toml", FULL))
    assert (persona.key, persona.name, persona.description) == ("alphonse", "Al", "A suit of armour.")
    assert persona.user == "Ed"
    assert persona.options == {"top_p": 0.5, "max_tokens": 64, "stop": ("END",)}
    assert start_conversation(persona, "Winry").messages == (
        Message(Role.SYSTEM, "You are Al; Winry is your brother."),
        Message(Role.USER, "Winry asks"),
        Message(Role.ASSISTANT, "Al answers"),
        Message(Role.ASSISTANT, "Hello, Winry!"),
    )


def test_a_file_with_only_a_system_prompt_is_a_persona(tmp_path: Path) -> None:
    """A file with `system` alone is a persona with the name of the file."""
    persona = load_file(write_file(tmp_path, "x.toml", '\ufeffsystem = "Hi {{user}} from {{char}}"\r\n'))
    assert persona.name == "x"
    assert start_conversation(persona).messages == (Message(Role.SYSTEM, "Hi User from x"),)


CHARACTER = """
name = "Seraphina"
nickname = "Sera"
character = "A guardian of the glade."
personality = "gentle"
scenario = "You wake in her house."
greeting = "You are safe."
greetings = ["Hush.", "You again?"]
dialogue = "<START>"
post_history = "Stay gentle."
creator_notes = "Made at night."
worlds = ["eldoria"]

[note]
text = "Short answers."
depth = 0

[lorebook]
name = "Glade"
description = "Her woods."
scan_depth = 5
token_budget = 300
recursive = true

[[lore]]
keys = ["glade", "/wood(s)?/i"]
content = "It is old."
name = "The glade"
enabled = false
secondary = ["night"]
logic = "not-all"
constant = true
order = -3
priority = 7
position = "depth"
depth = 2
case_sensitive = true
whole_words = false
scan_depth = 1
probability = 50
sticky = 1
cooldown = 2
delay = 3
recursable = false
recurses = false
only_recursion = true
ignores_budget = true

[original]
file = "sera.png"
kind = "png"
"""


def test_a_file_can_hold_every_field_of_a_character_card(tmp_path: Path) -> None:
    """A file can hold every field of a character card."""
    source = tmp_path / "sera.toml"
    assert parse(CHARACTER, source) == Persona(
        "Seraphina",
        "",
        source,
        nickname="Sera",
        character="A guardian of the glade.",
        personality="gentle",
        scenario="You wake in her house.",
        greetings=("You are safe.", "Hush.", "You again?"),
        dialogue="<START>",
        post_history="Stay gentle.",
        creator_notes="Made at night.",
        worlds=("eldoria",),
        note=Note("Short answers.", 0),
        lorebook=Lorebook((ENTRY,), "Glade", "Her woods.", 5, 300, recursive=True, source=source),
        original=tmp_path / "sera.png",
        kind="png",
    )


ENTRY = LoreEntry(
    "It is old.",
    ("glade", "/wood(s)?/i"),
    "The glade",
    enabled=False,
    secondary=("night",),
    logic=Logic.NOT_ALL,
    constant=True,
    order=-3,
    priority=7,
    position=Position.DEPTH,
    depth=2,
    case_sensitive=True,
    whole_words=False,
    scan_depth=1,
    probability=50.0,
    sticky=1,
    cooldown=2,
    delay=3,
    recursable=False,
    recurses=False,
    only_recursion=True,
    ignores_budget=True,
)


def test_every_field_has_a_key() -> None:
    """Every field of a persona, an entry and a lorebook has a key."""
    others = {"source", "verbatim", "lorebook", "original", "kind"}
    assert {*Persona._fields} - others <= {*KEYS}
    assert {*ENTRY_FIELDS} == {*LoreEntry._fields}
    assert {*BOOK_FIELDS} == {*Lorebook._fields} - {"entries", "source"}


def test_a_lorebook_file_has_entries_and_no_persona_keys(tmp_path: Path) -> None:
    """A lorebook file holds at least one entry, and no keys of a persona."""
    source = tmp_path / "w.toml"
    lore = CHARACTER[CHARACTER.index("[lorebook]") : CHARACTER.index("[original]")]
    assert parse_lorebook(lore, source).entries == (ENTRY,)
    for text, reason in ((CHARACTER, "is not a known key"), ("", "the file has no entry")):
        with pytest.raises(PersonaError, match=reason):
            parse_lorebook(text, source)


def test_a_large_lorebook_is_read() -> None:
    """A large lorebook whose texts have many dots is accepted."""
    page = "It was night... and then? " * 200
    book = parse_lorebook(f'[[lore]]\ncontent = """{page}"""\n\n' * 400, Path("w.toml"))
    assert len(book.entries) == 400


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('system = "x"\nname = Ed\n', "line 2, column 8"),
        ('system = "x', "line 1, column 12, the end of the file"),
        ('system = "x"\nsystem = "y"', "line 2, column 13"),
        ('system = "x"\ngreting = "y"', "'greting' is not a known key; did you mean 'greeting'?"),
        ('name = "x"', "no 'system'"),
        ('system = " \\n"', "'system' is empty"),
        ("system = 3", "'system' is a number, not a string"),
        ("system = true", "'system' is true or false, not a string"),
        ("system = 1979-05-27", "'system' is a date or time"),
        ('system = "a\\u0000b"', "'system' contains a NUL"),
        ('system = "x"\nname = "a\\nb"', "'name' has more than one line"),
        ('system = "x"\nexamples = 3', "'examples' is a number"),
        ('system = "x"\nexamples = [3]', "examples 1 is a number"),
        ('system = "x"\n[[examples]]\nuser = "a"', "examples 1 has no 'assistant'"),
        ('system = "x"\n[[examples]]\nuser = "a"\nassitant = "b"', "did you mean 'assistant'?"),
        ('system = "x"\noptions = 3', "'options' is a number"),
        ('system = "x"\n[options]\ntemperature = 9', "temperature cannot be 9; it can be 0 to 5"),
        ('system = "x"\n[options]\ntemprature = 1', "did you mean 'temperature'?"),
        ('system = "x"\n[options]\ntop_p = "high"', "top_p takes a number"),
        ('system = "x"\n[options]\ntop_p = nan', "top_p"),
        ('system = "x"\n[options]\ntop-p = 0.1\ntop_p = 0.2', "'top_p' is given twice"),
        ('system = "x"\ngreetings = "y"', "'greetings' is a string, not a list of strings"),
        ('system = "x"\ngreetings = ["a", ""]', "greetings 2 is empty"),
        ('system = "x"\nworlds = [1]', "worlds 1 is a number, not a string"),
        ('system = "x"\nnote = "y"', "'note' is a string, not a table"),
        ('system = "x"\n[note]\ndepth = 2', "'note' has no 'text'"),
        (
            'system = "x"\n[note]\ntext = "y"\ndepth = 101',
            "'depth' in [note] is out of the range 0 to 100",
        ),
        (
            'system = "x"\n[note]\ntext = "y"\ndepht = 1',
            "'depht' in [note] is not a known key; did you mean 'depth'?",
        ),
        ('system = "x"\n[original]\nkind = "png"', "'original' has no 'file'"),
        ('system = "x"\n[original]\nfile = "../../id_rsa"', "'file' in [original] is a path"),
        ('system = "x"\n[original]\nfile = ".."', "'file' in [original] is a path"),
        ('system = "x"\nlore = 3', "'lore' is a number, not a list"),
        ('system = "x"\n[[lore]]\nkeys = ["a"]', "lore 1 has no 'content'"),
        (
            'system = "x"\n[[lore]]\ncontent = "a"\nkey = "b"',
            "'key' in lore 1 is not a known key; did you mean 'keys'?",
        ),
        ('system = "x"\n[[lore]]\ncontent = "a"\nkeys = "b"', "'keys' in lore 1 is a string"),
        (
            'system = "x"\n[[lore]]\ncontent = "a"\nlogic = "and"',
            "is 'and', which is none of and-any, and-all, not-any, not-all; did you mean 'and-any'?",
        ),
        ('system = "x"\n[[lore]]\ncontent = "a"\nposition = 1', "'position' in lore 1 is a number"),
        (
            'system = "x"\n[[lore]]\ncontent = "a"\nconstant = 1',
            "'constant' in lore 1 is a number, not true or false",
        ),
        (
            'system = "x"\n[[lore]]\ncontent = "a"\norder = 1.5',
            "'order' in lore 1 is a number, not a whole number",
        ),
        (
            'system = "x"\n[[lore]]\ncontent = "a"\norder = true',
            "'order' in lore 1 is true or false, not a whole number",
        ),
        (
            'system = "x"\n[[lore]]\ncontent = "a"\nprobability = nan',
            "'probability' in lore 1 is out of the range",
        ),
        ('system = "x"\n[[lore]]\ncontent = "a"\nprobability = "1"', "'probability' in lore 1 is a string"),
        (
            'system = "x"\n[[lore]]\ncontent = "a"\nmatches = ["story"]',
            "'matches' in lore 1 has 'story', which is none of user, character, personality",
        ),
        (
            'system = "x"\n[[lore]]\ncontent = "a"\nrole = "narrator"',
            "which is none of system, user, assistant",
        ),
        ('system = "x"\n[lorebook]\nshare = 101', "'share' in [lorebook] is out of the range"),
        ('system = "x"\n[lorebook]\ndepth = 3', "'depth' in [lorebook] is not a known key"),
        ('system = "x"\n[lorebook]\ntoken_budget = -1', "'token_budget' in [lorebook] is out of the range"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = " + "1" * 5000, "a number that is too long"),
        ("a = 0x" + "f" * 5000, "a number that is too long"),
        (".".join("a" * 100_000) + " = 1", "too many dots"),
        ("[" + "a." * 2000 + "a]\n" + "b=1\n" * 20_000, "too many dots"),
        (b'system = "\xff"', "not UTF-8: byte 10 is 0xff"),
        ('system = "x\0"', "NUL character at position 11"),
        ("#" * (4 << 20) + "#", "larger than 4 MiB"),
    ],
)
def test_an_invalid_file_is_refused_with_the_mistake(
    tmp_path: Path, content: str | bytes, reason: str
) -> None:
    """An invalid file is refused with the mistake, and its place if there is one."""
    assert reason in error_text(write_file(tmp_path, "p.toml", content))


SHARDS = st.sampled_from(
    [
        *("name", "system", "greeting", "user", "examples", "options", "temperature", "stop", "assistant"),
        *("lore", "content", "keys", "lorebook", "note", "text", "depth", "original", "file", "worlds"),
        *(" = ", "=", '"', "'", '"""', "'''", "[", "]", "[[", "]]", "{", "}", ".", ",", "#", "\\", "\\u0000"),
        *(
            "\n",
            "\r\n",
            "\r",
            "\0",
            "\x1b",
            "\ufeff",
            "{{char}}",
            "{{user}}",
            "1",
            "-1",
            "nan",
            "inf",
            "true",
        ),
        *(
            "1e999",
            "0x",
            "1979-05-27",
            'system = "x"\n',
            "[options]\n",
            "[[examples]]\n",
            "[[lore]]\n",
            "é",
            "🙂",
        ),
    ]
)
tomlish = st.one_of(
    st.lists(st.one_of(SHARDS, st.text(max_size=3)), max_size=25).map("".join),
    st.lists(SHARDS, max_size=12).map(lambda parts: 'system = "x"\n' + "".join(parts)),
)


@given(tomlish)
def test_any_text_is_a_persona_or_a_persona_error(text: str) -> None:
    """Any text is a persona or a PersonaError."""
    try:
        persona = parse(text, Path("p.toml"))
    except PersonaError:
        return
    assert isinstance(persona, Persona)
    start_conversation(persona)


@given(st.one_of(st.binary(max_size=60), tomlish.map(lambda t: t.encode("utf-8", "surrogatepass"))))
def test_any_bytes_are_a_persona_or_a_persona_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """Any bytes are a persona or a PersonaError that names the file."""
    folder = tmp_path_factory.getbasetemp()
    for suffix in (".toml", ".txt"):
        try:
            start_conversation(load_file(write_file(folder, f"any{suffix}", data)))
        except PersonaError as error:
            assert "any" in error.message  # noqa: PT017 - most of these files are invalid, not all
