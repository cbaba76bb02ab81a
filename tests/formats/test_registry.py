"""Tests of the table of formats: detection, file names, and errors instead of crashes."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_cli.errors import FormatError, UsageError
from hermes_cli.formats import json_tree, registry
from hermes_cli.formats.transcript import Transcript, linear
from hermes_cli.messages import Message, Role
from hermes_cli.store.records import SavedSettings
from tests.formats.trees import alchemy, trees

SAMPLES = {file_format.name: registry.write(file_format, [alchemy()]) for file_format in registry.FORMATS}
formats = pytest.mark.parametrize("file_format", registry.FORMATS, ids=lambda file_format: file_format.name)


@formats
def test_the_format_is_detected_by_the_content(file_format: registry.ConversationFormat) -> None:
    """The format of a file is detected by its content, also after a byte order mark."""
    for data in (SAMPLES[file_format.name].encode(), b"\xef\xbb\xbf" + SAMPLES[file_format.name].encode()):
        transcripts, detected, reason = registry.read(data, "file.bin")
        assert (detected, reason) == (file_format, file_format.sign)
        assert transcripts[0].turns == alchemy().turns


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chat.md", "markdown"),
        ("CHAT.JSON", "json"),
        ("a.fastchat.json", "fastchat"),
        ("a.sharegpt.jsonl", "sharegpt"),
        ("a.openai.jsonl", "openai"),
        ("a.sillytavern.jsonl", "sillytavern"),
        ("a.chatml", "chatml"),
    ],
)
def test_the_ending_of_a_file_name_selects_the_format(name: str, expected: str) -> None:
    """The ending of a file name selects the format, in any case."""
    selected = registry.by_ending(name)
    assert selected is not None
    assert selected.name == expected


def test_an_ambiguous_ending_is_refused() -> None:
    """An ending of several formats is refused with their names, and an unknown one selects none."""
    with pytest.raises(UsageError, match="can be sillytavern or sharegpt or openai"):
        registry.by_ending("chat.jsonl")
    assert registry.by_ending("chat.txt") is None
    assert registry.by_ending("") is None


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"", 1, "is in no format"),
        (b"Dear diary", 1, "is in no format"),
        (b'{"a": 1}', 1, "is in no format"),
        (b'[{"conversations": []}]', 1, "is in no format"),
        (b'{"messages": []}\n\n{"messages": "caf\xe9"}', 3, "is not UTF-8: byte 35 is 0xe9"),
        (b"\xef\xbb\xbf<|im_start|>user\n\xff", 2, "is not UTF-8: byte 20 is 0xff"),
        (b'{"messages": [{"role": "user", "content": "x"}]}\n{"mess', 2, "is not JSON"),
        (b"\xff\xfe{\0\n", 1, "is not UTF-8"),
    ],
)
def test_data_in_no_format_is_refused_with_its_line(data: bytes, line: int, reason: str) -> None:
    """Data in no format is refused with the file name, the line and the reason."""
    with pytest.raises(FormatError, match=reason) as caught:
        registry.read(data, "some.file")
    assert caught.value.message.startswith(f"some.file, line {line}: ")


def test_data_over_64_mib_is_refused() -> None:
    """Data over 64 MiB is refused."""
    with pytest.raises(FormatError, match="larger than 64 MiB"):
        registry.read(b" " * (registry.MAX_BYTES + 1), "x")


def test_the_ending_selects_the_format_if_the_content_fits_none() -> None:
    """If the content fits no format, the file's ending selects the format whose error is reported."""
    with pytest.raises(FormatError, match="line 1: is not JSON"):
        registry.read(b"[", "chat.json")
    with pytest.raises(FormatError, match="not Markdown that hermes wrote"):
        registry.read(b"# My chat", "chat.md")


