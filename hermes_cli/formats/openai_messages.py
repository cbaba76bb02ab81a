"""OpenAI messages JSONL: `{"messages": [{"role": "user", "content": "…"}]}`, one conversation a line.

The chat completions API and fine-tuning use this format. Tool calls and parts that are not text raise
FormatError: hermes cannot send them to a model, and leaving them out would change the conversation.
"""

from collections.abc import Sequence
from typing import Final

from hermes_cli.formats.json_text import Json, dump, parse_lines
from hermes_cli.formats.transcript import Transcript, linear
from hermes_cli.messages import Message, Role

ROLES: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,  # OpenAI's later name for "system"
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
}
_CALLS: Final = ("tool_calls", "function_call")


def write(transcripts: Sequence[Transcript]) -> str:
    """Return the visible path of each conversation, one per line."""
    return "".join(
        dump({"messages": [{"role": turn.role, "content": turn.text} for turn in one.turns]}) + "\n"
        for one in transcripts
    )


def read(text: str) -> list[Transcript]:
    """Return the conversation on each line. Raises FormatError."""
    return [_conversation(line) for line in parse_lines(text)]


def _conversation(line: Json) -> Transcript:
    turns = [_turn(one) for one in line["messages"].items()]
    if not turns:
        raise line["messages"].fail("holds no turn")
    return linear(turns)


def _turn(node: Json) -> Message:
    role = node["role"].string()
    if role not in ROLES:
        raise node["role"].fail(f"is '{role[:40]}'; hermes holds {', '.join(ROLES)}")
    for key in _CALLS:
        if key in node and node[key].value:
            raise node[key].fail("calls a tool, which hermes does not hold")
    return Message(ROLES[role], _content(node["content"]))


def _content(node: Json) -> str:
    """Return the content of a message: a text, or a list of text parts, which are joined by newlines."""
    if isinstance(node.value, list):
        return "\n".join(_part(part) for part in node.items())
    return node.string()


def _part(node: Json) -> str:
    if node["type"].string() != "text":
        raise node["type"].fail(f"is '{node['type'].value[:40]}'; hermes holds text alone")
    return node["text"].string()
