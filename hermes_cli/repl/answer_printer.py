"""Prints turns: answers as they are generated, the greeting, and earlier turns."""

import time
from collections.abc import Callable

from hermes_cli.chat.statistics import statistics, wait_text
from hermes_cli.engines.base import Cancel, Completion, FinishReason, Progress
from hermes_cli.errors import HermesError
from hermes_cli.messages import Role
from hermes_cli.repl.state import ReplState, StartAnswer
from hermes_cli.screen.columns import pluralize
from hermes_cli.screen.render import Renderer
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.screen.waiting import waiting
from hermes_cli.tree import MessageState

ABANDON_AFTER_PRESSES = 3
"""Number of Ctrl-C presses during one answer after which an unresponsive engine is abandoned."""


class AnswerPrinter:
    """Prints turns on standard output. `interactive` is true if the user is at a terminal.

    `has_text` is true if the last answer had any text.
    """

    def __init__(self, *, interactive: bool) -> None:
        self.interactive = interactive
        self.has_text = False
        self._cancel: Cancel | None = None
        self._is_printing = False
        self._presses = 0
        self._progress: Progress | None = None

    @property
    def is_answering(self) -> bool:
        """Whether an answer is being generated."""
        return self._cancel is not None

    def stop(self) -> None:
        """Stop the answer. Raises KeyboardInterrupt on the third call during one answer.

        While an earlier turn is printed, raise it at once.
        """
        if self._is_printing:
            raise KeyboardInterrupt
        if self._cancel is not None:
            self._presses += 1
            self._cancel.set()
        if self._presses >= ABANDON_AFTER_PRESSES:
            self._presses = 0
            raise KeyboardInterrupt

    def answer(self, state: ReplState, start: StartAnswer, prefix: str = "") -> None:
        """Print an answer as it is generated, preceded by the text `prefix`. Ctrl-C stops it."""
        cancel = Cancel()
        self._cancel, self._presses, self.has_text, self._progress = cancel, 0, False, None
        renderer: Renderer | None = None
        try:
            with waiting(state.terminal, self._status(state)) as stop_waiting:
                for chunk in start(cancel):
                    self._progress = chunk.progress
                    if not chunk.text:
                        continue
                    if renderer is None:
                        stop_waiting()
                        _print_remarks(state)
                        renderer = self._begin_turn(state, state.session.speaking)
                        renderer.write(prefix)
                    renderer.write(chunk.text)
                    self.has_text = True
        finally:
            self._cancel = None
            state.was_stopped = self._presses > 0
            if renderer is not None:
                self._end_turn(state, renderer)
        _print_remarks(state)
        if state.session.last is not None:
            self._print_ending(state, state.session.last)

    def draft(self, state: ReplState, start: StartAnswer) -> str:
        """Return a text while only a status line is shown. Ctrl-C ends it early, and so does an error.

        The error is printed.
        """
        cancel = Cancel()
        self._cancel, self._presses, self._progress, text = cancel, 0, None, ""
        try:
            with waiting(state.terminal, self._status(state, "keeps the text so far")):
                for chunk in start(cancel):
                    self._progress = chunk.progress
                    text += chunk.text
        except HermesError as error:
            state.fail(error)
        finally:
            self._cancel = None
            state.was_stopped = self._presses > 0
        _print_remarks(state)
        return text

    def greet(self, state: ReplState) -> None:
        """Print the greetings of the characters, if they have any, as turns."""
        path = state.session.tree.path
        for node in path:
            self._print_turn(state, node.text, node.speaker)
        others = len(state.session.tree.swipes()) - 1 if path else 0
        if others and self.interactive:
            state.notice(f"({pluralize(others, 'other greeting')}: /swipe, or Alt-Right)")

    def print_last_turns(self, state: ReplState, count: int) -> None:
        """Print the last `count` visible turns, if the user is at a terminal."""
        if not self.interactive:
            return
        for node in state.session.tree.path[-count:]:
            if node.role is Role.ASSISTANT:
                self._print_turn(state, node.text, node.speaker)
                if node.state is not MessageState.COMPLETE:
                    state.notice(f"({node.state})")
            else:
                state.notice(f"> {node.text}")
            if node.is_hidden:
                state.notice("(hidden from the model)")

    def _status(self, state: ReplState, effect_of_stop: str = "stops the answer") -> Callable[[], str]:
        """Return a function that returns the status line to show until the first token arrives."""
        started_at = time.monotonic()

        def status() -> str:
            loading = state.loading
            activity = f"loading {loading.name}" if loading else wait_text(self._progress)
            effect = "cancels the message" if loading else effect_of_stop
            return f"{activity} · {time.monotonic() - started_at:.0f} s · Ctrl-C {effect}"

        return status

    def _begin_turn(self, state: ReplState, speaker: str = "") -> Renderer:
        """Print the name of the speaker, by default that of the only character.

        In a pipe, only a group has names.
        """
        if self.interactive:
            state.terminal.print_speaker(speaker or state.persona.name)
        elif speaker:
            state.terminal.write(f"{sanitize_line(speaker)}: ")
        return state.renderer()

    def _end_turn(self, state: ReplState, renderer: Renderer) -> None:
        """End a turn with a newline, and at a terminal also with a blank line."""
        renderer.end()
        if self.interactive:
            state.terminal.write("\n")

    def _print_turn(self, state: ReplState, text: str, speaker: str) -> None:
        """Print a whole turn. Ctrl-C ends the printing."""
        self._is_printing = True
        try:
            renderer = self._begin_turn(state, speaker)
            renderer.write(text)
            self._end_turn(state, renderer)
        except KeyboardInterrupt:
            state.was_stopped = True
            state.notice("(stopped)")
        finally:
            self._is_printing = False

    def _print_ending(self, state: ReplState, completion: Completion) -> None:
        """Print why an answer ended, if it did not end normally, and its statistics, if they are on."""
        if completion.finish_reason is FinishReason.CANCELLED:
            effect = "the text so far is kept" if self.has_text else "the conversation is unchanged"
            shows_time = state.statistics and not completion.usage.completion_tokens
            state.notice(f"({statistics(completion) if shows_time else 'stopped'}; {effect})")
            if shows_time:
                return
        elif state.session.cut_short:
            state.notice(f"(cut short: {state.session.cut_short})")
        elif not self.has_text:
            state.notice("(the model returned no text)")
        if state.statistics:
            state.notice(f"({statistics(completion)})")


def _print_remarks(state: ReplState) -> None:
    """Print and clear the session's remarks and warnings."""
    for messages in (state.session.remarks, state.session.warnings):
        while messages:
            state.notice(messages.pop(0))