def test_several_conversations_are_refused_if_a_format_holds_one() -> None:
    """Several conversations, or one without a turn, are refused in a format that holds one."""
    with pytest.raises(UsageError, match="markdown can hold one conversation, not 2"):
        registry.write(registry.MARKDOWN, [alchemy(), alchemy()])
    undone = linear([])
    with pytest.raises(FormatError, match="its first turn was undone"):
        registry.write(registry.MARKDOWN, [undone])
    assert registry.write(registry.NAMES["json"], [undone])


def test_the_remark_names_what_an_export_leaves_out() -> None:
    """The remark names what an export leaves out, and the format that holds it."""
    assert (
        registry.remark(registry.MARKDOWN, [alchemy()]) == "markdown, without other branches (json has them)"
    )
    assert registry.remark(registry.NAMES["json"], [alchemy()]) == "json"


def test_the_remark_names_settings_that_only_json_keeps() -> None:
    """The remark names summaries, which no format but json keeps, and a note, which sillytavern keeps too."""
    plain = linear([Message(Role.USER, "Hi")])
    setting = SavedSettings(user="Ann", seed=1, note="Be brief.", summaries=((1, "They met."),))
    noted = replace(plain, conversation=plain.conversation._replace(setting=setting))
    for file_format in registry.FORMATS:
        parts = {"json": "", "sillytavern": "summaries"}.get(file_format.name, "the note and summaries")
        omitted = f", without {parts} (json has them)" if parts else ""
        assert registry.remark(file_format, [noted]) == file_format.name + omitted
        assert registry.remark(file_format, [plain]) == file_format.name


@formats
@given(st.data())
@settings(max_examples=120, deadline=None)
def test_a_damaged_file_is_read_or_gives_a_format_error(
    file_format: registry.ConversationFormat, data: st.DataObject
) -> None:
    """Any damage to a file gives a FormatError with a line, or conversations that can be written."""
    raw = bytearray(SAMPLES[file_format.name].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(raw)))
        length = data.draw(st.integers(0, 12))
        inserted = data.draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from(
                    [
                        b'"',
                        b"{",
                        b"]",
                        b",",
                        b"\n",
                        b"null",
                        b"-1",
                        b"1e999",
                        b"\\ud800",
                        b"[" * 5000,
                        b"9" * 5000,
                        b"true",
                    ]
                ),
                st.just(bytes(raw[length : length + 30])),
            )
        )
        raw[position : position + length] = inserted
    for requested in (file_format, None):
        message, transcripts = "x, line ", list[Transcript]()
        try:
            transcripts, _, _ = registry.read(bytes(raw), "x", requested)
        except FormatError as error:
            message = error.message
        assert message.startswith(("x, line ", "x: is not UTF-8"))
        for transcript in transcripts:
            assert json_tree.write([transcript]).encode()
            assert transcript.tree.path or transcript.conversation.leaf is None


@given(trees(least=1))
@settings(max_examples=40, deadline=None)
def test_a_file_of_any_format_is_detected_as_that_format(transcript: Transcript) -> None:
    """A file of any format is detected as that format, whatever its texts."""
    for file_format in registry.FORMATS:
        try:
            text = registry.write(file_format, [transcript])
        except FormatError:
            continue
        assert registry.detect(text, "")[0] is file_format


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_lines_of_imported_messages_end_with_a_line_feed(end: str) -> None:
    """CR LF and CR become LF, except in a file of hermes' own format, which is exact."""
    text = json.dumps(
        {"messages": [{"role": "system", "content": f"s{end}t"}, {"role": "user", "content": f"a{end}b"}]}
    )
    (read,), _, _ = registry.read(text.encode(), "a.jsonl")
    assert [turn.text for turn in read.turns] == ["s\nt", "a\nb"]
    exact = linear([Message(Role.USER, f"a{end}b")])
    (again,), _, _ = registry.read(registry.write(registry.NAMES["json"], [exact]).encode(), "a.json")
    assert [turn.text for turn in again.turns] == [f"a{end}b"]
