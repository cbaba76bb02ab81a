"""Prints turns: answers as they are generated, the greeting, and earlier turns."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hermes_cli.chat.regex_scripts import Stage
from hermes_cli.chat.statistics import statistics, wait_text
from hermes_cli.chat.turn_scripts import GrowingText, answer_rewriter, displayed
from hermes_cli.engines.base import Cancel, Completion, FinishReason, Progress
from hermes_cli.errors import HermesError, ServerError
from hermes_cli.messages import Role
from hermes_cli.repl.state import ReplState, StartAnswer
from hermes_cli.screen.columns import pluralize
from hermes_cli.screen.reasoning_view import ReasoningView
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
        self._speaker = ""
        """In a group, the name of the character who answers."""
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
        output: _AnswerOutput | None = None
        view = ReasoningView(state.terminal, shown=state.shows_reasoning)
        try:
            with waiting(state.terminal, self._status(state, view=view)) as stop_waiting, self._retry_hint():
                chunks = start(cancel)
                self._speaker = state.session.speaking

                def begin() -> Renderer:
                    stop_waiting()
                    _print_remarks(state)
                    self._end_reasoning(state, view)
                    return self._begin_turn(state, self._speaker)

                output = _AnswerOutput(state, begin, prefix)
                for chunk in chunks:
                    self._progress = chunk.progress
                    if chunk.reasoning and not self.has_text:
                        if view.shown:
                            stop_waiting()
                        view.write(chunk.reasoning)
                    if chunk.text:
                        output.write(chunk.text)
                        self.has_text = True
        finally:
            self._cancel = None
            if not self.has_text:
                self._end_reasoning(state, view)
            state.was_stopped = self._presses > 0
            renderer = output.end() if output and self.has_text else None
            if renderer is not None:
                self._end_turn(state, renderer)
            elif self.has_text:
                state.notice("(a regex script hides this answer)")
        _print_remarks(state)
        if state.session.last is not None:
            self._print_ending(state, state.session.last)

    @contextmanager
    def _retry_hint(self) -> Iterator[None]:
        """If a server fails after a part of the answer, let the hint at a terminal name `/retry`."""
        try:
            yield
        except ServerError as error:
            if self.has_text and self.interactive:
                error.hint = "the text so far is kept; /retry asks again"
            raise

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

    def greet(self, state: ReplState, first: int = 0) -> None:
        """Print the greetings of the characters, if they have any, from the message at index `first` on."""
        path = state.session.tree.path
        for index in range(first, len(path)):
            self._print_turn(state, _displayed(state, index), path[index].speaker)
        others = len(state.session.tree.swipes()) - 1 if path[first:] else 0
        if others and self.interactive:
            state.notice(f"({pluralize(others, 'other greeting')}: /swipe, or Alt-Right)")

    def print_last_turns(self, state: ReplState, count: int) -> None:
        """Print the last `count` visible turns, if the user is at a terminal."""
        if not self.interactive:
            return
        path = state.session.tree.path
        for index in range(max(0, len(path) - count), len(path)):
            node, text = path[index], _displayed(state, index)
            if node.role is Role.ASSISTANT:
                self._print_turn(state, text, node.speaker)
                if node.state is not MessageState.COMPLETE:
                    state.notice(f"({node.state})")
            else:
                state.notice(f"> {text}")
            if node.is_hidden:
                state.notice("(hidden from the model)")

    def _end_reasoning(self, state: ReplState, view: ReasoningView) -> None:
        """End the display of the reasoning, and print how long it took if it was not shown."""
        view.end()
        if view.has_begun and not view.shown and self.interactive:
            state.notice(f"(thought for {view.seconds:.0f} s; /thinking shows it)")

    def _status(
        self, state: ReplState, effect_of_stop: str = "stops the answer", view: ReasoningView | None = None
    ) -> Callable[[], str]:
        """Return a function that returns the status line to show until the answer begins."""
        started_at = time.monotonic()

        def status() -> str:
            loading = state.loading
            if view is not None and view.has_begun:
                return view.status
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
            if self._speaker and not self.has_text:
                effect = f"{sanitize_line(self._speaker)} has said nothing"
            shows_time = state.statistics and not completion.usage.completion_tokens
            state.notice(f"({statistics(completion) if shows_time else 'stopped'}; {effect})")
            if shows_time:
                return
        elif state.session.cut_short:
            state.notice(f"(cut short: {state.session.cut_short})")
        elif not self.has_text:
            only = "only reasoned" if state.session.reasoning else "returned no text"
            state.notice(f"(the model {only})")
        if state.statistics:
            state.notice(f"({statistics(completion)})")


def _displayed(state: ReplState, index: int) -> str:
    """Return the text of a visible message after the regex scripts for the display, which is only a terminal.

    They are those of the character who speaks or, for a turn of the user, who speaks next.
    """
    session = state.session
    node = session.tree.path[index]
    if not state.terminal.stdout_is_tty:
        return node.text
    member = session.members[session.speaker_of(node)] if node.role is Role.ASSISTANT else session.member
    return displayed(member.prompt_settings, [other.message for other in session.tree.path], index)


class _AnswerOutput:
    """Displays an answer after the regex scripts. `begin` returns a renderer for it."""

    def __init__(self, state: ReplState, begin: Callable[[], Renderer], prefix: str) -> None:
        settings, moment = state.session.prompt_settings, len(state.session.tree.path)
        is_display = state.terminal.stdout_is_tty
        stages = (Stage.ADD, Stage.DISPLAY) if is_display else (Stage.ADD,)
        rewrite = answer_rewriter(settings, moment, *stages)
        self._growing = GrowingText(rewrite, is_final=not is_display) if rewrite else None
        self._state = state
        self._begin = begin
        self._prefix = prefix
        self._renderer: Renderer | None = None

    def write(self, text: str) -> None:
        """Display the next piece, as far as it is settled."""
        text, self._prefix = self._prefix + text, ""
        self._render(self._growing.add(text) if self._growing else text)

    def end(self) -> Renderer | None:
        """Display the rest, and return the renderer, or None if there is nothing to display."""
        text, is_whole = self._growing.end() if self._growing else ("", False)
        if is_whole and self._renderer is not None:
            self._renderer.end()
            self._state.notice("(a regex script changed the text above; the answer is now:)")
            self._renderer = None
        self._render(text)
        return self._renderer

    def _render(self, text: str) -> None:
        if text:
            self._renderer = self._renderer or self._begin()
            self._renderer.write(text)


def _print_remarks(state: ReplState) -> None:
    """Print and clear the session's remarks and warnings, and the problems of its regex scripts."""
    session = state.session
    session.remarks += session.prompt_settings.scripts.new_problems()
    for messages in (session.remarks, session.warnings):
        while messages:
            state.notice(messages.pop(0))
