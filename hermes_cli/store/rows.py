"""Converts messages and conversations to and from database rows.

The file may be damaged or from someone else, so each value is checked when a row is read.
"""

import array
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from hermes_cli.errors import StoreDamaged
from hermes_cli.messages import Message, Role, TurnIds
from hermes_cli.store.database import RESCUE
from hermes_cli.store.records import (
    LAST_TIME,
    SavedMember,
    SavedSettings,
    SearchHit,
    StoredConversation,
    bounded_variables,
)
from hermes_cli.tree import GenerationRecord, MessageState, Node
from hermes_cli.untrusted.json_parser import JsonLimits, parse_text
from hermes_cli.untrusted.source import Source
from hermes_cli.untrusted.value import MAX_INTEGER, Policy, Value, ValuePath

T = TypeVar("T")
_Kind = tuple[tuple[type, ...], float | None, float]
"""The types that SQLite can return for a column, and the range of a number."""
_TEXT: Final[_Kind] = (str,), None, 0
_BLOB: Final[_Kind] = (bytes,), None, 0
_INTEGER: Final[_Kind] = (int,), None, 0
_OPTIONAL_INTEGER: Final[_Kind] = (int, type(None)), None, 0
_COUNT: Final[_Kind] = (int,), 0, MAX_INTEGER
_SECONDS: Final[_Kind] = (float,), 0, LAST_TIME

MESSAGE_COLUMNS: Final = {
    "id": _INTEGER,
    "conversation": _INTEGER,
    "parent": _OPTIONAL_INTEGER,
    "role": _TEXT,
    "text": _TEXT,
    "state": _TEXT,
    "created": _SECONDS,
    "model": _TEXT,
    "precision": _TEXT,
    "options": _TEXT,
    "prompt_tokens": _COUNT,
    "completion_tokens": _COUNT,
    "cached_tokens": _COUNT,
    "prefill_s": _SECONDS,
    "decode_s": _SECONDS,
    "vocabulary": _TEXT,
    "token_ids": _BLOB,
    "is_named": _INTEGER,
    "reasoning": _TEXT,
    "is_hidden": _INTEGER,
    "speaker": _TEXT,
}
MESSAGE: Final = ", ".join(MESSAGE_COLUMNS)
CONVERSATION_COLUMNS: Final = {
    "id": _INTEGER,
    "title": _TEXT,
    "is_named": _INTEGER,
    "persona": _TEXT,
    "opening": _TEXT,
    "created": _SECONDS,
    "updated": _SECONDS,
    "leaf": _OPTIONAL_INTEGER,
    "count": _COUNT,
    "model": _TEXT,
    "setting": _TEXT,
}
CONVERSATION: Final = (
    "c.id, c.title, c.is_named, c.persona, c.opening, c.created, c.updated, c.leaf, "
    "(WITH RECURSIVE path (id) AS (VALUES (c.leaf) UNION ALL "
    "SELECT m.parent FROM messages m JOIN path USING (id) WHERE m.parent < m.id) "
    "SELECT count(id) FROM path), "
    "coalesce((SELECT m.model FROM messages m WHERE m.conversation = c.id AND m.model <> '' "
    "ORDER BY m.id DESC LIMIT 1), ''), c.setting"
)
_HIT_COLUMNS: Final = {
    "conversation": _INTEGER,
    "title": _TEXT,
    "message": _INTEGER,
    "role": _TEXT,
    "excerpt": _TEXT,
    "created": _SECONDS,
    "model": _TEXT,
}
ADD_MESSAGE: Final = f"INSERT INTO messages ({MESSAGE}) VALUES (NULL{', ?' * 20})"  # noqa: S608 - only constants
"""Inserts a message. Values: conversation, parent, role, text, state, created, generation_row, is_hidden,
speaker."""
GENERATION_COLUMNS: Final = tuple(MESSAGE_COLUMNS)[7:-2]
"""The columns of generation_row."""
_LIMITS: Final = JsonLimits(size=sys.maxsize)


def opening_text(opening: Sequence[Message]) -> str:
    """Return an opening as JSON."""
    return json.dumps([[message.role, message.text] for message in opening], ensure_ascii=False)


def generation_row(record: GenerationRecord) -> tuple[Any, ...]:
    """Return the column values of a GenerationRecord. Token ids are little-endian 32-bit integers."""
    ids = array.array("I", record.turn_ids.ids if record.turn_ids else ())
    if sys.byteorder == "big":
        ids.byteswap()
    return (
        record.model,
        record.precision,
        json.dumps(dict(record.options), ensure_ascii=False),
        record.prompt_tokens,
        record.completion_tokens,
        record.cached_tokens,
        record.prefill_s,
        record.decode_s,
        record.turn_ids.vocabulary if record.turn_ids else "",
        ids.tobytes(),
        record.turn_ids is not None and record.turn_ids.is_named,
        record.reasoning,
    )


class _JsonPolicy(Policy):
    """Raises StoreDamaged, with the place in the column, for a value in JSON that is not allowed there."""

    def reject(self, path: ValuePath, reason: str, hint: str = "") -> None:  # noqa: ARG002 - the base's signature
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
        raise StoreDamaged(f"{name.removeprefix('.')} {reason}", RESCUE)


