"""SillyTavern chats: JSONL with a header line, and then one message per line with its swipes.

A swipe is an alternative answer, which is a sibling in the tree. `swipe_id` is the index of the visible
swipe, and `mes` its text. Alternate greetings are the swipes of the first message. The system prompt is
stored as the chat's override (`chat_metadata.system_prompt`), and other data of hermes under the key `hermes`
in `chat_metadata`, which SillyTavern preserves. The format cannot represent other branches, such as two user
turns after the same answer.

SillyTavern hides messages with `is_system` from the model, so they are not imported, and a remark reports
them. A narrator message (`extra.type`) becomes a system message.
"""

from typing import Any, Final

from hermes_cli.formats.dates import iso, seconds_of
from hermes_cli.formats.json_text import dump, parse_lines
from hermes_cli.formats.transcript import Transcript, message, transcript
from hermes_cli.messages import Message, Role
from hermes_cli.tree import Node
from hermes_cli.untrusted.value import Value

HEADER: Final = frozenset({"user_name", "character_name", "chat_metadata"})
USER, CHARACTER, NARRATOR = "User", "Assistant", "narrator"
_HERMES_KEY: Final = "hermes"
_MODEL: Final = "model"


def write(transcript: Transcript) -> str:
    """Return the visible path of a conversation, with the siblings of its answers as swipes."""
    record, prompt = transcript.conversation, transcript.system[0].text if transcript.system else ""
    hermes_data = {
        "title": record.title,
        "is_named": record.is_named,
        "persona": record.persona,
        "opening": [{"role": turn.role, "text": turn.text} for turn in record.opening[1 if prompt else 0 :]],
    }
    header = {
        "user_name": USER,
        "character_name": record.persona or CHARACTER,
        "create_date": iso(record.created),
        "chat_metadata": ({"system_prompt": prompt} if prompt else {}) | {_HERMES_KEY: hermes_data},
    }
    swipes: dict[int | None, list[Node]] = {}
    for stored in transcript.tree.nodes:
        if stored.role is Role.ASSISTANT:
            swipes.setdefault(stored.parent, []).append(stored)
    name = record.persona or CHARACTER
    lines = [header, *(_line(stored, name, swipes.get(stored.parent, [])) for stored in transcript.tree.path)]
    return "\n".join(map(dump, lines)) + "\n"


def _line(stored: Node, character: str, swipes: list[Node]) -> dict[str, Any]:
    line = {
        "name": USER if stored.role is Role.USER else character,
        "is_user": stored.role is Role.USER,
        "is_system": False,
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
    return {_MODEL: stored.generation.model} if stored.generation.model else {}


def read(text: str) -> list[Transcript]:
    """Parse a SillyTavern chat. Swipes become siblings. Raises FormatError if it is invalid."""
    header, *lines = parse_lines(text)
    if HEADER.isdisjoint(header.value):
        header.reject(f"is not a header: it has none of {', '.join(sorted(HEADER))}")
    messages, leaf, hidden = list[Node](), None, 0
    narration = list[Message]()
    for line in lines:
        if line.get("is_system").boolean():
            hidden += 1
            continue
        siblings, visible = _messages(line, len(messages) + 1, leaf)
        if leaf is None and siblings[visible].role is Role.SYSTEM:
            narration.append(siblings[visible].message)
            continue
        messages += siblings
        leaf = siblings[visible].id
    if leaf is None:
        header.reject("has no turn after it")
    remarks = [f"messages that SillyTavern hides from the model are left out: {hidden:,}"] if hidden else []
    opening, hermes_data = _opening(header)
    return [
        transcript(
            messages,
            leaf,
            opening=(*opening, *narration),
            title=hermes_data.get("title").text(),
            is_named=hermes_data.get("is_named").boolean(),
            persona=hermes_data.get("persona").text().rpartition("/")[2],
            remarks=remarks,
        )
    ]


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
    date = seconds_of(line.get("send_date").value)
    swipes = line.get("swipes").items()
    if role is not Role.ASSISTANT or not swipes:
        return [message(number, parent, Message(role, visible_text), created=date, model=_model(line))], 0
    visible = line.get("swipe_id").integer(0, len(swipes) - 1)
    swipe_info = line.get("swipe_info").items()
    siblings = list[Node]()
    for n, swipe in enumerate(swipes):
        info = swipe_info[n] if n < len(swipe_info) else line
        # An edit in SillyTavern changes only `mes`, so the visible text is in `mes`.
        turn = Message(role, visible_text if n == visible else swipe.text())
        created = seconds_of(info.get("send_date").value) or date
        siblings.append(message(number + n, parent, turn, created=created, model=_model(info)))
    return siblings, visible


def _role(line: Value) -> Role:
    if line.get("extra").get("type").value == NARRATOR:
        return Role.SYSTEM
    return Role.USER if line.get("is_user").boolean() else Role.ASSISTANT


def _model(line: Value) -> str:
    return line.get("extra").get(_MODEL).text()
