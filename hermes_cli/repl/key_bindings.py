"""Key bindings of the prompt, in addition to prompt_toolkit's own emacs and vi keys."""

from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, emacs_mode, has_focus, vi_navigation_mode
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from hermes_cli.errors import UsageError
from hermes_cli.repl import editor
from hermes_cli.repl.folded_paste import MAX_CHARACTERS, Pastes
from hermes_cli.repl.line_reader import is_open_block
from hermes_cli.repl.state import ReplState


def _enter_begins_line(state: ReplState, text: str) -> bool:
    """Return whether Enter begins a new line. It always runs a command, so that /multiline can be undone."""
    from hermes_cli.repl.command_table import command_line

    is_command = text.startswith("/") and "\n" not in text and command_line(text) is not None
    return is_open_block(text) or (state.multiline and not is_command)


def open_editor(state: ReplState, pastes: Pastes, buffer: Buffer) -> None:
    """Open the line, with pastes unfolded, in the user's editor; the edited text replaces the line."""

    async def edit() -> None:
        text = pastes.unfold(buffer.text)
        try:
            new = await run_in_terminal(lambda: editor.edited(text), in_executor=True)
        except UsageError as error:
            problem = error
            await run_in_terminal(lambda: state.fail(problem))
        else:
            line = new if len(new) <= MAX_CHARACTERS else pastes.fold(new)
            buffer.document = Document(line, len(line))

    get_app().create_background_task(edit())


def bindings(state: ReplState, pastes: Pastes) -> KeyBindings:
    """Return the key bindings of the prompt."""
    keys = KeyBindings()
    _add_swipes(keys)
    _add_lines(keys, state)
    _add_texts(keys, state, pastes)
    return keys


IN_THE_LINE = has_focus(DEFAULT_BUFFER)


def _add_swipes(keys: KeyBindings) -> None:
    on_an_empty_line = Condition(lambda: not get_app().current_buffer.text)
    for side in ("left", "right"):

        @keys.add("escape", side, filter=IN_THE_LINE & on_an_empty_line)
        def _(event: KeyPressEvent, line: str = f"/swipe {side}") -> None:
            event.current_buffer.insert_text(line)  # shown on the screen, but not saved in the input history
            event.app.exit(result=line)


def _add_lines(keys: KeyBindings, state: ReplState) -> None:
    enter_begins_line = Condition(lambda: _enter_begins_line(state, get_app().current_buffer.text))

    @keys.add("enter", filter=IN_THE_LINE & enter_begins_line)
    @keys.add("c-j", filter=IN_THE_LINE)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("escape", "enter", filter=IN_THE_LINE)
    def _(event: KeyPressEvent) -> None:
        if state.multiline:
            event.current_buffer.validate_and_handle()
        else:
            event.current_buffer.insert_text("\n")

    @keys.add("c-c", filter=IN_THE_LINE)
    @keys.add("<sigint>")  # at any time, even if no line is edited any more
    def _(event: KeyPressEvent) -> None:
        # prompt_toolkit's own binding raises an error if the line has just been submitted.
        if event.app.future is not None and not event.app.future.done():
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")


def _add_texts(keys: KeyBindings, state: ReplState, pastes: Pastes) -> None:
    after_a_mark = Condition(
        lambda: bool(pastes.mark_before(get_app().current_buffer.document.text_before_cursor))
    )

    @keys.add("c-x", "c-e", filter=IN_THE_LINE & emacs_mode)
    @keys.add("v", filter=IN_THE_LINE & vi_navigation_mode)
    def _(event: KeyPressEvent) -> None:
        open_editor(state, pastes, event.current_buffer)

    @keys.add("backspace", filter=IN_THE_LINE & after_a_mark)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.delete_before_cursor(len(pastes.mark_before(buffer.document.text_before_cursor)))

    @keys.add(Keys.BracketedPaste)
    def _(event: KeyPressEvent) -> None:
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        folded = pastes.fold(text) if event.current_buffer.name == DEFAULT_BUFFER else text
        event.current_buffer.insert_text(folded)
