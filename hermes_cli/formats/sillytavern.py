"""SillyTavern chats: JSONL with a header line, and then one message per line with its swipes.

A swipe is an alternative answer, which is a sibling in the tree. `swipe_id` is the index of the visible
swipe, and `mes` its text. Alternate greetings are the swipes of the first message. The system prompt is
stored as the chat's override (`chat_metadata.system_prompt`), the note as the author's note, and other data
of hermes under the key `hermes` in `chat_metadata`, which SillyTavern preserves. The format cannot represent
other branches, such as two user turns after the same answer.

A group chat has no header, and its answers have the names of several characters. hermes' data is then in the
`extra` of the first message, under the same key.

SillyTavern hides messages with `is_system` from the model, as `/hide` does. Comments and messages of a
narrator (`extra.type`) become system messages. The variables of `{{setvar}}` are in `chat_metadata`, too.
"""

from typing import Any, Final

from hermes_cli.formats import members_json
from hermes_cli.formats.dates import iso, seconds_of
from hermes_cli.formats.json_text import dump, parse_lines
from hermes_cli.formats.transcript import Transcript, message, transcript
from hermes_cli.messages import Message, Role
from hermes_cli.store.records import SavedMember, SavedSettings, bounded_variables
from hermes_cli.tree import Node
from hermes_cli.untrusted.value import Value

HEADER: Final = frozenset({"user_name", "character_name", "chat_metadata"})
USER, CHARACTER, NARRATOR = "User", "Assistant", "narrator"
TEXT: Final = "mes"
"""The key of a message's text, which the first line of a group chat has."""
_SYSTEM_TYPES: Final = frozenset((NARRATOR, "comment"))
_VARIABLES: Final = "variables"
_HERMES_KEY: Final = "hermes"
_MODEL: Final = "model"
_REASONING: Final = "reasoning"
_WITHOUT_NAME: Final = frozenset(("", "unused", USER))
"""The names in a header that do not name the user. Newer versions write `unused`."""
_IN_CHAT, _AS_SYSTEM = 1, 0
"""The position and the role of an author's note that is inserted as hermes does."""
_DEFAULT_DEPTH: Final = 4
_MAX_DEPTH: Final = 999


def write(transcript: Transcript) -> str:
    """Return the visible path of a conversation, with the siblings of its answers as swipes."""
    record, prompt = transcript.conversation, transcript.system[0].text if transcript.system else ""
    user, name = record.setting.user or USER, transcript.character or record.persona or CHARACTER
    hermes_data = {
        "title": record.title,
        "is_named": record.is_named,
        "persona": record.persona,
        "opening": [{"role": turn.role, "text": turn.text} for turn in record.opening[1 if prompt else 0 :]],
        "user": record.setting.user,
        "seed": record.setting.seed,
        "lore_off": list(record.setting.lore_off),
        "others": [members_json.to_json(member) for member in record.setting.others],
        "character": record.setting.character,
        "has_speakers": any(node.speaker for node in transcript.tree.nodes),
    }
    metadata = ({"system_prompt": prompt} if prompt else {}) | _note_json(record.setting)
    metadata |= {_VARIABLES: dict(record.setting.variables)} if record.setting.variables else {}
    header = {
        "user_name": user,
        "character_name": name,
        "create_date": iso(record.created),
        "chat_metadata": metadata | {_HERMES_KEY: hermes_data},
    }
    swipes: dict[int | None, list[Node]] = {}
    for stored in transcript.tree.nodes:
        if stored.role is Role.ASSISTANT:
            swipes.setdefault(stored.parent, []).append(stored)
    names, path = {Role.USER: user}, transcript.tree.path
    lines = [
        _line(node, node.speaker or names.get(node.role, name), swipes.get(node.parent, [])) for node in path
    ]
    if record.setting.others and lines:
        lines[0]["extra"] |= {_HERMES_KEY: header}
    else:
        lines.insert(0, header)
    return "\n".join(map(dump, lines)) + "\n"


def _note_json(setting: SavedSettings) -> dict[str, Any]:
    if not setting.note:
        return {}
    place = {"note_depth": setting.note_depth, "note_position": _IN_CHAT, "note_role": _AS_SYSTEM}
    return {"note_prompt": setting.note, "note_interval": 1, **place}