def _json(column: str, text: str) -> Value:
    """Parse a column that contains JSON. Raises StoreDamaged."""
    return Value(parse_text(text, Source(column, StoreDamaged), _LIMITS), _JsonPolicy(), (column,))


def _checked(
    noun: str, columns: Mapping[str, _Kind], make: Callable[[tuple[Any, ...]], T]
) -> Callable[[tuple[Any, ...]], T]:
    """Return `make` with a check of the values of its row.

    The function raises StoreDamaged, with `noun` and the row's id, if a value is not allowed in its column.
    """

    def checked(row: tuple[Any, ...]) -> T:
        try:
            _check_kinds(row, columns)
            return make(row)
        except (StoreDamaged, ValueError) as error:
            number = row[0] if isinstance(row[0], int) else "with an invalid id"
            raise StoreDamaged(f"{noun} {number} is damaged: {error}", RESCUE) from None

    return checked


def _check_kinds(row: tuple[Any, ...], columns: Mapping[str, _Kind]) -> None:
    for value, (name, (types, low, high)) in zip(row, columns.items(), strict=True):
        if type(value) not in types:
            raise StoreDamaged(f"{name} is of the type {type(value).__name__}")
        if low is not None and not low <= value <= high:
            raise StoreDamaged(f"{name} is out of range")


def _message(row: tuple[Any, ...]) -> Node:
    number, _conversation, parent, role, text, state, created, *rest = row
    model, precision, options, prompt, completion, cached, *rest = rest
    prefill_s, decode_s, vocabulary, token_ids, is_named, reasoning, is_hidden, speaker = rest
    ids = array.array("I", token_ids)
    if sys.byteorder == "big":
        ids.byteswap()
    turn_ids = TurnIds(vocabulary, tuple(ids), bool(is_named)) if vocabulary else None
    loaded_options = _json("options", options).table().value
    record = GenerationRecord(
        model, precision, loaded_options, prompt, completion, cached, prefill_s, decode_s, turn_ids, reasoning
    )
    hidden = bool(is_hidden)
    return Node(number, parent, Role(role), text, MessageState(state), created, record, hidden, speaker)


def _conversation(row: tuple[Any, ...]) -> StoredConversation:
    number, title, is_named, persona, opening, created, updated, leaf, count, model, setting = row
    return StoredConversation(
        number,
        title,
        bool(is_named),
        persona,
        tuple(Message(role.one_of(Role), text.text()) for role, text in _pairs(_json("opening", opening))),
        created,
        updated,
        leaf,
        count,
        model,
        _settings(_json("setting", setting).table()),
    )


def _pairs(value: Value) -> Iterator[list[Value]]:
    for item in value.items():
        pair = item.items()
        if len(pair) != 2:  # noqa: PLR2004 - a pair
            item.reject("is not a list of two values")
        yield pair


def settings_text(setting: SavedSettings) -> str:
    """Return the settings of a conversation as JSON."""
    others = [other._asdict() for other in setting.others]
    return json.dumps({**setting._asdict(), "others": others}, ensure_ascii=False)


def _settings(table: Value) -> SavedSettings:
    """Return the settings of a conversation. A row of an earlier version has none, and gets the defaults."""
    table.refuse_unknown(SavedSettings._fields)
    return SavedSettings(
        table.get("user").text(),
        table.get("seed").integer_or_none(),
        table.get("note").text(),
        table.get("note_depth").integer(),
        tuple((number.integer(), text.text()) for number, text in _pairs(table.get("summaries"))),
        table.get("lore_off").texts(),
        table.get("character_at").integer(),
        table.get("about_user").text(),
        bounded_variables((name.text(), text.text()) for name, text in _pairs(table.get("variables"))),
        table.get("persona_file").text(),
        table.get("character").text(),
        tuple(map(_member, table.get("others").items())),
        table.get("server").text(),
    )


def _member(value: Value) -> SavedMember:
    examples = tuple((role.one_of(Role).value, text.text()) for role, text in _pairs(value.get("examples")))
    system = None if value.get("system").value is None else value.get("system").text()
    at, file = value.get("character_at").integer(), value.get("persona_file").text()
    return SavedMember(value.get("persona").text(), value.get("name").text(), system, examples, at, file)


def _hit(row: tuple[Any, ...]) -> SearchHit:
    conversation, title, message, role, *rest = row
    return SearchHit(conversation, title, message, Role(role), *rest)


message_of: Final = _checked("message", MESSAGE_COLUMNS, _message)
"""Converts a row with the columns MESSAGE to a message. Raises StoreDamaged."""
conversation_of: Final = _checked("conversation", CONVERSATION_COLUMNS, _conversation)
"""Converts a row with the columns CONVERSATION to a conversation. Raises StoreDamaged."""
hit_of: Final = _checked("conversation", _HIT_COLUMNS, _hit)
"""Converts a row with the fields of a SearchHit. Raises StoreDamaged."""
id_and_title: Final = _checked("conversation", {"id": _INTEGER, "title": _TEXT}, tuple)
"""Checks an id and a title. Raises StoreDamaged."""
