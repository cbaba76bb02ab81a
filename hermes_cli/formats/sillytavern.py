"""SillyTavern chats: JSONL with a header line, then one message per line, with its swipes.

A swipe is an alternative answer: a sibling in the tree. `swipe_id` is the index of the visible one, and `mes`
is its text. Alternate greetings are the swipes of the first message. The system prompt is the chat's override
(`chat_metadata.system_prompt`); other data of hermes is under the key `hermes` in `chat_metadata`, which
SillyTavern preserves. The format cannot hold other branches, such as two user turns after the same answer.

SillyTavern hides messages with `is_system` from the model, so they are left out, with a remark. A narrator
message (`extra.type`) becomes a system message.
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
_OWN: Final = "hermes"
_MODEL: Final = "model"


def write(transcript: Transcript) -> str:
    """Return the visible path of a conversation, with the siblings of its answers as swipes."""
    facts, prompt = transcript.conversation, transcript.system[0].text if transcript.system else ""
    own = {
        "title": facts.title,
        "is_named": facts.is_named,
        "persona": facts.persona,
        "opening": [{"role": turn.role, "text": turn.text} for turn in facts.opening[1 if prompt else 0 :]],
    }
    header = {
        "user_name": USER,
        "character_name": facts.persona or CHARACTER,
        "create_date": iso(facts.created),
        "chat_metadata": ({"system_prompt": prompt} if prompt else {}) | {_OWN: own},
    }
    swipes: dict[int | None, list[Node]] = {}
    for stored in transcript.tree.nodes:
        if stored.role is Role.ASSISTANT:
            swipes.setdefault(stored.parent, []).append(stored)
    name = facts.persona or CHARACTER
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
    """Return the conversation of a SillyTavern chat, with swipes as siblings. Raises FormatError."""
    header, *lines = parse_lines(text)
    if HEADER.isdisjoint(header.value):
        header.reject(f"is not a header: it has none of {', '.join(sorted(HEADER))}")
    messages, leaf, hidden = list[Node](), None, 0
    narrated = list[Message]()
    for line in lines:
        if line.get("is_system").boolean():
            hidden += 1
            continue
        siblings, place = _messages(line, len(messages) + 1, leaf)
        if leaf is None and siblings[place].role is Role.SYSTEM:
            narrated.append(siblings[place].message)
            continue
        messages += siblings
        leaf = siblings[place].id
    if leaf is None:
        header.reject("is followed by no turn")
    remarks = [f"messages that SillyTavern hides from the model are left out: {hidden:,}"] if hidden else []
    opening, own = _opening(header)
    return [
        transcript(
            messages,
            leaf,
            opening=(*opening, *narrated),
            title=own.get("title").text(),
            is_named=own.get("is_named").boolean(),
            persona=own.get("persona").text().rpartition("/")[2],
            remarks=remarks,
        )
    ]


def _opening(header: Value) -> tuple[list[Message], Value]:
    """Return the opening of a conversation, and the data under the key of hermes in the header."""
    metadata = header.get("chat_metadata")
    opening = list[Message]()
    if system := metadata.get("system_prompt").text():
        opening.append(Message(Role.SYSTEM, system))
    own = metadata.get(_OWN)
    for turn in own.get("opening").items():
        opening.append(Message(turn["role"].one_of(Role), turn["text"].text()))
    return opening, own


def _messages(line: Value, number: int, parent: int | None) -> tuple[list[Node], int]:
    """Return the messages of a line, with ids from `number` on, and the index of the visible one."""
    shown, role = line["mes"].text(), _role(line)
    date = seconds_of(line.get("send_date").value)
    swipes = line.get("swipes").items()
    if role is not Role.ASSISTANT or not swipes:
        return [message(number, parent, Message(role, shown), created=date, model=_model(line))], 0
    place = line.get("swipe_id").integer(0, len(swipes) - 1)
    facts = line.get("swipe_info").items()
    siblings = list[Node]()
    for n, swipe in enumerate(swipes):
        about = facts[n] if n < len(facts) else line
        # An edit in SillyTavern changes only `mes`, so that is the visible text.
        turn = Message(role, shown if n == place else swipe.text())
        created = seconds_of(about.get("send_date").value) or date
        siblings.append(message(number + n, parent, turn, created=created, model=_model(about)))
    return siblings, place


def _role(line: Value) -> Role:
    if line.get("extra").get("type").value == NARRATOR:
        return Role.SYSTEM
    return Role.USER if line.get("is_user").boolean() else Role.ASSISTANT


def _model(line: Value) -> str:
    return line.get("extra").get(_MODEL).text()
