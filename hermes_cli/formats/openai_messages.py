"""OpenAI messages JSONL: `{"messages": [{"role": "user", "content": "…"}]}`, one conversation a line.

The chat completions API and fine-tuning use this format. Tool calls and parts that are not text raise
FormatError: hermes cannot send them to a model, and leaving them out would change the conversation.
"""

from collections.abc import Sequence
from typing import Final

from hermes_cli.formats.json_text import dump, parse_lines
from hermes_cli.formats.transcript import Transcript, linear
from hermes_cli.messages import Message, Role
from hermes_cli.untrusted.value import Value

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


def _conversation(line: Value) -> Transcript:
    turns = [_turn(one) for one in line["messages"].items()]
    if not turns:
        line["messages"].reject("has no turn")
    return linear(turns)


def _turn(node: Value) -> Message:
    role = node["role"].text()
    if role not in ROLES:
        node["role"].reject(f"is '{role[:40]}', which is none of {', '.join(ROLES)}")
    for key in _CALLS:
        if node.get(key).value:
            node[key].reject("is a tool call, which hermes does not support")
    content = node["content"]
    is_list = isinstance(content.value, list)
    return Message(ROLES[role], "\n".join(map(_part, content.items())) if is_list else content.text())


def _part(node: Value) -> str:
    if node["type"].text() != "text":
        node["type"].reject(f"is '{node['type'].value[:40]}'; only text is supported")
    return node["text"].text()
