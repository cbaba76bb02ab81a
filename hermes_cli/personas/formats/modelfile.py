"""Reads and writes Ollama's Modelfiles: SYSTEM, MESSAGE and PARAMETER.

Source: "Ollama Model File Reference". Instructions that hermes does not use (FROM, TEMPLATE, ADAPTER,
LICENSE) are written back unchanged. A TEMPLATE is never run.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.messages import Role
from hermes_cli.personas.formats import sampling
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.opening import open_with
from hermes_cli.personas.persona import DEFAULT_USER, Example, Persona

INSTRUCTIONS: Final = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE", "REQUIRES")
_LINE: Final = re.compile(rf"[ \t]*({'|'.join(INSTRUCTIONS)})[ \t]+(.*)", re.IGNORECASE)
_TRIPLE: Final = '"""'
_OURS: Final = {"SYSTEM", "MESSAGE"}
_WORDED: Final = {"MESSAGE", "PARAMETER"}
MAX_LENGTH: Final = 256 << 10
_SAID: Final = (
    *("system", "nickname", "character", "personality", "scenario", "greetings", "dialogue", "examples"),
    *("user", "options"),
)
"""The fields of a persona that a Modelfile can express."""
_SPELLED: Final = {"repetition_penalty": "repeat_penalty", "max_tokens": "num_predict"}
_KNOWN: Final = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "num_predict", "seed", "stop")


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction: its name in capitals, its argument, and its original text."""

    name: str
    argument: str
    written: str


def is_one(text: str) -> bool:
    """Return whether a text is a Modelfile: its first line that is not empty or a comment is a FROM."""
    lines = (line[0].strip() for line in re.finditer(r"[^\r\n]+", text))  # lazy: there may be millions
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return bool(re.match(r"FROM[ \t]+\S", first, re.IGNORECASE))


def read(text: str, source: Path, remarks: Remarks) -> Persona:
    """Return the persona of a Modelfile. Raises PersonaError if a quoted text does not end."""
    if "\0" in text:
        remarks.add("NUL characters are taken out of its texts")
    found = instructions(text.replace("\0", ""), source)
    systems = [one.argument for one in found if one.name == "SYSTEM"]
    said = [_message(one.argument) for one in found if one.name == "MESSAGE"]
    given = [_pair(one.argument) for one in found if one.name == "PARAMETER"]
    if any(one.name == "TEMPLATE" for one in found):
        remarks.add("its TEMPLATE is not run: hermes has ChatML of its own")
    systems += [text for role, text in said if role == "system"]
    examples, greetings = _examples(said, remarks)
    return Persona(
        name=source.stem,
        system="\n\n".join(systems),
        source=source,
        greetings=greetings,
        examples=examples,
        options=sampling.options(given, remarks),
    )


def instructions(text: str, source: Path) -> list[Instruction]:
    """Return the instructions of a Modelfile in order. `written` includes the comments before each."""
    if len(text) > MAX_LENGTH:
        raise PersonaError(f"{source}: it is longer than {MAX_LENGTH:,} characters", "shorten its texts")
    found, written = list[Instruction](), ""
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        written += line
        match = _LINE.match(line.rstrip("\r\n"))
        if match is None:
            continue  # a comment, an empty line, or an unknown instruction
        argument = match[2].strip()
        mark = _open_quote(match[1].upper(), argument)
        if mark:
            opens = argument.find(mark)
            block = [line.rstrip("\r\n")[line.find(mark) :]]
            while at < len(lines) and mark not in lines[at]:
                block.append(lines[at].rstrip("\r\n"))
                written += lines[at]
                at += 1
            if at == len(lines):
                raise PersonaError(f"{source}: a text in quotes never ends", f"close it with {mark}")
            block.append(lines[at].rstrip("\r\n"))
            written += lines[at]
            at += 1
            argument = argument[:opens] + "\n".join(block)
        found.append(Instruction(match[1].upper(), argument, written))
        written = ""
    if found and written:
        last = found.pop()
        found.append(Instruction(last.name, last.argument, last.written + written))
    return [Instruction(one.name, _unquoted(one.name, one.argument), one.written) for one in found]


def _split(name: str, argument: str) -> tuple[str, str]:
    """Return the first word of a MESSAGE or PARAMETER and the rest; of other instructions, no word."""
    if name not in _WORDED:
        return "", argument
    word, *rest = argument.split(None, 1)
    return word, rest[0] if rest else ""


def _open_quote(name: str, argument: str) -> str:
    """Return the quotes that an argument opens and does not close on the same line, or an empty text."""
    text = _split(name, argument)[1] if argument else ""
    for mark in (_TRIPLE, '"'):
        if text.startswith(mark):
            return "" if mark in text[len(mark) :] else mark
    return ""


def _unquoted(name: str, argument: str) -> str:
    """Return an argument without the quotes around its text and the line ends next to them."""
    word, text = _split(name, argument) if argument else ("", "")
    for mark in (_TRIPLE, '"'):
        if text.startswith(mark) and text.rstrip().endswith(mark) and len(text.rstrip()) >= 2 * len(mark):
            text = text.rstrip()[len(mark) : -len(mark)].strip("\n")
            break
    return f"{word} {text}" if word else text


def _pair(argument: str) -> tuple[str, str]:
    name, _, value = argument.partition(" ")
    return name, value


def _message(argument: str) -> tuple[str, str]:
    role, _, text = argument.partition(" ")
    return role.lower(), text


def _examples(
    said: Sequence[tuple[str, str]], remarks: Remarks
) -> tuple[tuple[Example, ...], tuple[str, ...]]:
    """Return the pairs of user and assistant turns, and a last assistant turn without a user turn."""
    turns = [(role, text) for role, text in said if role in {"user", "assistant"}]
    examples, at = list[Example](), 0
    while at < len(turns):
        role, text = turns[at]
        answer = turns[at + 1] if at + 1 < len(turns) else ("", "")
        if role == "user" and answer[0] == "assistant":
            examples.append(Example(text, answer[1]))
            at += 2
            continue
        if role == "assistant" and at + 1 == len(turns):
            return tuple(examples), (text,)
        remarks.add("a MESSAGE without its answer, or without what it answers, is left out")
        at += 1
    return tuple(examples), ()


def write(persona: Persona, original: str | None) -> str:
    """Return the Modelfile of a persona, based on the one that it was imported from.

    Raises PersonaError if a text contains three quotes in a row, which a Modelfile cannot represent.
    """
    old = instructions(original, persona.source) if original is not None else []
    if original is not None:
        before = read(original, persona.source, Remarks())
        if all(getattr(before, name) == getattr(persona, name) for name in _SAID):
            return original
    kept = [one.written for one in old if one.name not in _OURS and not _is_known(one)]
    if not old:
        kept = ["# The model that plays: change it to one of yours.\nFROM openhermes\n"]
    kept[-1] = kept[-1].rstrip("\n") + "\n"
    opening = open_with(persona, Macros(persona.called, persona.user or DEFAULT_USER))
    lines = [f"SYSTEM {_quoted(opening.system, persona)}\n"] if opening.system else []
    for message in (*opening.examples, *opening.conversation().messages[len(opening.before) :]):
        role = "user" if message.role is Role.USER else "assistant"
        lines.append(f"MESSAGE {role} {_quoted(message.text, persona)}\n")
    for name, value in persona.options.items():
        spelled = _SPELLED.get(name, name)
        if spelled in _KNOWN:
            lines += [
                f"PARAMETER {spelled} {_value(one)}\n" for one in (value if name == "stop" else [value])
            ]
    return "".join([*kept, *lines])


def _is_known(one: Instruction) -> bool:
    return one.name == "PARAMETER" and _pair(one.argument)[0].lower() in _KNOWN


def _value(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _quoted(text: str, persona: Persona) -> str:
    if _TRIPLE in text:
        raise PersonaError(
            f"'{persona.name}' has three quotes in a row in a text, which no Modelfile can hold",
            "take them out, or export another format",
        )
    return f"{_TRIPLE}{text}{_TRIPLE}"