def _line(stored: Node, name: str, swipes: list[Node]) -> dict[str, Any]:
    line = {
        "name": name,
        "is_user": stored.role is Role.USER,
        "is_system": stored.is_hidden,
        "send_date": iso(stored.created),
        "mes": stored.text,
        "extra": _extra(stored),
    }
    if stored.role is not Role.ASSISTANT:
        return line
    return line | {
        "swipe_id": swipes.index(stored),
        "swipes": [other.text for other in swipes],
        "swipe_info": [{"send_date": iso(other.created), "extra": _extra(other)} for other in swipes],
    }


def _extra(stored: Node) -> dict[str, str]:
    if stored.role is Role.SYSTEM:
        return {"type": NARRATOR}
    made = {_MODEL: stored.generation.model, _REASONING: stored.generation.reasoning}
    return {key: text for key, text in made.items() if text}


def _as_group(messages: list[Node], setting: SavedSettings) -> tuple[list[Node], SavedSettings]:
    """Return the messages and the settings of a chat of SillyTavern in which several characters answer.

    A character's persona is the one with its name. In a chat with one character, remove the names.
    """
    answers = [node.speaker for node in messages if node.role is Role.ASSISTANT]
    names = list(dict.fromkeys(filter(None, answers)))
    if len(names) < 2:  # noqa: PLR2004 - two characters
        return _without_speakers(messages), setting
    others = tuple(SavedMember(name.rpartition("/")[2], name) for name in names[1:])
    return messages, setting._replace(character=names[0], others=others)


def _without_speakers(messages: list[Node]) -> list[Node]:
    return [node._replace(speaker="") for node in messages]


def read(text: str) -> list[Transcript]:
    """Parse a SillyTavern chat. Swipes become siblings. Raises FormatError if it is invalid."""
    header, *lines = parse_lines(text)
    if TEXT in header and not HEADER & header.value.keys():  # a group chat
        header, lines = header.get("extra").get(_HERMES_KEY), [header, *lines]
    elif HEADER.isdisjoint(header.value):
        header.reject(f"is not a header: it has none of {', '.join(sorted(HEADER))}")
    messages, leaf, left_out = list[Node](), None, 0
    narration = list[Message]()
    user = _name(header.get("user_name"))
    for line in lines:
        is_hidden = line.get("is_system").boolean()
        if not user and _role(line) is Role.USER:
            user = _name(line.get("name"))
        siblings, visible = _messages(line, len(messages) + 1, leaf)
        if leaf is None and siblings[visible].role is Role.SYSTEM:  # a tree does not begin with one
            left_out += is_hidden
            narration += [] if is_hidden else [siblings[visible].message]
            continue
        messages += [node._replace(is_hidden=is_hidden) for node in siblings]
        leaf = siblings[visible].id
    if leaf is None:
        header.reject("has no turn after it")
    hidden = sum(node.is_hidden for node in messages)
    remarks = [f"hidden comments before the first turn are left out: {left_out:,}"] if left_out else []
    remarks += [f"messages hidden from the model: {hidden:,}; /tree shows them"] if hidden else []
    opening, hermes_data = _opening(header)
    setting = _setting(header.get("chat_metadata"), hermes_data, user, remarks)
    if hermes_data.value is None:
        messages, setting = _as_group(messages, setting)
    elif not hermes_data.get("has_speakers").boolean():
        messages = _without_speakers(messages)
    return [
        transcript(
            messages,
            leaf,
            opening=(*opening, *narration),
            title=hermes_data.get("title").text(),
            is_named=hermes_data.get("is_named").boolean(),
            persona=(hermes_data.get("persona").text() or setting.character).rpartition("/")[2],
            setting=setting,
            remarks=remarks,
        )
    ]


def _name(value: Value) -> str:
    """Return the user's name, or an empty string if the value does not name the user."""
    name = " ".join(value.text().split()) if isinstance(value.value, str) else ""
    return "" if name in _WITHOUT_NAME else name


