"""JSON Lines formats for training data: each line is a JSON object that contains one conversation.

ShareGPT: `{"conversations": [{"from": "human", "value": "…"}]}`. The speaker names are those of FastChat,
axolotl and the published ShareGPT datasets.

OpenAI messages: `{"messages": [{"role": "user", "content": "…"}]}`, which is also the format of the
chat completions API. Tool calls and parts that are not text raise FormatError, because hermes cannot send
them to a model, and omitting them would change the conversation.
"""

from collections.abc import Sequence
from typing import Final

from hermes_cli.formats.json_text import dump, parse_lines
from hermes_cli.formats.transcript import Transcript, linear
from hermes_cli.messages import Message, Role
from hermes_cli.untrusted.value import Value

_SHAREGPT_NAMES: Final = {Role.SYSTEM: "system", Role.USER: "human", Role.ASSISTANT: "gpt"}
_SHAREGPT_ROLES: Final = {
    "system": Role.SYSTEM,
    "human": Role.USER,
    "user": Role.USER,
    "gpt": Role.ASSISTANT,
    "assistant": Role.ASSISTANT,
    "chatgpt": Role.ASSISTANT,
    "bing": Role.ASSISTANT,
    "bard": Role.ASSISTANT,
}
_OPENAI_ROLES: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,  # OpenAI's later name for "system"
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
}


def write_sharegpt(transcripts: Sequence[Transcript]) -> str:
    """Return the visible path of each conversation, one per line. Titles are omitted."""
    return "".join(
        dump(
            {"conversations": [{"from": _SHAREGPT_NAMES[t.role], "value": t.text} for t in transcript.turns]}
        )
        + "\n"
        for transcript in transcripts
    )


def write_openai(transcripts: Sequence[Transcript]) -> str:
    """Return the visible path of each conversation, one per line."""
    return "".join(
        dump({"messages": [{"role": turn.role, "content": turn.text} for turn in transcript.turns]}) + "\n"
        for transcript in transcripts
    )


def read_sharegpt(text: str) -> list[Transcript]:
    """Parse one conversation per line. If `id` is a string, it becomes the title. Raises FormatError."""
    transcripts = list[Transcript]()
    for line in parse_lines(text):
        title = line.get("id")
        turns = [
            Message(_role(node["from"], _SHAREGPT_ROLES), node["value"].text())
            for node in _turns(line["conversations"])
        ]
        transcripts.append(linear(turns, title=title.text() if isinstance(title.value, str) else ""))
    return transcripts


def read_openai(text: str) -> list[Transcript]:
    """Parse one conversation per line. Raises FormatError if a line is invalid."""
    return [linear([_openai_turn(node) for node in _turns(line["messages"])]) for line in parse_lines(text)]


def _turns(node: Value) -> list[Value]:
    turns = node.items()
    if not turns:
        node.reject("has no turns")
    return turns


def _role(node: Value, roles: dict[str, Role]) -> Role:
    name = node.text()
    if name not in roles:
        node.reject(f"is '{name[:40]}'; expected one of {', '.join(roles)}")
    return roles[name]


def _openai_turn(node: Value) -> Message:
    role, content = _role(node["role"], _OPENAI_ROLES), node.get("content")
    for key in ("tool_calls", "function_call"):
        if node.get(key).value:
            node[key].reject("is a tool call, which hermes does not support")
    if isinstance(content.value, list):
        return Message(role, "\n".join(map(_text_part, content.items())))
    return Message(role, node["content"].text())


def _text_part(node: Value) -> str:
    if node["type"].text() != "text":
        node["type"].reject(f"is '{node['type'].value[:40]}'; only text is supported")
    return node["text"].text()
