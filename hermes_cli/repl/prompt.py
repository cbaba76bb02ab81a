"""The interactive prompt: prompt_toolkit with history, completion, folded pastes and a toolbar."""

import asyncio
import errno
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session, get_app, run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition
from prompt_toolkit.input import Input
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.output import DummyOutput, Output
from prompt_toolkit.styles import Style

from hermes_cli.engines.background import BackgroundEngine
from hermes_cli.errors import Interrupted
from hermes_cli.repl import editor, key_bindings, paste_input
from hermes_cli.repl.completion import CommandCompleter
from hermes_cli.repl.folded_paste import MAX_CHARACTERS
from hermes_cli.repl.history import TypedLines
from hermes_cli.repl.line_reader import CONTINUATION, PROMPT, Line, typed_line
from hermes_cli.repl.state import ReplState
from hermes_cli.repl.toolbar import Facts, Part, toolbar
from hermes_cli.repl.typed_keys import keep_typed_keys
from hermes_cli.screen.sanitize import LONG_LINE, REPLACEMENT, sanitize, sanitize_line

TICK_S = 0.1
FIRST_KEYS_S = 0.01
"""Seconds for keys that were typed ahead, before a model is loaded."""
COUNT_AFTER_STOP_S = 0.1
"""The longest wait for a server that counts tokens after Ctrl-C, before the prompt appears."""
STYLE = Style.from_dict(
    {
        "prompt": "bold ansicyan",
        "prompt-continuation": "ansicyan",
        "bottom-toolbar": "noreverse",
        "toolbar": "dim",
        "toolbar.warm": "ansiyellow",
        "toolbar.hot": "bold ansired",
        "toolbar.busy": "ansicyan",
        "auto-suggestion": "dim",
        "completion-menu": "noinherit",
        "completion-menu.completion.current": "noinherit reverse",
        "completion-menu.meta.completion": "noinherit dim",
        "completion-menu.meta.completion.current": "noinherit dim reverse",
        "scrollbar.background": "noinherit",
        "scrollbar.button": "noinherit",
    }
)


class PromptReader:
    """Reads lines from a terminal. In tests, `source` and `sink` replace the terminal."""

    def __init__(
        self,
        state: ReplState,
        typed: TypedLines,
        *,
        vi_keys: bool = False,
        source: Input | None = None,
        sink: Output | None = None,
    ) -> None:
        self._state = state
        self._typed = typed
        self._pastes = typed.pastes
        self._tick = 0
        self._folded_line = ""
        self._last_line: Line | None = None
        self._session = self._make_session(
            message=[("class:prompt", PROMPT)],
            history=typed.history,
            completer=CommandCompleter(state),
            complete_while_typing=Condition(self._typing_a_command),
            auto_suggest=AutoSuggestFromHistory(),
            editing_mode=EditingMode.VI if vi_keys else EditingMode.EMACS,
            key_bindings=key_bindings.bindings(state, self._pastes),
            prompt_continuation=[("class:prompt-continuation", CONTINUATION)],
            bottom_toolbar=(lambda: [*self._toolbar()]) if state.terminal.obeys else None,
            style=STYLE,
            enable_suspend=True,
            input_processors=[SafeDisplay()],
            input=source or paste_input.keyboard(sys.stdin, MAX_CHARACTERS, self._refuse_paste),
            output=sink,
        )

    def _make_session(self, **settings: Any) -> PromptSession[str]:
        """Return a prompt session.

        The plain output is set through the app session, because prompt_toolkit supports dumb terminals only
        if the prompt itself has no `output`, and TERM is "dumb".
        """
        obeys = self._state.terminal.obeys
        if not obeys and settings["output"] is None:
            os.environ["TERM"] = "dumb"
        with create_app_session(output=None if obeys else _PlainOutput()):
            return PromptSession(**settings)

    def _typing_a_command(self) -> bool:
        return self._session.default_buffer.text.startswith("/")

    def _refuse_paste(self, length: int) -> None:
        remark = f"A paste of {length:,} characters is too long for a line; /file PATH sends a file."
        run_in_terminal(lambda: self._state.notice(remark))

    def read(self) -> Line | None:
        """Return the next line. Ctrl-C clears the line; Ctrl-D on an empty line ends the input."""
        while True:
            try:
                return self._line()
            except KeyboardInterrupt:
                self._interrupted()
            except EOFError:
                return None
            except OSError as error:
                if error.errno == errno.EIO:  # the terminal is gone
                    raise Interrupted(signal.SIGHUP) from None
                raise

    def _line(self) -> Line:
        state = self._state
        self._typed.refresh()
        if self._session.history is not self._typed.history:
            self._session.history = self._session.default_buffer.history = self._typed.history
            self._session.default_buffer.reset()
        # Count the tokens now, so that typing is not delayed.
        state.context_used(COUNT_AFTER_STOP_S if state.was_stopped else math.inf)
        suggestion = self._suggestion()
        if state.was_stopped:
            state.was_stopped = False
            keep_typed_keys(self._session.app.input, separate=bool(suggestion))
        in_editor, state.in_editor = state.in_editor and bool(editor.wanted()), False
        try:
            with _signals_for_the_prompt() as pre_run:

                def begin() -> None:
                    pre_run()
                    get_app().create_background_task(self._prepare())
                    if in_editor:
                        key_bindings.open_editor(state, self._pastes, self._session.default_buffer)

                self._folded_line = self._session.prompt(pre_run=begin, default=suggestion)
        except Interrupted:
            if self._session.default_buffer.text:  # after a restart, the Up key recalls the unfinished line
                self._session.default_buffer.append_to_history()
            raise
        finally:
            state.terminal.mark_pastes()  # also while the answer is generated
        line = self._pastes.unfold(self._folded_line)
        self._typed.add(line)
        self._last_line = typed_line(line)
        return self._last_line

    def _suggestion(self) -> str:
        """Take the text that fills the prompt. An unsent line that comes back has the same folded pastes."""
        state, last = self._state, self._last_line
        text, state.suggestion = state.suggestion, ""
        if last is not None and text and text in {last.text, f"/{last.text}"}:
            return self._folded_line
        self._pastes.clear()
        return self._pastes.fold(text)

    def _interrupted(self) -> None:
        state = self._state
        if state.next_line_handler is not None:
            state.next_line_handler = None
            state.notice("(nothing was changed)")
        elif not self._session.default_buffer.text:
            if state.attached:
                state.attached.clear()
                state.notice("(the attached files were removed)")
            else:
                state.notice("Press Ctrl-D or type /exit to leave.")

    async def _prepare(self) -> None:
        """Load the model, and prefill the next prompt."""
        await self._watch_loading()
        await asyncio.sleep(0)
        self._state.prefill_ahead()

    async def _watch_loading(self) -> None:
        """Load the model after the prompt is drawn. Show the progress, and the error if loading fails."""
        loading = self._state.loading
        if loading is None or not loading.is_loading():
            return
        await asyncio.sleep(FIRST_KEYS_S)
        loading.start()
        while loading.is_loading():
            self._tick += 1
            get_app().invalidate()
            await asyncio.sleep(TICK_S)
        if loading.failure is not None:
            failure = loading.failure
            await run_in_terminal(lambda: self._state.fail(failure))
        self._state.context_used()
        get_app().invalidate()

    def _toolbar(self) -> list[Part]:
        state = self._state
        loading = state.loading
        facts = Facts(
            model=sanitize_line(state.host.model_line()),
            persona=sanitize_line(state.session.prompt_settings.macros.group or state.persona.name),
            loading=_loading_text(state) if loading else "",
            failed=_failure_text(loading) if loading and loading.failure else "",
            used=state.context_used(),
            size=state.session.engine.context_size,
            is_estimated=state.session.engine.estimates_tokens,
            speed=state.speed,
            remarks=state.remarks(),
        )
        return toolbar(facts, get_app().output.get_size().columns, self._tick)


