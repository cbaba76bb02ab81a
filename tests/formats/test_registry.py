"""Tests of the table of formats: detection, file names, and errors instead of crashes."""

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

SAMPLES = {known.name: registry.write(known, [alchemy()]) for known in registry.FORMATS}
formats = pytest.mark.parametrize("known", registry.FORMATS, ids=lambda known: known.name)


@formats
def test_a_file_is_known_by_its_content(known: registry.ConversationFormat) -> None:
    """The format of a file is detected by its content, also after a byte order mark."""
    for data in (SAMPLES[known.name].encode(), b"\xef\xbb\xbf" + SAMPLES[known.name].encode()):
        found, kind, reason = registry.read(data, "file.bin")
        assert (kind, reason) == (known, known.sign)
        assert found[0].turns == alchemy().turns


@pytest.mark.parametrize(
    ("name", "wanted"),
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
def test_a_name_asks_for_a_format(name: str, wanted: str) -> None:
    """The ending of a file name selects the format, in any case."""
    found = registry.by_ending(name)
    assert found is not None
    assert found.name == wanted


def test_a_name_that_may_mean_several_is_refused() -> None:
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
        (b"\xff\xfe{\0", 1, "is not UTF-8"),
    ],
)
def test_what_is_in_none_is_said_with_its_line(data: bytes, line: int, reason: str) -> None:
    """Data in no format is refused with the file name, the line and the reason."""
    with pytest.raises(FormatError, match=reason) as caught:
        registry.read(data, "some.file")
    assert caught.value.message.startswith(f"some.file, line {line}: ")


def test_a_file_without_end_is_not_read() -> None:
    """Data over 64 MiB is refused."""
    with pytest.raises(FormatError, match="larger than 64 MiB"):
        registry.read(b" " * (registry.MAX_BYTES + 1), "x")


def test_an_ending_decides_where_nothing_else_does() -> None:
    """If the content fits no format, the file's ending selects the format whose error is reported."""
    with pytest.raises(FormatError, match="line 1: is not JSON"):
        registry.read(b"[", "chat.json")
    with pytest.raises(FormatError, match="not Markdown that hermes wrote"):
        registry.read(b"# My chat", "chat.md")


def test_one_conversation_a_file_where_a_format_holds_one() -> None:
    """Several conversations, or one without a turn, are refused in a format that holds one."""
    with pytest.raises(UsageError, match="markdown can hold one conversation, not 2"):
        registry.write(registry.MARKDOWN, [alchemy(), alchemy()])
    undone = linear([])
    with pytest.raises(FormatError, match="its first turn was undone"):
        registry.write(registry.MARKDOWN, [undone])
    assert registry.write(registry.NAMES["json"], [undone])


def test_what_is_left_out_is_said() -> None:
    """The remark names what an export leaves out, and the format that holds it."""
    assert (
        registry.remark(registry.MARKDOWN, [alchemy()]) == "markdown, without other branches (json has them)"
    )
    assert registry.remark(registry.NAMES["json"], [alchemy()]) == "json"


def test_the_remark_counts_settings_that_only_json_has() -> None:
    """The remark names a note and summaries, which no format but json keeps."""
    plain = linear([Message(Role.USER, "Hi")])
    setting = SavedSettings(user="Ann", seed=1, note="Be brief.", summaries=((1, "They met."),))
    noted = replace(plain, conversation=replace(plain.conversation, setting=setting))
    for known in registry.FORMATS:
        omitted = "" if known.name == "json" else ", without the note and summaries (json has them)"
        assert registry.remark(known, [noted]) == known.name + omitted
        assert registry.remark(known, [plain]) == known.name


@formats
@given(st.data())
@settings(max_examples=120, deadline=None)
def test_no_bytes_are_a_crash(known: registry.ConversationFormat, data: st.DataObject) -> None:
    """Any damage to a file gives a FormatError with a line, or conversations that can be written."""
    raw = bytearray(SAMPLES[known.name].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        length = data.draw(st.integers(0, 12))
        put = data.draw(
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
        raw[at : at + length] = put
    for asked in (known, None):
        message, found = "x, line ", list[Transcript]()
        try:
            found, _, _ = registry.read(bytes(raw), "x", asked)
        except FormatError as error:
            message = error.message
        assert message.startswith("x, line ")
        for one in found:
            assert json_tree.write([one]).encode()
            assert one.tree.path or one.conversation.leaf is None


@given(trees(least=1))
@settings(max_examples=40, deadline=None)
def test_every_format_is_told_from_the_others(one: Transcript) -> None:
    """A file of any format is detected as that format, whatever its texts."""
    for known in registry.FORMATS:
        try:
            text = registry.write(known, [one])
        except FormatError:
            continue
        assert registry.detect(text, "")[0] is known
