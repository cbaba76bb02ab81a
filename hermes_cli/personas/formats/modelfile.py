"""Reads and writes Ollama's Modelfiles: SYSTEM, MESSAGE and PARAMETER.

Source: "Ollama Model File Reference". Instructions that hermes does not use (FROM, TEMPLATE, ADAPTER,
LICENSE) are preserved when a Modelfile is written. A TEMPLATE is never run.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hermes_cli.errors import PersonaError
from hermes_cli.messages import Role
from hermes_cli.personas.formats import sampling
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.opening import open_with
from hermes_cli.personas.persona import DEFAULT_USER, Example, Persona

INSTRUCTIONS: Final = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE", "REQUIRES")
_LINE: Final = re.compile(rf"[ \t]*({'|'.join(INSTRUCTIONS)})[ \t]+(.*)", re.IGNORECASE)
_TRIPLE_QUOTE: Final = '"""'
_GENERATED: Final = {"SYSTEM", "MESSAGE"}
_KEYED: Final = {"MESSAGE", "PARAMETER"}
"""Instructions with a key before their text: the role of a message, or the name of an option."""
MAX_LENGTH: Final = 256 << 10
_REPRESENTABLE: Final = (
    *("system", "nickname", "character", "personality", "scenario", "greetings", "dialogue", "examples"),
    *("user", "options", "context"),
)
"""The fields of a persona that a Modelfile can represent."""
_OPTION_NAMES: Final = {
    "repetition_penalty": "repeat_penalty",
    "repetition_range": "repeat_last_n",
    "max_tokens": "num_predict",
}
_OPTIONS: Final = (
    *("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "repeat_last_n", "num_predict", "seed"),
    *("stop", sampling.CONTEXT),
)


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction: its name in capitals, its key if any, its text, and the original lines."""

    name: str
    key: str
    text: str
    original: str


def is_modelfile(text: str) -> bool:
    """Return whether `text` is a Modelfile, whose first instruction must be FROM."""
    lines = (line[0].strip() for line in re.finditer(r"[^\r\n]+", text))  # lazy: there may be millions
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return bool(re.match(r"FROM[ \t]+\S", first, re.IGNORECASE))


def read(text: str, source: Path, remarks: Remarks) -> Persona:
    """Return the persona in a Modelfile. Raises PersonaError if it is too long or a quote is not closed."""
    parsed = instructions(remarks.clean((), text), source)
    messages = [
        (instruction.key.lower(), instruction.text) for instruction in parsed if instruction.name == "MESSAGE"
    ]
    if any(instruction.name == "TEMPLATE" for instruction in parsed):
        remarks.add("its TEMPLATE is left out: each model has its own prompt format")
    systems = [instruction.text for instruction in parsed if instruction.name == "SYSTEM"]
    systems += [text for role, text in messages if role == "system"]
    examples, greetings = _examples(messages, remarks)
    parameters = [(found.key, found.text) for found in parsed if found.name == "PARAMETER"]
    return Persona(
        name=source.stem,
        system="\n\n".join(systems),
        source=source,
        greetings=greetings,
        examples=examples,
        context=sampling.context_size(parameters, remarks),
        options=sampling.options(parameters, remarks),
    )


def instructions(text: str, source: Path) -> list[Instruction]:
    """Return the instructions in a Modelfile. The comments before each one are in its `original`."""
    if len(text) > MAX_LENGTH:
        raise PersonaError(f"{source} is longer than {MAX_LENGTH:,} characters", "shorten its texts")
    result, original = list[Instruction](), ""
    lines = iter(re.findall(r"[^\n]*\n|[^\n]+", text))
    for line in lines:
        original += line
        match = _LINE.match(line.rstrip("\r\n"))
        if match is None:
            continue  # a comment, an empty line, or an unknown instruction
        name, key, content = match[1].upper(), "", match[2]
        if name in _KEYED:
            key, content = [*content.split(None, 1), "", ""][:2]
        quote = next((quote for quote in (_TRIPLE_QUOTE, '"') if content.startswith(quote)), "")
        block = [content]
        while quote and quote not in (block[-1] if len(block) > 1 else content[len(quote) :]):
            next_line = next(lines, None)
            if next_line is None:
                raise PersonaError(f"{source}: a quoted string is not closed", f"close it with {quote}")
            original += next_line
            block.append(next_line.rstrip("\r\n"))
        result.append(Instruction(name, key, _unquoted("\n".join(block).strip(), quote), original))
        original = ""
    if result and original:
        result[-1] = replace(result[-1], original=result[-1].original + original)
    return result


def _unquoted(content: str, quote: str) -> str:
    """Return the content without its quotes and the line breaks next to them."""
    is_quoted = quote and content.endswith(quote) and len(content) >= 2 * len(quote)
    return content[len(quote) : -len(quote)].strip("\n") if is_quoted else content


def _examples(
    messages: Sequence[tuple[str, str]], remarks: Remarks
) -> tuple[tuple[Example, ...], tuple[str, ...]]:
    """Return pairs of user and assistant messages as examples, and a final unpaired answer as a greeting."""
    turns = [(role, text) for role, text in messages if role in {"user", "assistant"}]
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
        remarks.add("a user MESSAGE without an answer, or an answer without a question, is left out")
        at += 1
    return tuple(examples), ()


def write(persona: Persona, original: str | None) -> str:
    """Return a persona as a Modelfile, based on `original`, the one that it was imported from, or None.

    Raises PersonaError if a text contains three quotes in a row, which a Modelfile cannot represent.
    """
    old = instructions(original, persona.source) if original is not None else []
    if original is not None:
        before = read(original, persona.source, Remarks())
        if all(getattr(before, name) == getattr(persona, name) for name in _REPRESENTABLE):
            return original
    unchanged = [
        instruction.original
        for instruction in old
        if instruction.name not in _GENERATED and not _is_option(instruction)
    ]
    if not old:
        unchanged = ["# The base model: change it to one of yours.\nFROM openhermes\n"]
    unchanged[-1] = unchanged[-1].rstrip("\n") + "\n"
    opening = open_with(persona, Macros(persona.called, persona.user or DEFAULT_USER))
    lines = [f"SYSTEM {_quoted(opening.system, persona)}\n"] if opening.system else []
    for message in (*opening.examples, *opening.conversation().messages[len(opening.before) :]):
        role = "user" if message.role is Role.USER else "assistant"
        lines.append(f"MESSAGE {role} {_quoted(message.text, persona)}\n")
    if persona.context is not None:
        lines.append(f"PARAMETER {sampling.CONTEXT} {persona.context}\n")
    for name, value in persona.options.items():
        option = _OPTION_NAMES.get(name, name)
        if option in _OPTIONS:
            values = [f'"{sequence}"' for sequence in value] if name == "stop" else [value]
            if (option, value) == ("repeat_last_n", 0):
                values = [-1]  # in a Modelfile, 0 turns the penalty off
            lines += [f"PARAMETER {option} {text}\n" for text in values]
    return "".join([*unchanged, *lines])


def _is_option(instruction: Instruction) -> bool:
    return instruction.name == "PARAMETER" and instruction.key.lower() in _OPTIONS


def _quoted(text: str, persona: Persona) -> str:
    if _TRIPLE_QUOTE in text:
        raise PersonaError(
            f"'{persona.name}' has three quotes in a row in a text, which a Modelfile cannot represent",
            "remove them, or export another format",
        )
    return f"{_TRIPLE_QUOTE}{text}{_TRIPLE_QUOTE}"