class SafeDisplay(Processor):
    """Displays unsafe characters as visible ones, since the edited line may contain pasted text.

    The line itself is unchanged. prompt_toolkit replaces only the C0 control characters.
    """

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Return the line with each unsafe character replaced by one visible character."""
        fragments = [(fragment[0], _visible(fragment[1])) for fragment in transformation_input.fragments]
        return Transformation([*fragments])


def _visible(text: str) -> str:
    if text.isascii() or sanitize(text) == text:
        return text
    return "".join(character if sanitize(character) == character else REPLACEMENT for character in text)


class _PlainOutput(DummyOutput):
    """Writes only text to standard output, for a terminal without control sequences."""

    def write(self, data: str) -> None:
        sys.stdout.write(data)

    def flush(self) -> None:
        sys.stdout.flush()


def _failure_text(loading: BackgroundEngine) -> str:
    return "no server; a message tries again" if loading.can_retry else "no model; /model NAME loads one"


def _loading_text(state: ReplState) -> str:
    done, total = state.loading.progress if state.loading else (0, 0)
    share = f"{100 * done // total} % of " if total else ""
    return share + sanitize_line(state.host.plan_line(), LONG_LINE)


@contextmanager
def _signals_for_the_prompt() -> Iterator[Callable[[], None]]:
    """Make SIGTERM and SIGHUP end a prompt, and raise Interrupted after it.

    An exception from a signal handler would be swallowed by the event loop. The handlers are not those of
    asyncio, which resets them only after it has closed the pipe that Python writes every signal to: a Ctrl-C
    in between would print a traceback. Yield the function that prompt_toolkit must call once the loop is
    running.
    """
    received: list[int] = []
    wake: list[Callable[[], None]] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        for function in wake:
            function()

    def pre_run() -> None:
        app, loop = get_app(), asyncio.get_running_loop()

        def end() -> None:
            if received and app.is_running and not app.is_done:
                app.exit(exception=Interrupted(received[0]))

        def wake_loop() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(end)

        wake.append(wake_loop)
        wake_loop()  # a signal may have arrived before

    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if callable(signal.getsignal(n))]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield pre_run
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            raise Interrupted(received[0])
