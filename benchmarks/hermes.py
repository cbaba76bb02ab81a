"""Engines, sessions and turns of hermes, for the functions that rows call in a child process."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hermes_cli.chat.members import Member
from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Chunk, Engine, FinishReason
from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
from hermes_cli.engines.llama_cpp.settings import LlamaSettings
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.models import hardware
from hermes_cli.models.gguf.model import read_header
from hermes_cli.models.local import describe_folder
from hermes_cli.models.plan.planner import Plan, choose
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.options import GenerationOptions, LayeredOptions

Show = Callable[[str], object]
GREEDY = GenerationOptions(temperature=0, repetition_penalty=1)
"""Always the likeliest token. All other options are hermes' defaults."""


def open_engine(
    model: str, context: int, threads: int, precision: str = "", *, lookup: bool = False
) -> Engine:
    """Return an engine on the CPU: transformers for a folder, llama.cpp for a file."""
    path = Path(model)
    if path.is_file():
        settings = LlamaSettings(model, context, threads, lookup=lookup)
        return LlamaCppEngine(read_header(path), settings, name="starter")
    from hermes_cli.engines.transformers.engine import TransformersEngine

    return TransformersEngine.open(plan(path, PlanRequest(context, threads, precision, "cpu")), lookup=lookup)


def plan(folder: Path, request: PlanRequest) -> Plan:
    model = describe_folder(folder, folder.name)
    if model is None:
        raise FileNotFoundError(folder)
    return choose(hardware.probe(), model.facts, request)


def open_session(
    opening: Opening | None = None, frame: PromptSettings | None = None, *, tokens: int, **engine: Any
) -> Session:
    options = LayeredOptions(replace(GREEDY, max_tokens=tokens))
    return Session(
        open_engine(**engine),
        [Member(opening=opening or Opening(), prompt_settings=frame or PromptSettings())],
        options,
    )


def send(
    session: Session, text: str, *, cancel_after: int = 0, show: Show = lambda _: None
) -> dict[str, Any]:
    """Send a turn, show its pieces, and return its record. After `cancel_after` of them it is cancelled."""
    cancel, pieces = Cancel(), 0
    prompt = session.assembled(Message(Role.USER, text)).messages

    def count(piece: str) -> None:
        nonlocal pieces
        show(piece)
        pieces += 1
        if pieces == cancel_after:
            cancel.set()

    return record(session.engine, prompt, session.send(text, cancel), count)


def record(
    engine: Engine, messages: Sequence[Message], chunks: Iterator[Chunk], show: Show = lambda _: None
) -> dict[str, Any]:
    """Read an answer to the end, and return its ids and counts, and the seconds until its first piece."""
    prompt = engine.prompt_tokens(messages)
    began, first_s, done = time.perf_counter(), 0.0, None
    for chunk in chunks:
        if chunk.progress is None:
            first_s = first_s or time.perf_counter() - began
        if chunk.text:
            show(chunk.text)
        done = chunk.completion
    if done is None or done.turn_ids is None:
        raise RuntimeError(f"{messages[-1].text!r} was not answered")
    # The ids of a turn begin with those that open it, which are the end of the prompt.
    opening = next(number for number, token in enumerate(reversed(prompt)) if token.control)
    return {
        "prompt": [token.id for token in prompt],
        "text": b"".join(token.data for token in prompt).decode(),
        "generated": done.turn_ids.ids[opening:],
        "ended": done.finish_reason is FinishReason.STOP,
        "finish_reason": done.finish_reason,
        "prefilled": done.usage.prefilled_tokens,
        "completion_tokens": done.usage.completion_tokens,
        "first_s": first_s,
        "kept": sum(message.role is Role.USER for message in messages),
    }
