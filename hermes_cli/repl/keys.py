"""What the keys do at the prompt, beyond prompt_toolkit's own emacs and vi keys."""

from prompt_toolkit.application import get_app
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from hermes_cli.repl import blocks
from hermes_cli.repl.pasted import Pastes
from hermes_cli.repl.state import State


def _in_a_block(state: State, text: str) -> bool:
    """Whether Enter begins a new line. A command is sent, so that /multiline can be ended as it was begun."""
    is_command = text.startswith("/") and "\n" not in text
    return blocks.is_open(text) or (state.multiline and not is_command)


def bindings(state: State, pastes: Pastes) -> KeyBindings:
    """Return the keys of the prompt."""
    keys = KeyBindings()
    in_the_line = has_focus(DEFAULT_BUFFER)
    on_an_empty_line = Condition(lambda: not get_app().current_buffer.text)
    in_a_block = Condition(lambda: _in_a_block(state, get_app().current_buffer.text))
    behind_a_mark = Condition(
        lambda: bool(pastes.mark_before(get_app().current_buffer.document.text_before_cursor))
    )

    for side in ("left", "right"):

        @keys.add("escape", side, filter=in_the_line & on_an_empty_line)
        def _(event: KeyPressEvent, line: str = f"/swipe {side}") -> None:
            event.current_buffer.insert_text(line)  # to be seen; it does not go into the input history
            event.app.exit(result=line)

    @keys.add("enter", filter=in_the_line & in_a_block)
    @keys.add("c-j", filter=in_the_line)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("escape", "enter", filter=in_the_line)
    def _(event: KeyPressEvent) -> None:
        if state.multiline:
            event.current_buffer.validate_and_handle()
        else:
            event.current_buffer.insert_text("\n")

    @keys.add("c-c", filter=in_the_line)
    @keys.add("<sigint>", filter=in_the_line)
    def _(event: KeyPressEvent) -> None:
        # prompt_toolkit's own raises where the line has ended a moment before.
        if event.app.future is not None and not event.app.future.done():
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")

    @keys.add("backspace", filter=in_the_line & behind_a_mark)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.delete_before_cursor(len(pastes.mark_before(buffer.document.text_before_cursor)))

    @keys.add(Keys.BracketedPaste)
    def _(event: KeyPressEvent) -> None:
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        folded = pastes.fold(text) if event.current_buffer.name == DEFAULT_BUFFER else text
        event.current_buffer.insert_text(folded)

    return keys
