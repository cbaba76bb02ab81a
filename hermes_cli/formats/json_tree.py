"""The lossless JSON format of hermes: whole trees, with states, models, options, token counts, times and ids.

An export that is imported and exported again has the same bytes. Each message is on one line, so that errors
have a line number and files can be compared. Ids count from 1 in each conversation; a parent comes before
its children.
"""

from collections.abc import Sequence
from typing import Any, Final

from hermes_cli.errors import FormatError
from hermes_cli.formats.dates import LAST
from hermes_cli.formats.json_text import Json, dump, parse
from hermes_cli.formats.transcript import ELSEWHERE, Transcript
from hermes_cli.messages import Message, Role, TurnIds
from hermes_cli.store.records import SavedSettings, StoredConversation
from hermes_cli.tree import GenerationRecord, MessageState, Node

FROM_A_FILE: Final = "from a file: "
"""Prefix for the vocabulary name of token ids that were read from a file. No engine has such a vocabulary, so
it encodes the text again. Otherwise a file could show one text to the user and give another to the model."""
KEY: Final = "hermes_conversations"
"""The first key of a file. Its value is the version of the format."""
VERSION: Final = 1
_LAST_TOKEN: Final = 2**32 - 1
MAX_DEPTH: Final = 999


def write(transcripts: Sequence[Transcript]) -> str:
    """Return conversations as one JSON object."""
    body = ",\n".join(_written(one) for one in transcripts)
    return f'{{"{KEY}": {VERSION}, "conversations": [\n{body}\n]}}\n'


def _written(one: Transcript) -> str:
    facts, place = one.conversation, {stored.id: n for n, stored in enumerate(one.messages, 1)}
    head = dump(
        {
            "title": facts.title,
            "is_named": facts.is_named,
            "persona": facts.persona,
            "created": facts.created,
            "updated": facts.updated,
            "opening": [{"role": turn.role, "text": turn.text} for turn in facts.opening],
            "leaf": None if facts.leaf is None else place[facts.leaf],
            "setting": _set(facts.setting, place),
        }
    )
    messages = ",\n".join(dump(_message(stored, place)) for stored in one.messages)
    return f'{head[:-1]}, "messages": [\n{messages}\n]}}'


def _set(setting: SavedSettings, place: dict[int, int]) -> dict[str, Any]:
    return {
        "user": setting.user,
        "seed": setting.seed,
        "note": setting.note,
        "note_depth": setting.note_depth,
        "summaries": [
            {"through": place[through], "text": text}
            for through, text in setting.summaries
            if through in place
        ],
    }


def _message(stored: Node, place: dict[int, int]) -> dict[str, Any]:
    made = stored.generation
    ids = made.turn_ids
    return {
        "id": place[stored.id],
        "parent": None if stored.parent is None else place[stored.parent],
        "role": stored.role,
        "text": stored.text,
        "state": stored.state,
        "created": stored.created,
        "model": made.model,
        "precision": made.precision,
        "options": dict(made.options),
        "prompt_tokens": made.prompt_tokens,
        "completion_tokens": made.completion_tokens,
        "cached_tokens": made.cached_tokens,
        "prefill_s": made.prefill_s,
        "decode_s": made.decode_s,
        "turn_ids": None
        if ids is None
        else {"vocabulary": ids.vocabulary.removeprefix(FROM_A_FILE), "ids": ids.ids},
    }


def read(text: str) -> list[Transcript]:
    """Return the conversations of a JSON text in this format. Raises FormatError."""
    root = parse(text)
    if root[KEY].integer() > VERSION:
        raise FormatError(
            f"was written by a newer hermes (version {root[KEY].value}; this one reads {VERSION})", 1
        )
    found = [_conversation(node) for node in root["conversations"].items()]
    if not found:
        raise root["conversations"].fail("holds no conversation")
    return found


