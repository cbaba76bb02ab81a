"""The slash commands that move about in the conversation's tree, and the tree's picture."""

from collections.abc import Mapping

from hermes_cli.chat import branches
from hermes_cli.errors import StoreError, UsageError
from hermes_cli.messages import Role
from hermes_cli.repl.state import State
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.store import records
from hermes_cli.store.records import StoredMessage

EXCERPT = 60


def undo(state: State, argument: str) -> None:
    """`/undo`: stand before one's last turn; it stays in the tree."""
    count = _number(argument, "/undo takes how many turns to undo") if argument else 1
    branches.undo(state.session, count)
    state.notice(f"{count} turn{'' if count == 1 else 's'} undone; /tree shows where they are.")


def again(state: State, _argument: str) -> None:
    """`/regen`: another answer to the last turn."""
    state.answer(state.session.again, "")
    _say_place(state)


def swipe(state: State, argument: str) -> None:
    """`/swipe`: another one of the answers at this point; to the right of the last a new one."""
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


def _say_place(state: State) -> None:
    """Say which of the answers at this point is visible, where a fault has not ended the keeping."""
    if state.session.keeper.store is None:
        return
    try:
        count, place = branches.alternatives(state.session)
    except StoreError as error:  # the answer itself came, and is kept
        state.notice(f"(the other answers cannot be read: {error.message})")
        return
    state.notice(f"({place + 1} of {count})")


ANSWER = "answer"


def edit_choices(_state: State) -> Mapping[str, str]:
    """Return what `/edit` can be asked for."""
    return {ANSWER: "the last answer, in your words"}


def edit(state: State, argument: str) -> None:
    """`/edit`: the next line stands in the place of a turn; the turn itself stays in the tree.

    The turn is opened in the person's editor, where there is one, and then stands in the line to be sent.
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


def go_to(state: State, argument: str) -> None:
    """`/goto`: stand at any message of the tree."""
    branches.go_to(state.session, _number(argument, "/goto takes a message's number; /tree shows them"))
    state.recall(2)


def fork(state: State, argument: str) -> None:
    """`/fork`: go on in a copy, and leave this one as it is."""
    made = branches.fork(state.session, argument)
    state.notice(
        f"Going on in conversation {made.id}, '{sanitize_line(made.title)}'; the other stays as it was."
    )


def tree(state: State, _argument: str) -> None:
    """`/tree`: every message of this conversation, and where one stands."""
    keeper = state.session.keeper
    if keeper.conversation is None:
        raise UsageError("nothing was said yet", "ask something first")
    messages = branches.store_of(state.session).tree(keeper.conversation)
    state.show("\n".join(drawn(messages, keeper.path)))


def drawn(messages: list[StoredMessage], path: list[int]) -> list[str]:
    """Return the tree as lines: indented where it branches, a star on what is visible."""
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
    state = "" if message.state is records.State.COMPLETE else f" ({message.state})"
    return f"{mark} {message.id:>4} {'  ' * depth}{who}{state}: {sanitize_line(message.text, EXCERPT)}"


def _number(text: str, hint: str) -> int:
    if not text.isdecimal() or len(text) > 9:  # noqa: PLR2004 - no tree has so many messages
        raise UsageError(f"'{text}' is no number", hint)
    return int(text)
