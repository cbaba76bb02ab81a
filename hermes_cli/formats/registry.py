"""The table of conversation formats. Help, completion, detection and dispatch are based on it."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from hermes_cli.errors import FormatError, UsageError
from hermes_cli.formats import (
    chatml_text,
    fastchat,
    json_tree,
    jsonl,
    markdown,
    sillytavern,
)
from hermes_cli.formats.json_text import LIMITS, ConversationText, first_keys
from hermes_cli.formats.transcript import Transcript
from hermes_cli.prompts.chatml import IM_START
from hermes_cli.untrusted.source import BOM, check_size, decode

MAX_BYTES: Final = LIMITS.size


class ConversationFormat(NamedTuple):
    """A format. `has_sign` detects it from a text and its top-level keys. `sign` describes the evidence.

    `several` is whether a file can contain more than one conversation. `leaves_out` describes the parts of a
    tree that the format cannot represent, and is empty if there are none. `has_note` is whether it can
    contain the user's note, and `marks_hidden` whether it marks messages that are hidden from the model.
    """

    name: str
    ending: str
    help: str
    write: Callable[[Sequence[Transcript]], str]
    read: Callable[[str], list[Transcript]]
    sign: str
    has_sign: Callable[[str, set[str]], bool]
    several: bool = False
    leaves_out: str = "other branches"
    has_note: bool = False
    marks_hidden: bool = False


def _one(write: Callable[[Transcript], str]) -> Callable[[Sequence[Transcript]], str]:
    def write_one(transcripts: Sequence[Transcript]) -> str:
        (transcript,) = transcripts
        return write(transcript)

    return write_one


def _has_any_key(*names: str) -> Callable[[str, set[str]], bool]:
    return lambda _text, keys: not keys.isdisjoint(names)


FORMATS: Final = (
    ConversationFormat(
        "markdown",
        ".md",
        "Markdown for reading, which hermes can import again.",
        _one(markdown.write),
        markdown.read,
        f"it begins with {markdown.BEGIN}",
        lambda text, _keys: text.startswith(markdown.BEGIN),
    ),
    ConversationFormat(
        "json",
        ".json",
        "The whole tree, without loss of data.",
        json_tree.write,
        json_tree.read,
        f"it has the key {json_tree.KEY}",
        _has_any_key(json_tree.KEY),
        several=True,
        leaves_out="",
        has_note=True,
        marks_hidden=True,
    ),
    ConversationFormat(
        "fastchat",
        ".fastchat.json",
        "The format of !!save in FastChat.",
        _one(fastchat.write),
        fastchat.read,
        "it has the key template_name",
        _has_any_key("template_name"),
    ),
    ConversationFormat(
        "sillytavern",
        ".sillytavern.jsonl",
        "SillyTavern chat, with its swipes.",
        _one(sillytavern.write),
        sillytavern.read,
        "its first line is the header of a chat, or a message",
        _has_any_key(*sillytavern.HEADER, sillytavern.TEXT),
        leaves_out="branches other than swipes",
        has_note=True,
        marks_hidden=True,
    ),
    ConversationFormat(
        "sharegpt",
        ".sharegpt.jsonl",
        "ShareGPT JSONL, for training.",
        jsonl.write_sharegpt,
        jsonl.read_sharegpt,
        "its first line has the key conversations",
        _has_any_key("conversations"),
        several=True,
    ),
    ConversationFormat(
        "openai",
        ".openai.jsonl",
        "OpenAI messages JSONL, for APIs and training.",
        jsonl.write_openai,
        jsonl.read_openai,
        "its first line has the key messages",
        _has_any_key("messages"),
        several=True,
    ),
    ConversationFormat(
        "chatml",
        ".chatml",
        "Raw ChatML, the text form of a prompt.",
        _one(chatml_text.write),
        chatml_text.read,
        f"it begins with {IM_START}",
        lambda text, _keys: text.lstrip().startswith(IM_START),
    ),
)
NAMES: Final = {file_format.name: file_format for file_format in FORMATS}
MARKDOWN: Final = NAMES["markdown"]
_NAMES_AND_ALIASES: Final = {**NAMES, "md": MARKDOWN}


def named(name: str) -> ConversationFormat:
    """Return the format with this name. Raises UsageError if there is none."""
    file_format = _NAMES_AND_ALIASES.get(name.lower())
    if file_format is None:
        raise UsageError(f"there is no format '{name}'", f"the formats are {', '.join(NAMES)}")
    return file_format


def by_ending(file_name: str) -> ConversationFormat | None:
    """Return the format that the extension of a file name selects, or None if it selects none.

    Raises UsageError if the extension fits several formats.
    """
    name = file_name.lower()
    matching = [file_format for file_format in FORMATS if name.endswith(file_format.ending)]
    if matching:
        return max(matching, key=lambda file_format: len(file_format.ending))
    _, dot, last = name.rpartition(".")
    possible = [other.name for other in FORMATS if dot and other.ending.endswith(f".{last}")]
    if possible:
        raise UsageError(f".{last} can be {' or '.join(possible)}", "specify the format, too")
    return None


def write(file_format: ConversationFormat, transcripts: Sequence[Transcript]) -> str:
    """Return the conversations as text in a format.

    Raises UsageError if the format can contain only one conversation and `transcripts` does not have exactly
    one, and FormatError if the format cannot represent a conversation.
    """
    if len(transcripts) != 1 and not file_format.several:
        names = ", ".join(other.name for other in FORMATS if other.several)
        raise UsageError(
            f"{file_format.name} can hold one conversation, not {len(transcripts)}",
            f"name one, or use a format that can hold several: {names}",
        )
    for transcript in transcripts:
        if file_format.leaves_out and not transcript.tree.path:
            raise FormatError(
                f"no turn of '{transcript.conversation.title}' is visible: its first turn was undone",
                hint="use json, which holds the whole tree",
            )
    return file_format.write(transcripts)


def remark(file_format: ConversationFormat, transcripts: Sequence[Transcript]) -> str:
    """Describe an export to the user: the format, and the parts of the conversations that it omits."""
    omitted = list[str]()
    if file_format.leaves_out and any(
        len(transcript.tree) > len(transcript.tree.path) for transcript in transcripts
    ):
        omitted.append(file_format.leaves_out)
    settings = [transcript.conversation.setting for transcript in transcripts if file_format.leaves_out]
    omitted += ["the note"] if not file_format.has_note and any(setting.note for setting in settings) else []
    omitted += ["summaries"] if any(setting.summaries for setting in settings) else []
    without = f", without {' and '.join(omitted)} (json has them)" if omitted else ""
    return "; ".join(filter(None, (f"{file_format.name}{without}", hidden_remark(file_format, transcripts))))


def hidden_remark(file_format: ConversationFormat, transcripts: Sequence[Transcript]) -> str:
    """Return the number of hidden messages that an export has as ordinary ones, or an empty string."""
    hidden = sum(node.is_hidden for transcript in transcripts for node in transcript.tree.path)
    if file_format.marks_hidden or not hidden:
        return ""
    count = "1 hidden message is" if hidden == 1 else f"{hidden:,} hidden messages are"
    return f"{count} not marked (json and sillytavern mark them)"


def read(
    data: bytes, where: str, file_format: ConversationFormat | None = None
) -> tuple[list[Transcript], ConversationFormat, str]:
    """Return the conversations in a file, its format, and the reason for choosing that format.

    `where` is the file name. Raises FormatError with the file name, the line and the reason.
    """
    try:
        source = ConversationText()
        text = decode(check_size(data, MAX_BYTES, source), source).removeprefix(BOM)
        file_format, reason = (file_format, "as requested") if file_format else detect(text, where)
        return _transcripts(text, file_format), file_format, reason
    except FormatError as error:
        raise FormatError(error.reason, error.line, where=where, hint=error.hint) from None


def _transcripts(text: str, file_format: ConversationFormat) -> list[Transcript]:
    transcripts = file_format.read(text)
    if not file_format.leaves_out:  # a format without loss keeps every character
        return transcripts
    return [transcript.with_line_feeds() for transcript in transcripts]


def detect(text: str, file_name: str) -> tuple[ConversationFormat, str]:
    """Return the format of a text and the reason: a sign in the text, or else the file extension.

    Raises FormatError if neither identifies a format.
    """
    keys = first_keys(text)
    for file_format in FORMATS:
        if file_format.has_sign(text, keys):
            return file_format, file_format.sign
    try:
        selected = by_ending(file_name)
    except UsageError:
        selected = None
    if selected is None:
        raise FormatError(
            "is in no format that hermes can read", 1, hint=f"the formats are {', '.join(NAMES)}"
        )
    return selected, f"its name ends in {selected.ending}"


def format_and_file(argument: str) -> tuple[ConversationFormat, str]:
    """Return the format and the file name in an argument such as `json chat.json`. The name may be empty.

    Raises UsageError for an unknown format.
    """
    first, _, rest = argument.partition(" ")
    if file_format := _NAMES_AND_ALIASES.get(first.lower()):
        return file_format, rest.strip()
    if (
        argument and "." not in argument and "/" not in argument
    ):  # a misspelled format must not become a file name
        return named(first), ""
    return by_ending(argument) or MARKDOWN, argument
