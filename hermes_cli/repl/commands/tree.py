"""Slash commands that navigate and edit the conversation tree, and the tree drawn as text."""

from collections.abc import Mapping

from hermes_cli.chat import branches
from hermes_cli.errors import StoreError, UsageError
from hermes_cli.messages import Role
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.store import records
from hermes_cli.store.records import StoredMessage

EXCERPT = 60


def undo(state: ReplState, argument: str) -> None:
    """Undo the user's last turn or turns; they stay in the tree (`/undo`)."""
    count = _number(argument, "/undo takes how many turns to undo") if argument else 1
    branches.undo(state.session, count)
    state.notice(f"{count} turn{'' if count == 1 else 's'} undone; /tree shows where they are.")


def again(state: ReplState, _argument: str) -> None:
    """Generate another answer to the last turn (`/regen`)."""
    state.answer(state.session.again, "")
    _say_place(state)


def swipe(state: ReplState, argument: str) -> None:
    """Show another answer to the same turn; to the right of the last one, generate a new one (`/swipe`)."""
    count, place = branches.alternatives(state.session)
    match argument or "right":
        case "left":
            wanted = place - 1
        case "right":
            wanted = place + 1
        case number:
            wanted = _number(number, "/swipe takes left, right or a number") - 1
    if wanted < 0:
        raise UsageError("this is the first answer", "/swipe right shows the next")
    if wanted == count == place + 1 and not branches.at_a_greeting(state.session):
        state.answer(state.session.again, "")
        _say_place(state)
        return
    branches.swipe(state.session, wanted)
    _say_place(state)
    state.recall(1)


def _say_place(state: ReplState) -> None:
    """Print which of the alternative answers is visible, unless a fault has stopped the saving of turns."""
    if state.session.recorder.store is None:
        return
    try:
        count, place = branches.alternatives(state.session)
    except StoreError as error:  # the answer itself arrived and is saved
        state.notice(f"(the other answers cannot be read: {error.message})")
        return
    state.notice(f"({place + 1} of {count})")


ANSWER = "answer"


def edit_choices(_state: ReplState) -> Mapping[str, str]:
    """Return the arguments of `/edit`, for completion."""
    return {ANSWER: "the last answer, in your words"}


def edit(state: ReplState, argument: str) -> None:
    """Replace a turn with the next line that is entered; the old turn stays in the tree (`/edit`).

    The prompt is filled with the turn's text. If $VISUAL or $EDITOR is set, that editor opens first.
    """
    session = state.session
    if argument == ANSWER:
        session.require_answer()
        text, state.instead = session.conversation.messages[-1].text, session.amend
    else:
        count = _number(argument, f"/edit takes how many turns back, or '{ANSWER}'") if argument else 1
        place = branches.asked_at(session, count)
        text = session.conversation.messages[place].text
        state.instead = lambda new: state.answer(lambda cancel: session.edit(place, new, cancel), "")
    state.suggest(text)
    state.in_editor = True
    state.notice("The next line stands in its place; an empty one changes nothing.")


def go_to(state: ReplState, argument: str) -> None:
    """Go to any message of the tree (`/goto`)."""
    branches.go_to(state.session, _number(argument, "/goto takes a message's number; /tree shows them"))
    state.recall(2)


def fork(state: ReplState, argument: str) -> None:
    """Continue in a copy of this conversation, which itself is unchanged (`/fork`)."""
    made = branches.fork(state.session, argument)
    state.notice(
        f"Going on in conversation {made.id}, '{sanitize_line(made.title)}'; the other stays as it was."
    )


def tree(state: ReplState, _argument: str) -> None:
    """Show every message of this conversation, and the current position (`/tree`)."""
    recorder = state.session.recorder
    if recorder.conversation is None:
        raise UsageError("nothing was said yet", "ask something first")
    messages = branches.store_of(state.session).tree(recorder.conversation)
    state.show("\n".join(drawn(messages, recorder.path)))


def drawn(messages: list[StoredMessage], path: list[int]) -> list[str]:
    """Return the tree as lines, indented at each branch: `*` marks visible messages, `>` the current one."""
    under: dict[int | None, list[StoredMessage]] = {}
    for message in messages:
        under.setdefault(message.parent, []).append(message)
    visible, lines = set(path), list[str]()
    roots = under.get(None, [])
    rest = [(message, int(len(roots) > 1)) for message in reversed(roots)]
    while rest:
        message, depth = rest.pop()
        lines.append(_line(message, depth, visible, path))
        below = under.get(message.id, [])
        deeper = depth + (len(below) > 1)
        rest += [(child, deeper) for child in reversed(below)]
    return lines


def _line(message: StoredMessage, depth: int, visible: set[int], path: list[int]) -> str:
    mark = ">" if path and message.id == path[-1] else "*" if message.id in visible else " "
    who = "you" if message.role is Role.USER else "it"
    state = "" if message.state is records.MessageState.COMPLETE else f" ({message.state})"
    return f"{mark} {message.id:>4} {'  ' * depth}{who}{state}: {sanitize_line(message.text, EXCERPT)}"


def _number(text: str, hint: str) -> int:
    if not text.isdecimal() or len(text) > 9:  # noqa: PLR2004 - no tree has so many messages
        raise UsageError(f"'{text}' is no number", hint)
    return int(text)
