"""Prints one answer to standard output: streamed, at once, or as JSON."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hermes_cli.application.flags import Flags
from hermes_cli.application.open_session import start
from hermes_cli.application.prompt_input import read_prompt
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat.input_text import check_text
from hermes_cli.chat.session import Session
from hermes_cli.chat.statistics import statistics, waited_for
from hermes_cli.engines.base import Cancel, Completion
from hermes_cli.errors import Interrupted
from hermes_cli.screen.render import Renderer, renderer
from hermes_cli.screen.terminal import Terminal
from hermes_cli.screen.waiting import waiting


def run(
    runtime: Runtime,
    flags: Flags,
    words: Sequence[str],
    files: Sequence[Path],
    prefill: str,
    *,
    as_json: bool,
    whole: bool,
) -> None:
    """Read the prompt, start a session, and print its answer."""
    text = read_prompt(runtime.terminal, words, files)
    prefill = check_text(prefill, "--prefill")
    persona, session, _ = start(runtime, flags, keep=flags.log or flags.continue_last)
    answer(
        runtime.terminal,
        session,
        text,
        prefill,
        as_json=as_json,
        whole=as_json or whole,
        speech=persona.acts,
    )
    if flags.statistics and session.last is not None:
        runtime.terminal.notice(statistics(session.last))


def answer(
    terminal: Terminal,
    session: Session,
    text: str,
    prefill: str,
    *,
    as_json: bool,
    whole: bool,
    speech: bool = False,
) -> None:
    """Print the session's answer to `text`, streamed or, with `whole`, at once.

    If the answer fails or is interrupted, print the text so far with a newline, and raise the error.
    """
    said: list[str] = []
    shows = renderer(terminal, plain=as_json, speech=speech)  # JSON is printed without Markdown rendering
    wait = _Wait()
    try:
        with waiting(terminal, wait.words) as heard:
            for chunk in session.send(text, Cancel(), prefill):
                wait.what = "writing the answer" if said else waited_for(chunk.progress)
                if chunk.text or chunk.completion is not None:
                    piece = chunk.text if said else prefill + chunk.text
                    said.append(piece)
                    if not whole:
                        heard()
                        shows.write(piece)
    except (Exception, Interrupted):
        if said and not as_json:
            _end(shows, said if whole else [])
        raise
    done = session.last
    if as_json and done is not None:
        terminal.write(json.dumps(report("".join(said), session, done), ensure_ascii=False) + "\n")
    else:
        _end(shows, said if whole else [])
    for remark in session.remarks:
        terminal.notice(remark)
    if session.cut_short and not as_json:
        terminal.notice(f"the answer was cut: {session.cut_short}")


class _Wait:
    """The status line during an answer: the current activity and the seconds so far."""

    def __init__(self) -> None:
        self.what = waited_for(None)
        self._began = time.monotonic()

    def words(self) -> str:
        """Return the status line."""
        return f"{self.what} · {time.monotonic() - self._began:.0f} s"


def _end(shows: Renderer, unseen: Sequence[str]) -> None:
    """Print the text that was not streamed, and end the line."""
    shows.write("".join(unseen))
    shows.end()


def report(text: str, session: Session, done: Completion) -> dict[str, Any]:
    """Return the object that `--json` prints."""
    usage, timings = done.usage, done.timings
    return {
        "text": text,
        "finish_reason": done.finish_reason.value,
        "model": session.engine.name,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "cached_tokens": usage.cached_tokens,
        },
        "timings": {"prefill_s": round(timings.prefill_s, 6), "decode_s": round(timings.decode_s, 6)},
    }
