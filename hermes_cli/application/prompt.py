"""A single prompt, for `hermes ask` and `tokens`: reads it, prints its answer, or returns its tokens."""

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes_cli.application.flags import Flags
from hermes_cli.application.model import choose_model
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.session import open_conversation, start_session
from hermes_cli.application.tokenizer import MAX_CHARACTERS, MAX_TOKENS, PromptTokenizer, open_tokenizer
from hermes_cli.chat.input_text import MAX_BYTES, check_input_size, check_text, read_file, text_of
from hermes_cli.chat.prompt_builder import PromptBuilder
from hermes_cli.chat.session import Session
from hermes_cli.chat.statistics import statistics, wait_text
from hermes_cli.engines.base import Cancel, Completion, PromptToken
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.errors import HermesError, UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.models.plan import PlanRequest
from hermes_cli.options import MAX_CONTEXT
from hermes_cli.screen.render import Renderer, renderer
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.screen.terminal import Terminal
from hermes_cli.screen.waiting import waiting
from hermes_cli.untrusted.deadline import Deadline

QUIET_STDIN_S = 3.0
"""Seconds to wait for the end of standard input before a message explains the wait."""
REDIRECT = "if there is none, add </dev/null"
STDIN = Path("-")
"""The name of standard input after -f, and as the first word of the prompt."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """The text of a prompt, the names of the files in it, and its question, which may be empty."""

    text: str
    files: tuple[str, ...] = ()
    question: str = ""


def read_prompt(terminal: Terminal, words: Sequence[str], files: Sequence[Path]) -> PromptText:
    """Return the prompt: standard input, the files, and the words of the argument, joined by blank lines.

    Standard input is read if it is not a terminal, or if it is requested with `-`. Parts without text are
    left out. Raises UsageError if none is left, or if a part is not UTF-8 text.
    """
    begins_with_stdin = words[:1] == [str(STDIN)]
    reads_stdin = begins_with_stdin or STDIN in files or not terminal.stdin_is_tty
    words, paths = _separate_files(
        terminal, words[begins_with_stdin:], [path for path in files if path != STDIN]
    )
    question = check_text(" ".join(words), "the prompt")
    parts = [_read_stdin(terminal)] if reads_stdin else []
    parts += [read_file(path, "check the name that follows -f") for path in paths]
    prompt = "\n\n".join(part for part in (*parts, question) if part.strip())
    if not prompt:
        raise UsageError("the prompt is empty", 'give one as an argument, hermes ask "…", or pipe it in')
    return PromptText(prompt, tuple(map(str, paths)), question)


def _separate_files(
    terminal: Terminal, words: Sequence[str], paths: Sequence[Path]
) -> tuple[Sequence[str], Sequence[Path]]:
    """Return the words that are text, and the files.

    If there are files, a word that names an existing one is a file, too: a shell expands `-f *.txt` to a
    flag with one name, followed by words.
    """
    more = [word for word in words if paths and os.path.isfile(word)]  # noqa: PTH113 - accepts any word
    if not more:
        return words, paths
    terminal.notice(f"read as files, like the names after -f: {sanitize_line(', '.join(more))}")
    return [word for word in words if word not in more], [*paths, *map(Path, more)]


def _read_stdin(terminal: Terminal) -> str:
    delay, remedy = (0.0, "Ctrl-D ends it") if terminal.stdin_is_tty else (QUIET_STDIN_S, REDIRECT)
    timer = threading.Timer(delay, terminal.notice, [f"reading standard input; {remedy}"])
    timer.daemon = True
    timer.start()
    try:
        data = check_input_size(terminal.stdin.read(MAX_BYTES + 1), "standard input")
    except OSError as error:
        raise UsageError(f"standard input cannot be read: {error.strerror}") from None
    finally:
        timer.cancel()
    return text_of(data, "standard input")


def print_answer(
    runtime: Runtime, flags: Flags, prompt: PromptText, prefill: str, *, as_json: bool, at_once: bool
) -> None:
    """Start a session, and print the answer to `prompt`: streamed, all `at_once`, or as one JSON object."""
    check_text(prefill, "--prefill")
    flags = flags.with_saving(runtime.settings)
    persona, session, _ = start_session(runtime, flags, save=flags.log or flags.continues)
    session.recorder.question = prompt.question
    terminal = runtime.terminal
    pieces = _pieces(session, prompt, prefill, terminal, streamed=not (as_json or at_once))
    if as_json:
        answer = "".join(pieces)
        if session.last is not None:
            report = _report(answer, session, session.last)
            terminal.write(json.dumps(report, ensure_ascii=False) + "\n")
    else:
        _print_text(renderer(terminal, speech=persona.is_roleplay), pieces, at_once=at_once)
    for remark in session.remarks:
        terminal.notice(remark)
    if session.cut_short and not as_json:
        terminal.notice(f"the answer was cut: {session.cut_short}")
    if flags.statistics and session.last is not None:
        terminal.notice(statistics(session.last))


def _print_text(output: Renderer, pieces: Iterator[str], *, at_once: bool) -> None:
    """Print the answer and a newline. If generation fails or is interrupted, print the text so far."""
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


def _pieces(
    session: Session, prompt: PromptText, prefill: str, terminal: Terminal, *, streamed: bool
) -> Iterator[str]:
    """Yield the answer in pieces, beginning with the prefill.

    The status line is erased before the first piece if `streamed`, and otherwise after the last one.
    """
    activity, started_at, has_begun = wait_text(None), time.monotonic(), False
    with waiting(terminal, lambda: f"{activity} · {time.monotonic() - started_at:.0f} s") as end_wait:
        for chunk in session.send(prompt.text, Cancel(), prefill, prompt.files):
            activity = "writing the answer" if has_begun else wait_text(chunk.progress)
            if chunk.text or chunk.completion is not None:
                if streamed:
                    end_wait()
                yield chunk.text if has_begun else prefill + chunk.text
                has_begun = True


def _report(text: str, session: Session, completion: Completion) -> dict[str, object]:
    """Return the object that `--json` prints."""
    usage, timings = completion.usage, completion.timings
    return {
        "text": text,
        "finish_reason": completion.finish_reason.value,
        "model": session.engine.name,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "cached_tokens": usage.cached_tokens,
        },
        "timings": {"prefill_s": round(timings.prefill_s, 6), "decode_s": round(timings.decode_s, 6)},
    }


def prompt_tokens(runtime: Runtime, flags: Flags, text: str, prefill: str) -> list[PromptToken]:
    """Return the tokens of the prompt that `ask` would send, even if they exceed the context window.

    Raises UsageError if there are more than MAX_TOKENS, or more than MAX_CHARACTERS to count them in.
    """
    check_text(prefill, "--prefill")
    persona = runtime.persona(flags.persona)
    options = flags.options(runtime.settings, persona).options
    request = flags.plan_request(runtime.settings, persona)
    deadline = Deadline()
    opening, prompt_settings = open_conversation(runtime, flags, persona, options, deadline)
    turns = [*opening.conversation().messages[len(opening.before) :], Message(Role.USER, text)]
    if prefill:
        turns.append(Message(Role.ASSISTANT, prefill))
    if sum(len(message.text) for message in (*opening.before, *turns)) > MAX_CHARACTERS:
        raise UsageError(
            f"the prompt has more than {MAX_CHARACTERS:,} characters, the most that `hermes tokens` reads",
            "shorten it",
        )
    with open_tokenizer(runtime, flags.model, request) as tokenizer:
        window = request.context_size or _context_size(runtime, flags, request, tokenizer)
        counter = _TokenCounter(tokenizer, window)
        builder = PromptBuilder(counter, opening, prompt_settings, options.max_tokens, deadline=deadline)
        prompt = builder.prompt(turns)
        if prompt.skipped:
            runtime.terminal.notice(prompt.skipped)
        if prompt.tokens > MAX_TOKENS:
            raise UsageError(
                f"the prompt has more than {MAX_TOKENS:,} tokens, the most that `hermes tokens` shows",
                "shorten it",
            )
        return tokenizer.prompt_tokens(prompt.messages)


def _context_size(runtime: Runtime, flags: Flags, request: PlanRequest, tokenizer: PromptTokenizer) -> int:
    """Return the model's planned context window, or MAX_CONTEXT if the model cannot be loaded."""
    if isinstance(tokenizer, ScriptedEngine):
        return tokenizer.context_size
    try:
        plan = choose_model(runtime, flags.model, request).plan
    except HermesError:  # counting tokens needs only the tokenizer
        return MAX_CONTEXT
    return plan.context_size if plan else MAX_CONTEXT


class _TokenCounter:
    """Counts the tokens of prompts for a context window of `context_size` tokens."""

    def __init__(self, tokenizer: PromptTokenizer, context_size: int) -> None:
        self._tokenizer = tokenizer
        self.context_size = context_size

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of the prompt for these messages."""
        return self._tokenizer.count_tokens(messages, MAX_TOKENS // 2)
