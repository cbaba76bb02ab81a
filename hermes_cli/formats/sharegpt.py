"""ShareGPT JSONL, a training format: `{"conversations": [{"from": "human", "value": "…"}]}`, one per line.

The speaker names are those of FastChat, axolotl and the published ShareGPT datasets.
"""

from collections.abc import Sequence
from typing import Final

from hermes_cli.formats.json_text import dump, parse_lines
from hermes_cli.formats.transcript import Transcript, linear
from hermes_cli.messages import Message, Role
from hermes_cli.untrusted.value import Value

NAMES: Final = {Role.SYSTEM: "system", Role.USER: "human", Role.ASSISTANT: "gpt"}
SPEAKERS: Final = {
    "system": Role.SYSTEM,
    "human": Role.USER,
    "user": Role.USER,
    "gpt": Role.ASSISTANT,
    "assistant": Role.ASSISTANT,
    "chatgpt": Role.ASSISTANT,
    "bing": Role.ASSISTANT,
    "bard": Role.ASSISTANT,
}


def write(transcripts: Sequence[Transcript]) -> str:
    """Return the visible path of each conversation, one per line, without titles: this is for training."""
    return "".join(
        dump({"conversations": [{"from": NAMES[turn.role], "value": turn.text} for turn in one.turns]}) + "\n"
        for one in transcripts
    )


def read(text: str) -> list[Transcript]:
    """Return the conversation on each line. If `id` is a text, it becomes the title. Raises FormatError."""
    return [_conversation(line) for line in parse_lines(text)]


def _conversation(line: Value) -> Transcript:
    turns = [_turn(one) for one in line["conversations"].items()]
    if not turns:
        line["conversations"].reject("has no turn")
    title = line.get("id")
    return linear(turns, title=title.text() if isinstance(title.value, str) else "")


def _turn(node: Value) -> Message:
    speaker = node["from"].text()
    if speaker not in SPEAKERS:
        node["from"].reject(f"is '{speaker[:40]}', which is none of {', '.join(SPEAKERS)}")
    return Message(SPEAKERS[speaker], node["value"].text())
