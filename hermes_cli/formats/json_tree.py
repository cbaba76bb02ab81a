"""The lossless JSON format of hermes: whole trees, with states, models, options, token counts, times and ids.

Importing an export and exporting it again gives the same bytes. Each message is on one line, so that errors
can name a line and files can be compared. Message ids start at 1 in each conversation, and a parent comes
before its children.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from hermes_cli.errors import FormatError
from hermes_cli.formats import members_json
from hermes_cli.formats.json_text import dump, parse
from hermes_cli.formats.transcript import ELSEWHERE, Transcript
from hermes_cli.messages import Message, Role, TurnIds
from hermes_cli.store.records import LAST_TIME, SavedSettings, StoredConversation, bounded_variables
from hermes_cli.tree import GenerationRecord, MessageState, Node
from hermes_cli.untrusted.value import Value

FROM_A_FILE: Final = "from a file: "
"""Prefix for the vocabulary name of token ids that were read from a file. No engine has such a vocabulary, so
engines encode the text again. Otherwise, a file could show one text to the user and another to the model."""
KEY: Final = "hermes_conversations"
"""The first key of a file. Its value is the version of the format."""
VERSION: Final = 1
_LAST_TOKEN: Final = 2**32 - 1
MAX_DEPTH: Final = 999


def write(transcripts: Sequence[Transcript]) -> str:
    """Return the conversations as one JSON object."""
    body = ",\n".join(_written(transcript) for transcript in transcripts)
    return f'{{"{KEY}": {VERSION}, "conversations": [\n{body}\n]}}\n'


def _written(transcript: Transcript) -> str:
    conversation = transcript.conversation
    head = dump(
        {
            "title": conversation.title,
            "is_named": conversation.is_named,
            "persona": conversation.persona,
            "created": conversation.created,
            "updated": conversation.updated,
            "opening": [{"role": turn.role, "text": turn.text} for turn in conversation.opening],
            "leaf": transcript.tree.cursor,
            "setting": _setting_json(conversation.setting),
        }
    )
    messages = ",\n".join(dump(_message(stored)) for stored in transcript.tree.nodes)
    return f'{head[:-1]}, "messages": [\n{messages}\n]}}'


def _setting_json(setting: SavedSettings) -> dict[str, Any]:
    return {
        "user": setting.user,
        "seed": setting.seed,
        "note": setting.note,
        "note_depth": setting.note_depth,
        "summaries": [{"through": through, "text": text} for through, text in setting.summaries],
        "lore_off": list(setting.lore_off),
        "character_at": setting.character_at,
        "about_user": setting.about_user,
        "variables": dict(setting.variables),
        "character": setting.character,
        "others": [members_json.to_json(member) for member in setting.others],
    }


def _message(stored: Node) -> dict[str, Any]:
    generation = stored.generation
    ids = generation.turn_ids
    return {
        "id": stored.id,
        "parent": stored.parent,
        "role": stored.role,
        "text": stored.text,
        "state": stored.state,
        "created": stored.created,
        "is_hidden": stored.is_hidden,
        "speaker": stored.speaker,
        **{name: getattr(generation, name) for name in _RECORD_FIELDS},
        "reasoning": generation.reasoning,
        "options": dict(generation.options),
        "turn_ids": None
        if ids is None
        else {
            "vocabulary": ids.vocabulary.removeprefix(FROM_A_FILE),
            "ids": ids.ids,
            "is_named": ids.is_named,
        },
    }


def read(text: str) -> list[Transcript]:
    """Parse JSON text in this format. Raises FormatError if it is invalid."""
    root = parse(text)
    if root[KEY].integer() > VERSION:
        raise FormatError(
            f"was written by a newer hermes (format {root[KEY].value}; this one reads {VERSION})", 1
        )
    transcripts = [_conversation(node) for node in root["conversations"].items()]
    if not transcripts:
        root["conversations"].reject("has no conversation")
    return transcripts


def _conversation(node: Value) -> Transcript:
    messages, seen = list[Node](), set[int]()
    for message in node["messages"].items():
        stored = _stored(message, seen)
        messages.append(stored)
        seen.add(stored.id)
    opening = [Message(turn["role"].one_of(Role), turn["text"].text()) for turn in node["opening"].items()]
    roots = [message for message in messages if message.parent is None]
    if len({root.role for root in roots}) > 1:  # only a greeting may come before the user's first turn
        node["messages"].reject("has first turns of both the user and the assistant")
    conversation = StoredConversation(
        ELSEWHERE,
        node["title"].text(),
        node["is_named"].boolean(),
        _persona(node["persona"]),
        tuple(opening),
        node["created"].number(0, LAST_TIME),
        node["updated"].number(0, LAST_TIME),
        _earlier_id(node["leaf"], seen),
        setting=_setting(node.get("setting"), seen),
    )
    return Transcript.of(conversation, messages)


def _setting(node: Value, seen: set[int]) -> SavedSettings:
    """Return the settings of a conversation. A file of an earlier version has none, and gets the defaults."""
    summaries = tuple(
        (_earlier_id(summary["through"], seen) or 0, summary["text"].text())
        for summary in node.get("summaries").items()
    )
    return SavedSettings(
        node.get("user").text(),
        node.get("seed").integer_or_none(),
        node.get("note").text(),
        node.get("note_depth").integer(high=MAX_DEPTH),
        summaries,
        tuple(title.text() for title in node.get("lore_off").items()),
        node.get("character_at").integer(),
        node.get("about_user").text(),
        _variables(node.get("variables")),
        character=members_json.name(node.get("character")),
        others=tuple(map(members_json.from_json, node.get("others").items())),
    )


def _variables(node: Value) -> tuple[tuple[str, str], ...]:
    return bounded_variables(
        (node.policy.clean((*node.path, key), key), node[key].text()) for key in node.table().value
    )


def _persona(node: Value) -> str:
    if "/" in node.text():  # a resumed conversation loads the persona by this name
        node.reject("is a path, not the name of a persona")
    return node.text()


def _earlier_id(node: Value, seen: set[int]) -> int | None:
    """Return the id of an earlier message, or None for null. Raises FormatError for an unknown id."""
    if node.value is None:
        return None
    if node.integer() not in seen:
        node.reject(f"is {node.value}, but no earlier message has this id")
    return node.integer()


def _stored(node: Value, seen: set[int]) -> Node:
    number = node["id"].integer(1)
    if number in seen:
        node["id"].reject(f"is {number}, but an earlier message has this id")
    values = {name: read_value(node[name]) for name, read_value in _RECORD_FIELDS.items()}
    record = GenerationRecord(**values, reasoning=node.get("reasoning").text())
    parent, role = _earlier_id(node["parent"], seen), node["role"].one_of(Role)
    if parent is None and role is Role.SYSTEM:
        node["role"].reject("is 'system' at the root of a tree; system messages belong in the opening")
    return Node(
        number,
        parent,
        role,
        node["text"].text(),
        node["state"].one_of(MessageState),
        node["created"].number(0, LAST_TIME),
        record,
        is_hidden=node.get("is_hidden").boolean(),
        speaker=members_json.name(node.get("speaker")),
    )


def _options(node: Value) -> dict[str, Any]:
    return {node.policy.clean((*node.path, key), key): _option(node[key]) for key in node.table().value}


def _option(node: Value) -> Any:
    """Return the value of an option: null, a boolean, a number, a string, or a list of these."""
    return [_scalar(item) for item in node.items()] if isinstance(node.value, list) else _scalar(node)


def _scalar(node: Value) -> Any:
    if isinstance(node.value, str):
        return node.text()
    if not isinstance(node.value, bool | int | float | None):
        node.reject("is not an option value")
    return node.value


def _turn_ids(node: Value) -> TurnIds | None:
    if node.value is None:
        return None
    vocabulary = node["vocabulary"].text()
    if not vocabulary:
        node["vocabulary"].reject("is empty, so the ids have no vocabulary")
    ids, is_named = node["ids"], node.get("is_named").boolean()
    if isinstance(ids.value, list) and all(
        type(token_id) is int and 0 <= token_id <= _LAST_TOKEN for token_id in ids.value
    ):
        return TurnIds(FROM_A_FILE + vocabulary, tuple(ids.value), is_named)
    checked = tuple(token_id.integer(0, _LAST_TOKEN) for token_id in ids.items())
    return TurnIds(FROM_A_FILE + vocabulary, checked, is_named)


def _seconds(node: Value) -> float:
    return node.number(0, LAST_TIME)


_RECORD_FIELDS: Final[dict[str, Callable[[Value], Any]]] = {
    "model": Value.text,
    "precision": Value.text,
    "options": _options,
    "prompt_tokens": Value.integer,
    "completion_tokens": Value.integer,
    "cached_tokens": Value.integer,
    "prefill_s": _seconds,
    "decode_s": _seconds,
    "turn_ids": _turn_ids,
}
"""The fields of GenerationRecord in the order of the file, and the functions that read them."""
