"""The formats: a file is recognised by its content, and every error is a PersonaError."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_cli.errors import PersonaError
from hermes_cli.personas import native, native_writer
from hermes_cli.personas.formats import registry
from hermes_cli.personas.persona import Persona
from tests.personas.formats.cards import (
    CARD,
    V1,
    V2,
    V3,
    archive,
    card_chunk,
    error_text,
    picture,
    read_persona,
    remarks,
    to_json,
    v2,
)
from tests.personas.formats.test_world import WORLD

FILES: dict[str, bytes] = {
    "v1": to_json(V1),
    "v2": to_json(V2),
    "v3": to_json(V3),
    "png": picture(card_chunk("chara", V2), card_chunk("ccv3", V3)),
    "charx": archive([("card.json", to_json(V3)), ("icon.png", b"theirs")]),
    "world": to_json(WORLD),
    "modelfile": b'FROM openhermes\nSYSTEM """You are Ada."""\nPARAMETER temperature 0.5\n',
    "aichat": b"---\nmodel: openhermes\ntemperature: 0.5\n---\nYou are Ada.\n",
    "llm": b"system: You are Ada.\nmodel: openhermes\n",
    "webui": b"name: Ada\ngreeting: Hello.\ncontext: A mathematician.\n",
    "lmstudio": to_json(
        {"name": "Ada", "operation": {"fields": [{"key": "llm.prediction.systemPrompt", "value": "Be Ada."}]}}
    ),
}


@pytest.mark.parametrize("kind", list(FILES))
def test_the_format_is_recognized_by_the_content(kind: str) -> None:
    """The content of a file determines its format, whatever its name."""
    result = registry.read(FILES[kind], CARD)
    assert result.kind == kind
    if kind == "world":
        assert result.lorebook
    else:
        assert result.persona
        assert (result.persona.kind, result.persona.source, result.persona.original) == (kind, CARD, CARD)


def test_a_file_that_fits_two_formats_is_read_as_the_card() -> None:
    """A file that is both a webui character and a V1 card is read as the card."""
    old = {"char_name": "Ada", "char_persona": "exact"}
    assert registry.read(to_json(old), CARD).kind == "webui"
    assert registry.read(to_json(old | V1), CARD).kind == "v1"


@pytest.mark.parametrize(
    "data",
    [b"", b"   ", b"{}", b"[]", b'{"name": "Ada"}', b'{"spec": "other", "data": {}}', b"GIF89a", b"42"],
)
def test_a_file_in_no_known_format_is_refused(data: bytes) -> None:
    """A file in no known format is refused."""
    assert "not in a format that hermes can read" in error_text(data)


def test_a_damaged_file_is_refused() -> None:
    """A file whose format cannot be recognized, because it is damaged, is refused with the reason."""
    assert "is not JSON" in error_text(b'{"name": ')
    assert "is not UTF-8" in error_text(b"\xff\xfe{")


def test_a_file_larger_than_20_mib_is_refused() -> None:
    """A file larger than 20 MiB is refused."""
    padding = b"\0" * ((20 << 20) - len(FILES["png"]))
    assert read_persona(FILES["png"] + padding).kind == "png"
    assert "not in a format" in error_text(b"a" * (20 << 20))
    for data in (FILES["png"] + padding, b"a" * (20 << 20)):
        assert "larger than 20 MiB" in error_text(data + b"\0")


def test_a_format_that_hermes_cannot_write_is_refused() -> None:
    """A format that hermes cannot write is refused."""
    with pytest.raises(PersonaError, match="there is no format 'world' to write"):
        registry.write(Persona("Ada", "", CARD), "world", None)


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind != "world"])
@pytest.mark.parametrize("target", registry.WRITABLE)
def test_a_persona_of_any_kind_can_be_written_in_every_writable_format(kind: str, target: str) -> None:
    """A persona of any kind can be written in every writable format."""
    original = read_persona(FILES[kind])
    written = registry.write(original, target, FILES[kind])
    assert read_persona(written).kind == target
    if target != "modelfile":
        reread = read_persona(written)
        assert (reread.name, reread.system) == (original.name, original.system)
        assert (reread.character, reread.greetings, reread.options) == (
            original.character,
            original.greetings,
            original.options,
        )


@given(st.binary(max_size=300), st.sampled_from(["", *FILES]))
def test_any_bytes_are_read_or_refused(data: bytes, kind: str) -> None:
    """Any bytes are refused, or read, changed, written and read again."""
    content = data if not kind else FILES[kind][:9] + data
    _read_twice(content)


@settings(max_examples=300)
@given(st.sampled_from(list(FILES)), st.data())
def test_a_damaged_file_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    """A damaged file is refused, or read, changed, written and read again."""
    content = FILES[kind]
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 40)))
    damaged = content[:start] + data.draw(st.binary(max_size=8)) + content[end:]
    _read_twice(damaged)


def _read_twice(data: bytes) -> None:
    """Read a file, change and write it, and read it again, unless it is refused."""
    try:
        result = registry.read(data, CARD)
    except PersonaError as error:
        assert str(CARD) in error.message  # noqa: PT017 - most bytes raise it
        return
    if result.persona and result.kind in registry.WRITABLE:
        changed = result.persona._replace(personality="other")
        try:
            written = registry.write(changed, result.kind, data)
        except PersonaError as error:
            assert "three quotes" in error.message  # noqa: PT017 - a text that no Modelfile can hold
            return
        reread = registry.read(written, CARD)
        assert reread.kind == result.kind
        assert reread.persona
        changed_text = reread.persona.system if result.kind == "modelfile" else reread.persona.personality
        assert changed_text.endswith("other")


def test_a_card_without_a_name_is_named_after_its_file() -> None:
    """A card without a name is named after its file, and written back unchanged."""
    nameless = {key: value for key, value in V1.items() if key != "name"}
    result = registry.read(to_json(nameless), Path("some where/Ada  B.v1.json"))
    assert result.persona
    assert result.persona.name == "Ada B.v1"
    assert json.loads(registry.write(result.persona, "v1", to_json(nameless))) == nameless


def test_unknown_macros_are_remarked_on() -> None:
    """An import reports the macros that stay in the texts, of the card and of its lorebook."""
    book = {"entries": [{"keys": ["a"], "content": "{{calc::1}} {{char}}"}]}
    document = v2(description="{{banned}}", character_book=book)
    assert "unknown macros are left in the texts: {{banned}}, {{calc}}" in remarks(document)
    assert "macros" not in remarks(v2())


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_every_line_ends_with_a_line_feed(end: str) -> None:
    """CR LF and CR become LF in the texts of a card and its lore, and an export has the original ones."""
    book = {"entries": [{"keys": ["tea"], "content": f"a{end}b", "enabled": True, "insertion_order": 1}]}
    document = v2(description=f"a{end}b", alternate_greetings=[f"a{end}{end}b"], character_book=book)
    persona = read_persona(to_json(document))
    assert (persona.character, persona.greetings[1]) == ("a\nb", "a\n\nb")
    assert persona.lorebook is not None
    assert persona.lorebook.entries[0].content == "a\nb"
    again = native.parse(native_writer.write(persona), CARD)
    assert registry.write(again, "v2", to_json(document)) == to_json(document)
    modelfile = f'FROM x{end}SYSTEM """a{end}b"""{end}'.encode()
    assert read_persona(modelfile).system == "a\nb"