def _conversation(node: Json) -> Transcript:
    messages, seen = list[Node](), set[int]()
    for one in node["messages"].items():
        stored = _stored(one, seen)
        messages.append(stored)
        seen.add(stored.id)
    opening = [Message(one["role"].one_of(Role), one["text"].string()) for one in node["opening"].items()]
    roots = [one for one in messages if one.parent is None]
    if len({one.role for one in roots}) > 1:  # only a greeting may come before the user's first turn
        raise node["messages"].fail("begin both with the person's turn and with the assistant's")
    facts = StoredConversation(
        ELSEWHERE,
        node["title"].string(),
        node["is_named"].flag(),
        _persona(node["persona"]),
        tuple(opening),
        node["created"].number(LAST),
        node["updated"].number(LAST),
        _known(node["leaf"], seen),
        setting=_setting(node.get("setting", {}), seen),
    )
    return Transcript(facts, tuple(messages))


def _setting(node: Json, seen: set[int]) -> SavedSettings:
    """Return the settings of a conversation; defaults for a file of an earlier version, which has none."""
    seed = node.get("seed", None)
    summaries = tuple(
        (_known(one["through"], seen) or 0, one["text"].string()) for one in node.get("summaries", []).items()
    )
    return SavedSettings(
        node.get("user", "").string(),
        None if seed.value is None else seed.integer(),
        node.get("note", "").string(),
        node.get("note_depth", 0).integer(high=MAX_DEPTH),
        summaries,
    )


def _persona(node: Json) -> str:
    if "/" in node.string():  # a resumed conversation loads the persona by this name
        raise node.fail("is a path, not the name of a persona")
    return node.string()


def _known(node: Json, seen: set[int]) -> int | None:
    """Return the id of an earlier message, or None for null. Raises FormatError for an unknown id."""
    if node.value is None:
        return None
    if node.integer() not in seen:
        raise node.fail(f"is {node.value}, and no message before it has that id")
    return node.integer()


def _stored(node: Json, seen: set[int]) -> Node:
    number = node["id"].integer(1)
    if number in seen:
        raise node["id"].fail(f"is {number}, as that of a message before it")
    made = GenerationRecord(
        node["model"].string(),
        node["precision"].string(),
        _options(node["options"]),
        node["prompt_tokens"].integer(),
        node["completion_tokens"].integer(),
        node["cached_tokens"].integer(),
        node["prefill_s"].number(LAST),
        node["decode_s"].number(LAST),
        _turn_ids(node["turn_ids"]),
    )
    parent, role = _known(node["parent"], seen), node["role"].one_of(Role)
    if parent is None and role is Role.SYSTEM:
        raise node["role"].fail("is the system's at the root of a tree; it belongs into the opening")
    return Node(
        number,
        parent,
        role,
        node["text"].string(),
        node["state"].one_of(MessageState),
        node["created"].number(LAST),
        made,
    )


def _options(node: Json) -> dict[str, Any]:
    if not isinstance(node.value, dict):
        raise node.fail("is no object")
    for key in node.value:
        Json(key, node.text, node.line, (*node.path, key)).string()
    return {key: _option(node[key]) for key in node.value}


def _option(node: Json) -> Any:
    """Return the value of an option: null, a boolean, a number, a text, or a list of these."""
    if isinstance(node.value, str):
        return node.string()
    if isinstance(node.value, list):
        return [_scalar(one) for one in node.items()]
    return _scalar(node)


def _scalar(node: Json) -> Any:
    if isinstance(node.value, str):
        return node.string()
    if not isinstance(node.value, bool | int | float | None):
        raise node.fail("is no option's value")
    return node.value


def _turn_ids(node: Json) -> TurnIds | None:
    if node.value is None:
        return None
    vocabulary = node["vocabulary"].string()
    if not vocabulary:
        raise node["vocabulary"].fail("is empty: the ids belong to no vocabulary")
    ids = node["ids"]
    if isinstance(ids.value, list) and all(type(one) is int and 0 <= one <= _LAST_TOKEN for one in ids.value):
        return TurnIds(FROM_A_FILE + vocabulary, tuple(ids.value))
    return TurnIds(FROM_A_FILE + vocabulary, tuple(one.integer(0, _LAST_TOKEN) for one in ids.items()))
