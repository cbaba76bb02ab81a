"""Slash commands for input: attach a file, continue the last answer, enter several lines."""

from pathlib import Path

from hermes_cli.chat.input_text import Attachment, read_file
from hermes_cli.errors import UsageError
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.columns import pluralize
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.untrusted.source import valid_text

HINT = "check the name that follows /file"


def file(state: ReplState, argument: str) -> None:
    """Attach a file to the next message, list the attached files, or remove them (`/file`).

    The text of a file precedes the message, below a line with the file's path.
    """
    if not argument:
        names = [sanitize_line(attachment.name) for attachment in state.attached]
        state.show("\n".join(names) if names else "No files are attached.")
        return
    if argument == "-":
        state.attached.clear()
        state.notice("No files are attached.")
        return
    path = _file(argument)
    text = read_file(path, HINT)
    state.attached.append(Attachment(valid_text(str(path)), text))
    state.notice(
        f"{sanitize_line(str(path))} ({pluralize(len(text), 'character')}) is sent with your next message."
    )


def _file(name: str) -> Path:
    """Return the path of a file. Raises UsageError if the name is invalid or is not that of a file."""
    try:
        path = Path(name).expanduser()
        if path.exists() and not path.is_file():  # opening a pipe would wait for a writer
            raise UsageError(f"{path} is not a file", "name a text file")
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such home, or NUL
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{sanitize_line(name)}: {(reason or 'not a path').lower()}", HINT) from None
    return path


def go_on(state: ReplState, _argument: str) -> None:
    """Continue the last answer where it ended (`/continue`)."""
    session = state.session
    last_line = session.require_answer().text.rpartition("\n")[2]
    state.answer(session.continue_answer, last_line)


def impersonate(state: ReplState, argument: str) -> None:
    """Put a draft of the user's next turn at the prompt (`/impersonate`)."""
    if argument:
        raise UsageError("/impersonate takes no text", "/note TEXT gives the model an instruction")
    if not state.printer.interactive:
        raise UsageError(
            "/impersonate needs a prompt at which you edit the draft", "run hermes chat at a terminal"
        )
    text = state.printer.draft(state, state.session.draft_turn).strip()
    if text:
        state.suggest(text)
    else:
        state.notice("(the model returned no text)")


def multiline(state: ReplState, _argument: str) -> None:
    """Toggle whether Enter begins a new line or sends (`/multiline`)."""
    state.multiline = not state.multiline
    now = "Enter begins a new line; Alt-Enter sends." if state.multiline else "Enter sends again."
    state.notice(now)
