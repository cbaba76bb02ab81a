"""The format of `!!save` in FastChat's command line: a JSON object with template, system message and turns.

Its keys are `template_name`, `system_message` (`system` in older versions), `roles` (the names of the user
and the model), `messages` (pairs of a name and a text) and `offset` (the number of example messages). Source:
fastchat/conversation.py and fastchat/serve/inference.py in lm-sys/FastChat. hermes writes the template name
of OpenHermes, which `!!load` accepts.
"""

from typing import Final

from hermes_cli.errors import FormatError
from hermes_cli.formats.json_text import dump, parse
from hermes_cli.formats.transcript import Transcript, linear
from hermes_cli.messages import Message, Role
from hermes_cli.prompts.chatml import IM_START
from hermes_cli.untrusted.value import Value

TEMPLATE: Final = "OpenHermes-2.5-Mistral-7B"
NAMES: Final = {Role.USER: IM_START + Role.USER, Role.ASSISTANT: IM_START + Role.ASSISTANT}


def write(transcript: Transcript) -> str:
    """Return the visible path of a conversation. Raises FormatError if a system message is not first."""
    system = transcript.system
    if len(system) > 1 or any(turn.role is Role.SYSTEM for turn in transcript.turns[len(system) :]):
        raise FormatError("FastChat's format allows one system message, before all other messages")
    value = {
        "template_name": TEMPLATE,
        "system_message": system[0].text if system else "",
        "roles": list(NAMES.values()),
        "messages": [[NAMES[turn.role], turn.text] for turn in transcript.turns[len(system) :]],
        "offset": len(transcript.conversation.opening) - len(system),
    }
    return dump(value) + "\n"


def read(text: str) -> list[Transcript]:
    """Parse FastChat's JSON. Raises FormatError if it is invalid."""
    root = parse(text)
    names = [name.text() for name in root["roles"].items()]
    if len(names) != len(NAMES) or len(set(names)) != len(names):
        root["roles"].reject("is not a list of two names, one for the user and one for the model")
    roles = dict(zip(names, NAMES, strict=True))
    turns = [_turn(pair, roles) for pair in root["messages"].items()]
    examples = root.get("offset").integer(0, len(turns))
    system_text = root["system_message" if "system_message" in root else "system"].text()
    system = [Message(Role.SYSTEM, system_text)] if system_text else []
    return [linear(system + turns, examples=examples)]


def _turn(pair: Value, roles: dict[str, Role]) -> Message:
    parts = pair.items()
    if len(parts) != 2:  # noqa: PLR2004 - a name and a text
        pair.reject("is not a pair of a name and a text")
    name, content = parts
    if name.text() not in roles:
        name.reject(f"is '{name.value[:40]}'; expected one of {', '.join(roles)}")
    if isinstance(content.value, list):
        content.reject("has parts that are not text, such as images, which hermes does not support")
    return Message(roles[name.value], content.text())
