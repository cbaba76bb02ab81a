"""Converts messages and conversations to and from database rows."""

import array
import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hermes_cli.errors import StoreDamaged
from hermes_cli.messages import Message, Role, TurnIds
from hermes_cli.store.records import SavedSettings, StoredConversation
from hermes_cli.tree import GenerationRecord, MessageState, Node

T = TypeVar("T")
MESSAGE = (
    "id, conversation, parent, role, text, state, created, model, precision, options, prompt_tokens, "
    "completion_tokens, cached_tokens, prefill_s, decode_s, vocabulary, token_ids"
)
CONVERSATION = (
    "c.id, c.title, c.is_named, c.persona, c.opening, c.created, c.updated, c.leaf, "
    "(SELECT count(*) FROM messages m WHERE m.conversation = c.id), "
    "coalesce((SELECT m.model FROM messages m WHERE m.conversation = c.id AND m.model <> '' "
    "ORDER BY m.id DESC LIMIT 1), ''), c.setting"
)
ADD_MESSAGE = f"INSERT INTO messages ({MESSAGE}) VALUES (NULL{', ?' * 16})"  # noqa: S608 - only constants
"""Inserts a message. Values: conversation, parent, role, text, state, created, then generation_row."""


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
    )


def _checked(make: Callable[[tuple[Any, ...]], T]) -> Callable[[tuple[Any, ...]], T]:
    """Wrap `make` so that it raises StoreDamaged, with the row's id, for a row that it cannot convert."""

    @functools.wraps(make)
    def checked(row: tuple[Any, ...]) -> T:
        try:
            return make(row)
        except (ValueError, TypeError, RecursionError) as error:
            raise StoreDamaged(
                f"row {row[0]} of the conversation database is damaged: {error}",
                "'hermes sessions check --rescue' recovers what can be read",
            ) from error

    return checked


@_checked
def message_of(row: tuple[Any, ...]) -> Node:
    """Convert a row that has the columns in MESSAGE to a node. Raises StoreDamaged."""
    number, _conversation, parent, role, text, state, created, *rest = row
    model, precision, options, prompt, completion, cached, prefill_s, decode_s, vocabulary, blob = rest
    ids = array.array("I", blob)
    if sys.byteorder == "big":
        ids.byteswap()
    turn_ids = TurnIds(vocabulary, tuple(ids)) if vocabulary else None
    loaded_options = json.loads(options)
    record = GenerationRecord(
        model, precision, loaded_options, prompt, completion, cached, prefill_s, decode_s, turn_ids
    )
    return Node(number, parent, Role(role), text, MessageState(state), created, record)


@_checked
def conversation_of(row: tuple[Any, ...]) -> StoredConversation:
    """Convert a row that has the columns in CONVERSATION to a conversation. Raises StoreDamaged."""
    number, title, is_named, persona, opening, created, updated, leaf, count, model, setting = row
    messages = tuple(Message(Role(role), text) for role, text in json.loads(opening))
    return StoredConversation(
        number,
        title,
        bool(is_named),
        persona,
        messages,
        created,
        updated,
        leaf,
        count,
        model,
        _settings_of(setting),
    )


def settings_text(setting: SavedSettings) -> str:
    """Return the settings of a conversation as JSON."""
    return json.dumps(dataclasses.asdict(setting), ensure_ascii=False)


def _settings_of(text: str) -> SavedSettings:
    known = {"summaries": []} | json.loads(text)
    summaries = tuple((int(message), str(summary)) for message, summary in known.pop("summaries"))
    setting = SavedSettings(**known, summaries=summaries)
    if not isinstance(setting.user, str) or not isinstance(setting.note, str):
        raise TypeError("the user's name or note is not a string")
    return replace(setting, note_depth=int(setting.note_depth))
