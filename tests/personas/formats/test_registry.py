"""The formats: a file is recognised by its content, and every error is a PersonaError."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import registry
from hermes_cli.personas.persona import Persona
from tests.personas.formats.cards import CARD, V1, V2, V3, archive, persona, picture, refused, said, text
from tests.personas.formats.test_world import WORLD

FILES: dict[str, bytes] = {
    "v1": text(V1),
    "v2": text(V2),
    "v3": text(V3),
    "png": picture(said("chara", V2), said("ccv3", V3)),
    "charx": archive([("card.json", text(V3)), ("icon.png", b"theirs")]),
    "world": text(WORLD),
    "modelfile": b'FROM openhermes\nSYSTEM """You are Ada."""\nPARAMETER temperature 0.5\n',
    "aichat": b"---\nmodel: openhermes\ntemperature: 0.5\n---\nYou are Ada.\n",
    "llm": b"system: You are Ada.\nmodel: openhermes\n",
    "webui": b"name: Ada\ngreeting: Hello.\ncontext: A mathematician.\n",
    "lmstudio": text(
        {"name": "Ada", "operation": {"fields": [{"key": "llm.prediction.systemPrompt", "value": "Be Ada."}]}}
    ),
}


@pytest.mark.parametrize("kind", list(FILES))
def test_a_file_is_known_by_its_content(kind: str) -> None:
    """The content of a file determines its format, whatever its name."""
    assert registry.recognize(FILES[kind]) == kind
    found = registry.read(FILES[kind], CARD)
    assert found.kind == kind
    if kind == "world":
        assert found.lorebook
    else:
        assert found.persona
        assert (found.persona.kind, found.persona.source, found.persona.original) == (kind, CARD, CARD)


def test_a_file_of_several_formats_is_the_one_that_says_most() -> None:
    """A file that is both a webui character and a V1 card is read as the card."""
    old = {"char_name": "Ada", "char_persona": "exact"}
    assert registry.recognize(text(old)) == "webui"
    assert registry.recognize(text(old | V1)) == "v1"


@pytest.mark.parametrize(
    "data",
    [b"", b"   ", b"{}", b"[]", b'{"name": "Ada"}', b'{"spec": "other", "data": {}}', b"GIF89a", b"42"],
)
def test_what_is_in_no_format_is_refused(data: bytes) -> None:
    """A file in no known format is refused."""
    assert registry.recognize(data) == ""
    assert "in no format that hermes can read" in refused(data)


def test_a_damaged_file_is_of_no_kind() -> None:
    """A damaged file has no kind, and recognising it is not an error."""
    assert registry.recognize(b'{"name": ') == ""
    assert registry.recognize(b"\xff\xfe{") == ""


@pytest.mark.parametrize(
    ("fill", "kind"),
    [
        (lambda n: FILES["png"] + b"\0" * (n - len(FILES["png"])), "png"),
        (lambda n: b"a" * n, ""),
    ],
)
def test_a_file_larger_than_any_card_is_refused(fill: Callable[[int], bytes], kind: str) -> None:
    """A file larger than 20 MiB is refused."""
    assert registry.recognize(fill(20 << 20)) == kind
    assert "larger than 20 MiB" in refused(fill((20 << 20) + 1))


def test_only_what_hermes_can_write_is_written() -> None:
    """A format that hermes cannot write is refused."""
    with pytest.raises(PersonaError, match="there is no format 'world' to write"):
        registry.write(Persona("Ada", "", CARD), "world", None)


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind != "world"])
@pytest.mark.parametrize("wanted", registry.WRITABLE)
def test_every_kind_goes_into_every_kind_that_hermes_writes(kind: str, wanted: str) -> None:
    """A persona of any kind can be written in every writable format."""
    one = persona(FILES[kind])
    made = registry.write(one, wanted, FILES[kind])
    assert registry.recognize(made) == wanted
    if wanted != "modelfile":
        found = persona(made)
        assert (found.name, found.system) == (one.name, one.system)
        assert (found.character, found.greetings, found.options) == (
            one.character,
            one.greetings,
            one.options,
        )


@given(st.binary(max_size=300), st.sampled_from(["", *FILES]))
def test_any_bytes_are_read_or_refused(data: bytes, kind: str) -> None:
    """Any bytes are read as the recognised kind, or refused."""
    some = data if not kind else FILES[kind][:9] + data
    assert _read(some) in {"", registry.recognize(some)}


@settings(max_examples=300)
@given(st.sampled_from(list(FILES)), st.data())
def test_a_file_with_a_hole_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    """A damaged file is refused, or read, changed, written and read again."""
    whole = FILES[kind]
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 40)))
    some = whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:]
    assert _read(some) in {"", registry.recognize(some)}


def _read(data: bytes) -> str:
    """Return the kind of a file after a change and a second reading; nothing if it is refused."""
    try:
        found = registry.read(data, CARD)
    except PersonaError as error:
        assert str(CARD) in error.message  # noqa: PT017 - most bytes raise it
        return ""
    if found.persona and found.kind in registry.WRITABLE:
        changed = replace(found.persona, personality="other")
        try:
            written = registry.write(changed, found.kind, data)
        except PersonaError as error:
            assert "three quotes" in error.message  # noqa: PT017 - a text that no Modelfile can hold
            return ""
        again = registry.read(written, CARD)
        assert again.kind == found.kind
        assert again.persona
        said = again.persona.system if found.kind == "modelfile" else again.persona.personality
        assert said.endswith("other")
    return found.kind


def test_a_name_comes_from_the_file_where_the_card_has_none() -> None:
    """A card without a name is named after its file, and written back unchanged."""
    nameless = {key: value for key, value in V1.items() if key != "name"}
    found = registry.read(text(nameless), Path("some where/Ada  B.v1.json"))
    assert found.persona
    assert found.persona.name == "Ada B.v1"
    assert json.loads(registry.write(found.persona, "v1", text(nameless))) == nameless