def _setting(metadata: Value, hermes_data: Value, user: str, remarks: list[str]) -> SavedSettings:
    """Return the settings of a conversation: the user's name, and the author's note if it is on."""
    off = tuple(title.text() for title in hermes_data.get("lore_off").items())
    own_name = " ".join(hermes_data.get("user").text().split())
    others = tuple(map(members_json.from_json, hermes_data.get("others").items()))
    seed, variables = hermes_data.get("seed").integer_or_none(), _variables(metadata.get(_VARIABLES))
    setting = SavedSettings(
        own_name or user, seed, lore_off=off, variables=variables, others=others,
        character=members_json.name(hermes_data.get("character")),
    )  # fmt: skip
    prompt = metadata.get("note_prompt")
    if not isinstance(prompt.value, str) or not prompt.value.strip():
        return setting
    interval, depth = _number(metadata, "note_interval", 1), _number(metadata, "note_depth", _DEFAULT_DEPTH)
    if not interval:
        remarks.append("the author's note is left out, because it is off (its interval is 0)")
        return setting
    if interval > 1:
        remarks.append(f"the author's note is inserted in every prompt, not every {interval:,} messages")
    if _number(metadata, "note_position", _IN_CHAT) != _IN_CHAT:
        remarks.append("the author's note is inserted before the first turn, not beside the system prompt")
        depth = _MAX_DEPTH
    if _number(metadata, "note_role", _AS_SYSTEM) != _AS_SYSTEM:
        remarks.append("the author's note is sent as system, not as another role")
    return setting._replace(note=prompt.text(), note_depth=min(depth, _MAX_DEPTH))


def _variables(table: Value) -> tuple[tuple[str, str], ...]:
    """Return the variables of a chat. Those that are neither text nor a number are left out."""
    values = table.value if isinstance(table.value, dict) else {}
    usable = {name: value for name, value in values.items() if isinstance(value, str | int | float)}
    return bounded_variables(
        (table.policy.clean(table.path, name), table.policy.clean(table.path, str(value)))
        for name, value in usable.items()
    )


def _number(metadata: Value, key: str, default: int) -> int:
    """Return a number that is not negative. SillyTavern also writes numbers as strings."""
    value = metadata.get(key).value
    if isinstance(value, str) and value.isdecimal():
        value = int(value[:9])
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default


def _opening(header: Value) -> tuple[list[Message], Value]:
    """Return the opening of a conversation, and the header's data under the key `hermes`."""
    metadata = header.get("chat_metadata")
    opening = list[Message]()
    if system := metadata.get("system_prompt").text():
        opening.append(Message(Role.SYSTEM, system))
    hermes_data = metadata.get(_HERMES_KEY)
    for turn in hermes_data.get("opening").items():
        opening.append(Message(turn["role"].one_of(Role), turn["text"].text()))
    return opening, hermes_data


def _messages(line: Value, number: int, parent: int | None) -> tuple[list[Node], int]:
    """Return one message per swipe, with ids from `number` on, and the index of the visible message."""
    visible_text, role = line["mes"].text(), _role(line)
    speaker = members_json.name(line.get("name")) if isinstance(line.get("name").value, str) else ""
    date = seconds_of(line.get("send_date").value)
    swipes = line.get("swipes").items()
    if role is not Role.ASSISTANT or not swipes:
        turn = Message(role, visible_text, speaker=speaker, reasoning=_reasoning(line))
        return [message(number, parent, turn, created=date, model=_model(line))], 0
    visible = line.get("swipe_id").integer(0, len(swipes) - 1)
    swipe_info = line.get("swipe_info").items()
    siblings = list[Node]()
    for n, swipe in enumerate(swipes):
        info = swipe_info[n] if n < len(swipe_info) else line
        # An edit in SillyTavern changes only `mes`, so the visible text is in `mes`.
        shown = visible_text if n == visible else swipe.text()
        turn = Message(role, shown, speaker=speaker, reasoning=_reasoning(info))
        created = seconds_of(info.get("send_date").value) or date
        siblings.append(message(number + n, parent, turn, created=created, model=_model(info)))
    return siblings, visible


def _role(line: Value) -> Role:
    if line.get("extra").get("type").value in _SYSTEM_TYPES:
        return Role.SYSTEM
    return Role.USER if line.get("is_user").boolean() else Role.ASSISTANT


def _reasoning(line: Value) -> str | None:
    return line.get("extra").get(_REASONING).text() or None


def _model(line: Value) -> str:
    return line.get("extra").get(_MODEL).text()
