"""From a name or a path to a persona, and every way in which a file can be wrong."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.errors import PersonaError
from hermes_cli.messages import Message, Role
from hermes_cli.personas import Persona, find, list_all, load_file
from hermes_cli.personas.native import parse

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


def written(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a persona file and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(path: Path) -> str:
    """Return what is said about a file that cannot be used, after checking that a script sees 78."""
    with pytest.raises(PersonaError) as caught:
        load_file(path)
    assert caught.value.exit_code == 78
    assert str(path) in caught.value.message
    return f"{caught.value.message} | {caught.value.hint}"


def test_every_key_arrives_where_it_belongs(tmp_path: Path) -> None:
    """If this failed, something a person wrote into a persona file would be ignored in silence."""
    persona = load_file(written(tmp_path, "alphonse.toml", FULL))
    assert (persona.key, persona.name, persona.description) == ("alphonse", "Al", "A suit of armour.")
    assert persona.options == {"top_p": 0.5, "max_tokens": 64, "stop": ("END",)}
    assert persona.opening().messages == (
        Message(Role.SYSTEM, "You are Al; Ed is your brother."),
        Message(Role.USER, "Ed asks"),
        Message(Role.ASSISTANT, "Al answers"),
        Message(Role.ASSISTANT, "Hello, Ed!"),
    )
    assert persona.opening("Winry").messages[-1].text == "Hello, Winry!"


def test_a_short_file_is_enough(tmp_path: Path) -> None:
    """If this failed, the one-line persona that the README promises would be refused."""
    persona = load_file(written(tmp_path, "x.toml", '\ufeffsystem = "Hi {{user}} from {{char}}"\r\n'))
    assert persona.name == "x"
    assert persona.opening().messages == (Message(Role.SYSTEM, "Hi User from x"),)


@pytest.mark.parametrize("suffix", [".txt", ".md", ".TXT"])
def test_a_text_file_is_the_system_prompt_as_it_stands(tmp_path: Path, suffix: str) -> None:
    """If this failed, a prompt that somebody tuned to the byte would reach the model changed."""
    text = "  # {{char}} \r\n<user> {{user}}\t \n\n"
    persona = load_file(written(tmp_path, f"p{suffix}", text))
    assert persona.opening().messages == (Message(Role.SYSTEM, text),)


def test_names_and_paths(tmp_path: Path) -> None:
    """If this failed, `--persona al` would read a stray file, or the user's own would not win."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    written(theirs, "al.toml", 'system = "shipped"')
    written(theirs, "mr.smith.toml", 'system = "dotted"')
    written(mine, "al.txt", "own text")
    assert find("al", mine, theirs).system == "own text"
    written(mine, "al.toml", 'system = "own"')
    assert find("al", mine, theirs).system == "own"
    assert find(str(theirs / "al.toml"), mine, theirs).system == "shipped"
    assert find("mr.smith", mine, theirs).system == "dotted"
    assert find("al", tmp_path / "absent", theirs).system == "shipped"


@pytest.mark.parametrize("name", ["all", "AL", "", ".", "..", "al.png", "a\0l", "x" * 300])
def test_no_such_persona(tmp_path: Path, name: str) -> None:
    """If this failed, a mistyped name would crash, or leave the user without a way on."""
    written(tmp_path, "al.toml", 'system = "x"')
    with pytest.raises(PersonaError, match="there is no persona") as caught:
        find(name, tmp_path, tmp_path)
    assert "hermes personas list" in caught.value.hint
    assert ("did you mean 'al'?" in caught.value.message) == (name in {"all", "AL", "a\0l"})


@pytest.mark.parametrize("name", ["nothere.toml", "./nothere.txt", "a\0/b.toml", "al/x.md"])
def test_no_such_file(tmp_path: Path, name: str) -> None:
    """If this failed, a mistyped path would be a traceback."""
    with pytest.raises(PersonaError):
        find(name, tmp_path, tmp_path)


