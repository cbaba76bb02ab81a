"""The table of conversation formats, from which help, completion, detection and dispatch are generated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hermes_cli.chatml import IM_START
from hermes_cli.errors import FormatError, UsageError
from hermes_cli.formats import (
    chatml_text,
    fastchat,
    json_tree,
    markdown,
    openai_messages,
    sharegpt,
    sillytavern,
)
from hermes_cli.formats.json_text import first_keys
from hermes_cli.formats.transcript import Transcript

MAX_BYTES: Final = 64 << 20
"""The size limit of a file: more than any export needs, and small enough for memory."""


@dataclass(frozen=True, slots=True)
class ConversationFormat:
    """A format. `has_sign` detects it in a text and its top-level keys; `sign` describes that for the user.

    `several` is whether one file can hold more than one conversation. `leaves_out` describes the parts of a
    tree that the format cannot hold; it is empty if there are none.
    """

    name: str
    ending: str
    help: str
    write: Callable[[Sequence[Transcript]], str]
    read: Callable[[str], list[Transcript]]
    sign: str
    has_sign: Callable[[str, set[str]], bool]
    several: bool = False
    leaves_out: str = "what is not visible"


def _one(write: Callable[[Transcript], str]) -> Callable[[Sequence[Transcript]], str]:
    def write_one(transcripts: Sequence[Transcript]) -> str:
        (transcript,) = transcripts
        return write(transcript)

    return write_one


def _key(*wanted: str) -> Callable[[str, set[str]], bool]:
    return lambda _text, keys: not keys.isdisjoint(wanted)


FORMATS: Final = (
    ConversationFormat(
        "markdown",
        ".md",
        "To read; hermes reads its own back.",
        _one(markdown.write),
        markdown.read,
        f"it begins with {markdown.BEGIN}",
        lambda text, _keys: text.startswith(markdown.BEGIN),
    ),
    ConversationFormat(
        "json",
        ".json",
        "Everything: the whole tree, exactly as it is.",
        json_tree.write,
        json_tree.read,
        f"it has the key {json_tree.KEY}",
        _key(json_tree.KEY),
        several=True,
        leaves_out="",
    ),
    ConversationFormat(
        "fastchat",
        ".fastchat.json",
        "What FastChat's !!save writes.",
        _one(fastchat.write),
        fastchat.read,
        "it has the key template_name",
        _key("template_name"),
    ),
    ConversationFormat(
        "sillytavern",
        ".sillytavern.jsonl",
        "SillyTavern's chat, with its swipes.",
        _one(sillytavern.write),
        sillytavern.read,
        "its first line is a chat's header",
        _key(*sillytavern.HEADER),
        leaves_out="branches other than swipes",
    ),
    ConversationFormat(
        "sharegpt",
        ".sharegpt.jsonl",
        "ShareGPT JSONL, for training.",
        sharegpt.write,
        sharegpt.read,
        "its first line has the key conversations",
        _key("conversations"),
        several=True,
    ),
    ConversationFormat(
        "openai",
        ".openai.jsonl",
        "OpenAI messages JSONL, for APIs and training.",
        openai_messages.write,
        openai_messages.read,
        "its first line has the key messages",
        _key("messages"),
        several=True,
    ),
    ConversationFormat(
        "chatml",
        ".chatml",
        "Raw ChatML, as a prompt is written down.",
        _one(chatml_text.write),
        chatml_text.read,
        f"it begins with {IM_START}",
        lambda text, _keys: text.lstrip().startswith(IM_START),
    ),
)
NAMES: Final = {known.name: known for known in FORMATS}
MARKDOWN: Final = NAMES["markdown"]


def named(name: str) -> ConversationFormat:
    """Return the format with this name. Raises UsageError if there is none."""
    found = NAMES.get(name.lower())
    if found is None:
        raise UsageError(f"there is no format '{name}'", f"there are {', '.join(NAMES)}")
    return found


def by_ending(file_name: str) -> ConversationFormat | None:
    """Return the format for the ending of a file name, or None if no format has that ending.

    Raises UsageError if several formats have it.
    """
    name = file_name.lower()
    asked = [known for known in FORMATS if name.endswith(known.ending)]
    if asked:
        return max(asked, key=lambda known: len(known.ending))
    last = name.rpartition(".")[2]
    possible = [known.name for known in FORMATS if known.ending.endswith(f".{last}")] if "." in name else []
    if possible:
        raise UsageError(f".{last} may mean {' or '.join(possible)}", "name the format, too")
    return None


def write(known: ConversationFormat, transcripts: Sequence[Transcript]) -> str:
    """Return conversations as text in a format.

    Raises UsageError if the format holds one conversation and there are not exactly one, and FormatError if
    it cannot hold a conversation.
    """
    if len(transcripts) != 1 and not known.several:
        many = ", ".join(other.name for other in FORMATS if other.several)
        raise UsageError(
            f"{known.name} holds one conversation, and here are {len(transcripts)}",
            f"name one, or take a format that holds several: {many}",
        )
    for one in transcripts:
        if known.leaves_out and not one.path:
            raise FormatError(
                f"'{one.conversation.title}' stands before its first turn, so nothing of it is visible",
                hint="json holds the whole tree",
            )
    return known.write(transcripts)


def remark(known: ConversationFormat, transcripts: Sequence[Transcript]) -> str:
    """Return a description of an export for the user: the format, and the parts that it leaves out."""
    if known.leaves_out and any(len(one.messages) > len(one.path) for one in transcripts):
        return f"{known.name}, without {known.leaves_out} (json holds that, too)"
    return known.name


def read(
    data: bytes, where: str, known: ConversationFormat | None = None
) -> tuple[list[Transcript], ConversationFormat, str]:
    """Return the conversations in a file, its format, and the reason for choosing that format.

    `where` is the name of the file. Raises FormatError with file, line and reason.
    """
    try:
        text = _decode(data)
        known, reason = (known, "as was said") if known else detect(text, where)
        return known.read(text), known, reason
    except FormatError as error:
        raise FormatError(error.reason, error.line, where=where, hint=error.hint) from None


def detect(text: str, file_name: str) -> tuple[ConversationFormat, str]:
    """Return the format of a text, and the reason: a sign in the text, or else the ending of the file name.

    Raises FormatError if there is neither.
    """
    keys = first_keys(text)
    for known in FORMATS:
        if known.has_sign(text, keys):
            return known, known.sign
    try:
        asked = by_ending(file_name)
    except UsageError:
        asked = None
    if asked is None:
        raise FormatError(
            "is in none of the formats that hermes knows", 1, hint=f"they are {', '.join(NAMES)}"
        )
    return asked, f"its name ends in {asked.ending}"


def _decode(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise FormatError(f"is larger than {MAX_BYTES >> 20} MiB", hint="split it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # If there is a byte-order mark, the decoder counts from the byte after it.
        start = error.start + len(data) - len(error.object)
        raise FormatError(
            f"is not UTF-8: byte 0x{data[start]:02x}",
            data.count(b"\n", 0, start) + 1,
            hint="convert it first, for example with: iconv -f latin1 -t utf-8",
        ) from None


def format_and_file(argument: str) -> tuple[ConversationFormat, str]:
    """Return the format and the file name in an argument such as `json chat.json`; the name may be empty.

    Raises UsageError for an unknown format.
    """
    first, _, rest = argument.partition(" ")
    if known := NAMES.get(first.lower()):
        return known, rest.strip()
    if (
        argument and "." not in argument and "/" not in argument
    ):  # a misspelled format must not be a file name
        return named(first), ""
    return by_ending(argument) or MARKDOWN, argument
