"""Prints the answer to one prompt, for `hermes ask`: as text, as one JSON object, or as lines of JSON."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto

from hermes_cli.application.flags import SHOW, Flags
from hermes_cli.application.prompt import PromptText, require_text
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.session import start_completion, start_session, template_values
from hermes_cli.chat.input_text import check_text
from hermes_cli.chat.regex_scripts import Stage
from hermes_cli.chat.session import Session
from hermes_cli.chat.statistics import statistics, wait_text
from hermes_cli.chat.turn_scripts import Rewrite, answer_rewriter
from hermes_cli.engines.base import Cancel, Completion, FinishReason
from hermes_cli.errors import Interrupted
from hermes_cli.personas.template import user_turn
from hermes_cli.screen.reasoning_view import ReasoningView
from hermes_cli.screen.render import Renderer, renderer
from hermes_cli.screen.terminal import Terminal
from hermes_cli.screen.waiting import waiting


class OutputFormat(Enum):
    """How an answer is printed: streamed, when it is complete, or as JSON."""

    STREAM = auto()
    COMPLETE = auto()
    JSON = auto()
    JSON_LINES = auto()


def print_answer(
    runtime: Runtime, flags: Flags, prompt: PromptText, prefill: str, output: OutputFormat
) -> None:
    """Start a session, and print the answer to `prompt`."""
    check_text(prefill, "--prefill")
    flags.require_one_persona()
    flags = flags.with_saving(runtime.settings)
    is_saved = flags.log or flags.continues
    with _reporting(runtime.terminal, output):
        session, _ = start_session(runtime, flags, save=is_saved, input_text=prompt.text)
    persona = session.members[0].persona
    values = template_values(flags, persona, prompt.text)
    text = user_turn(persona, session.prompt_settings.macros, values)
    session.recorder.question = prompt.question
    terminal = runtime.terminal
    rewrite = _rewriter(session, terminal)
    is_streamed = _is_streamed(output) and rewrite is None
    reasoning = _ReasoningOutput(terminal, output, shown=flags.thinking_mode(runtime.settings) == SHOW)
    pieces = _pieces(session, text, prompt.names, prefill, reasoning, streamed=is_streamed)
    pieces = _rewritten(pieces, rewrite) if rewrite else pieces
    shown = renderer(runtime.terminal, speech=persona.is_roleplay)
    if_empty = "the answer is empty after the regex scripts" if rewrite else ""
    _print(runtime, flags, session, pieces, shown=shown, output=output, if_empty=if_empty)


def print_completion(runtime: Runtime, flags: Flags, prompt: PromptText, output: OutputFormat) -> None:
    """Print the text with which the model continues `prompt`, without a chat template."""
    terminal = runtime.terminal
    text = require_text(prompt.plain_text)
    with _reporting(terminal, output):
        session = start_completion(runtime, flags)
    is_streamed = _is_streamed(output)
    reasoning = _ReasoningOutput(terminal, output, shown=False)
    pieces = _pieces(session, text, prompt.names, "", reasoning, streamed=is_streamed)
    _print(runtime, flags, session, pieces, shown=renderer(terminal, plain=True), output=output)


def _is_streamed(output: OutputFormat) -> bool:
    return output in {OutputFormat.STREAM, OutputFormat.JSON_LINES}


@contextmanager
def _reporting(terminal: Terminal, output: OutputFormat) -> Iterator[None]:
    """If the block, which loads the model, is interrupted, print the report of an empty answer."""
    try:
        yield
    except Interrupted:
        if output in {OutputFormat.JSON, OutputFormat.JSON_LINES}:
            no_text = {"text": "", "reasoning": ""} if output is OutputFormat.JSON else {}
            _print_object(terminal, no_text | _report(None, None))
        raise


def _print(
    runtime: Runtime,
    flags: Flags,
    session: Session,
    pieces: Iterator[str],
    *,
    shown: Renderer,
    output: OutputFormat,
    if_empty: str = "",
) -> None:
    """Print the answer in the format `output`, text with `shown`, and then the remarks about it.

    `if_empty` is the notice for an answer whose pieces have no text, by default that the model returned none.
    """
    terminal = runtime.terminal
    if output in {OutputFormat.JSON, OutputFormat.JSON_LINES}:
        _print_json(terminal, session, pieces, as_lines=output is OutputFormat.JSON_LINES)
    else:
        printed = _print_text(shown, pieces, at_once=output is OutputFormat.COMPLETE)
        if session.cut_short:
            terminal.notice(f"the answer was cut: {session.cut_short}", essential=True)
        elif not "".join(printed).strip():
            only = "the model only reasoned" if session.reasoning else "the model returned no text"
            terminal.notice(if_empty if printed and if_empty else only)
    for remark in (*session.remarks, *session.prompt_settings.scripts.new_problems()):
        terminal.notice(remark)
    for warning in session.warnings:
        terminal.notice(warning, essential=True)
    if flags.statistics and session.last is not None:
        terminal.notice(statistics(session.last), essential=True)


def _rewriter(session: Session, terminal: Terminal) -> Rewrite | None:
    """Return a function that runs the regex scripts on the answer, or None if they do not change it.

    Scripts that change only what is displayed run only if the answer is rendered.
    """
    stages = [Stage.ADD, *([Stage.DISPLAY] if terminal.stdout_is_tty else [])]
    return answer_rewriter(session.prompt_settings, len(session.tree.path) + 1, *stages)


def _rewritten(pieces: Iterator[str], rewrite: Rewrite) -> Iterator[str]:
    """Yield the whole answer after the regex scripts, because text that is printed cannot be changed."""
    received: list[str] = []
    try:
        received.extend(pieces)  # keeps the pieces before an error
    finally:
        if received:
            yield rewrite("".join(received))


def _print_text(output: Renderer, pieces: Iterator[str], *, at_once: bool) -> list[str]:
    """Print the answer and a newline, and return its pieces.

    If generation fails or is interrupted, print the text so far.
    """
    received: list[str] = []
    try:
        for piece in pieces:
            received.append(piece)
            if not at_once:
                output.write(piece)
    finally:
        if received:
            if at_once:
                output.write("".join(received))
            output.end()
    return received


def _print_json(terminal: Terminal, session: Session, pieces: Iterator[str], *, as_lines: bool) -> None:
    """Print the answer and its report as one object, or each piece and then the report as lines.

    If generation is interrupted, the report has the text so far.
    """
    received: list[str] = []

    def report() -> None:
        text = {} if as_lines else {"text": "".join(received), "reasoning": session.reasoning}
        _print_object(terminal, text | _report(session.engine.name, session.last))

    try:
        for piece in pieces:
            received.append(piece)
            if as_lines and piece:
                _print_object(terminal, {"text": piece})
    except Interrupted:
        report()
        raise
    report()


def _print_object(terminal: Terminal, value: dict[str, object]) -> None:
    terminal.write(json.dumps(value, ensure_ascii=False) + "\n")


class _ReasoningOutput:
    """Prints the reasoning of the model: as lines of JSON, or on standard error if it is `shown`."""

    def __init__(self, terminal: Terminal, output: OutputFormat, *, shown: bool) -> None:
        self.terminal = terminal
        self._as_lines = output is OutputFormat.JSON_LINES
        is_text = output in {OutputFormat.STREAM, OutputFormat.COMPLETE}
        self.view = ReasoningView(terminal, shown=shown and is_text)

    def write(self, text: str, *, precedes_answer: bool) -> None:
        """Print the next piece of the reasoning. Within the answer, it is only printed as JSON."""
        if precedes_answer:
            self.view.write(text)
        if self._as_lines:
            _print_object(self.terminal, {"reasoning": text})


def _pieces(
    session: Session,
    text: str,
    files: Sequence[str],
    prefill: str,
    reasoning: _ReasoningOutput,
    *,
    streamed: bool,
) -> Iterator[str]:
    """Yield the answer in pieces, beginning with the prefill.

    The status line is erased before the first piece if `streamed`, and otherwise after the last one.
    """
    activity, started_at, has_begun, view = wait_text(None), time.monotonic(), False, reasoning.view

    def status() -> str:
        is_thinking = view.has_begun and not has_begun
        return view.status if is_thinking else f"{activity} · {time.monotonic() - started_at:.0f} s"

    with waiting(reasoning.terminal, status) as end_wait:
        for chunk in session.send(text, Cancel(), prefill, files):
            activity = "writing the answer" if has_begun else wait_text(chunk.progress)
            if chunk.reasoning:
                if view.shown and not has_begun:
                    end_wait()
                reasoning.write(chunk.reasoning, precedes_answer=not has_begun)
            if chunk.text or chunk.completion is not None:
                view.end()
                if streamed:
                    end_wait()
                yield chunk.text if has_begun else prefill + chunk.text
                has_begun = True


def _report(model: str | None, completion: Completion | None) -> dict[str, object]:
    """Return what `--json` prints besides the text.

    The counts of an interrupted answer are None, and so is the model before it is loaded.
    """
    if completion is None:
        reason = FinishReason.CANCELLED.value
        return {"finish_reason": reason, "model": model, "usage": None, "timings": None}
    usage, timings = completion.usage, completion.timings
    return {
        "finish_reason": completion.finish_reason.value,
        "model": model,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "cached_tokens": usage.cached_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
        },
        "timings": {"prefill_s": round(timings.prefill_s, 6), "decode_s": round(timings.decode_s, 6)},
    }