def test_the_list_goes_on_past_a_broken_file(tmp_path: Path) -> None:
    """If this failed, one bad file would hide every other persona."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    written(theirs, "b.toml", 'system = "shipped"')
    written(theirs, "c.toml", 'system = "shipped"')
    written(mine, "b.md", "own")
    written(mine, "a.toml", "system = ")
    written(mine, ".hidden.toml", "")
    written(mine, "picture.png", b"\x89PNG")
    listed = list_all(mine, theirs)
    assert [(x.key, x.shipped, x.persona is not None) for x in listed] == [
        ("a", False, False),
        ("b", False, True),
        ("c", True, True),
    ]
    assert "line 1, column 10" in str(listed[0].error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('system = "x"\nname = Ed\n', "line 2, column 8"),
        ('system = "x', "line 1, column 12, the end of the file"),
        ('system = "x"\nsystem = "y"', "line 2, column 13"),
        ('system = "x"\ngreting = "y"', "no key 'greting'; did you mean 'greeting'?"),
        ('name = "x"', "no 'system'"),
        ('system = " \\n"', "'system' is empty"),
        ("system = 3", "'system' is a number; it takes a text"),
        ("system = true", "'system' is a boolean"),
        ("system = 1979-05-27", "'system' is a date or time"),
        ('system = "a\\u0000b"', "'system' holds a NUL"),
        ('system = "x"\nname = "a\\nb"', "'name' is more than one line"),
        ('system = "x"\nexamples = 3', "'examples' is a number"),
        ('system = "x"\nexamples = [3]', "example 1 is a number"),
        ('system = "x"\n[[examples]]\nuser = "a"', "example 1 has no 'assistant'"),
        ('system = "x"\n[[examples]]\nuser = "a"\nassitant = "b"', "did you mean 'assistant'?"),
        ('system = "x"\noptions = 3', "'options' is a number"),
        ('system = "x"\n[options]\ntemperature = 9', "temperature is 9; it can be 0 to 5"),
        ('system = "x"\n[options]\ntemprature = 1', "did you mean 'temperature'?"),
        ('system = "x"\n[options]\ntop_p = "high"', "top_p takes a number"),
        ('system = "x"\n[options]\ntop_p = nan', "top_p"),
        ('system = "x"\n[options]\ntop-p = 0.1\ntop_p = 0.2', "'top_p' is there twice"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = " + "1" * 5000, "a number is too long"),
        (".".join("a" * 100_000) + " = 1", "too many dots"),
        ("[" + "a." * 2000 + "a]\n" + "b=1\n" * 20_000, "too many dots"),
        (b'system = "\xff"', "not UTF-8: byte 10 is 0xff"),
        ('system = "x\0"', "NUL character at byte 11"),
        ("#" * (1 << 20) + "#", "larger than 1 MiB"),
    ],
)
def test_a_broken_file_is_explained(tmp_path: Path, content: str | bytes, said: str) -> None:
    """If this failed, somebody would search a persona file for a mistake that hermes had already found."""
    assert said in refused(written(tmp_path, "p.toml", content))


def test_what_is_no_ordinary_file_is_explained(tmp_path: Path) -> None:
    """If this failed, a folder would be a traceback and a pipe would hang the program."""
    (tmp_path / "f.toml").mkdir()
    assert "is a folder" in refused(tmp_path / "f.toml")
    os.mkfifo(tmp_path / "pipe.toml")
    assert "not an ordinary file" in refused(tmp_path / "pipe.toml")
    assert "no persona file by its name" in refused(written(tmp_path, "card.png", b""))
    assert "is empty" in refused(written(tmp_path, "p.txt", ""))
    (tmp_path / "loop.toml").symlink_to(tmp_path / "loop.toml")
    assert "cannot be read" in refused(tmp_path / "loop.toml")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_explained(tmp_path: Path) -> None:
    """If this failed, a file with wrong permissions would be a traceback."""
    path = written(tmp_path, "p.toml", 'system = "x"')
    path.chmod(0)
    assert "permissions" in refused(path)


SHARDS = st.sampled_from(
    [
        *("name", "system", "greeting", "user", "examples", "options", "temperature", "stop", "assistant"),
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
        *("1e999", "0x", "1979-05-27", 'system = "x"\n', "[options]\n", "[[examples]]\n", "é", "🙂"),
    ]
)
tomlish = st.one_of(
    st.lists(st.one_of(SHARDS, st.text(max_size=3)), max_size=25).map("".join),
    st.lists(SHARDS, max_size=12).map(lambda parts: 'system = "x"\n' + "".join(parts)),
)


@given(tomlish)
def test_any_text_is_a_persona_or_a_persona_error(text: str) -> None:
    """If this failed, a file from a stranger could crash hermes."""
    try:
        persona = parse(text, Path("p.toml"))
    except PersonaError:
        return
    assert isinstance(persona, Persona)
    assert persona.opening().system is not None


@given(st.one_of(st.binary(max_size=60), tomlish.map(lambda t: t.encode("utf-8", "surrogatepass"))))
def test_any_bytes_are_a_persona_or_a_persona_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """If this failed, a damaged download could crash hermes."""
    folder = tmp_path_factory.getbasetemp()
    for suffix in (".toml", ".txt"):
        try:
            load_file(written(folder, f"any{suffix}", data)).opening()
        except PersonaError as error:
            assert "any" in error.message  # noqa: PT017 - most of these files are broken, and some are not
