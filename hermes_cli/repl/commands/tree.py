"""Slash commands that navigate and edit the conversation tree, and draw it as text."""

from hermes_cli.errors import UsageError
from hermes_cli.messages import Role
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.cells import cut
from hermes_cli.screen.columns import pluralize
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.tree import MessageState, Node, Tree

EXCERPT = 60
INDENT = "  "
LEGEND = "> is your position, * is shown, the others are on other branches; /goto ID goes to a message"


def undo(state: ReplState, argument: str) -> None:
    """Undo the user's last turn, or several; they stay in the tree (`/undo`)."""
    count = _number(argument, "/undo takes the number of turns to undo") if argument else 1
    state.session.undo(count)
    state.notice(f"{pluralize(count, 'turn')} undone; /tree still shows them.")


def again(state: ReplState, _argument: str) -> None:
    """Generate another answer to the last turn (`/regen`)."""
    state.answer(state.session.regenerate)
    _show_position(state)


def swipe(state: ReplState, argument: str) -> None:
    """Show another answer to the same turn; after the last one, generate a new one (`/swipe`)."""
    tree = state.session.tree
    count, index = _position(tree)
    match argument or "right":
        case "left":
            target = index - 1
        case "right":
            target = index + 1
        case number:
            target = _number(number, "/swipe takes left, right or a number") - 1
    if target < 0:
        raise UsageError("this is the first answer", "/swipe right shows the next")
    if target == count == index + 1 and not tree.is_at_greeting:
        state.answer(state.session.regenerate)
        _show_position(state)
        return
    state.session.swipe(target)
    _show_position(state)
    state.print_last_turns(1)


def _position(tree: Tree) -> tuple[int, int]:
    """Return the number of swipes of the last answer or greeting, and the index of the visible one."""
    swipes = [node.id for node in tree.swipes()]
    return len(swipes), swipes.index(tree.path[-1].id)


def _show_position(state: ReplState) -> None:
    count, index = _position(state.session.tree)
    state.notice(f"({index + 1} of {count})")


ANSWER = "answer"


def edit(state: ReplState, argument: str) -> None:
    """Replace a turn with the next line that is entered; the old turn stays in the tree (`/edit`).

    With `#ID`, replace a message of either side, and keep the later ones. The prompt is filled with the
    text. If $VISUAL or $EDITOR is set, that editor opens first.
    """
    session = state.session
    if argument.startswith("#"):
        node = session.tree.require_visible(_id(argument, "/edit #ID"))
        state.edit(node.text, lambda new: _change(state, node.id, new))
        return
    if argument == ANSWER:
        state.edit(session.require_answer().text, session.replace_answer)
        return
    count = _number(argument, f"/edit takes the number of turns back, '{ANSWER}' or #ID") if argument else 1
    text = session.tree.path[session.tree.user_turn(count)].text
    state.edit(text, lambda new: state.answer(lambda cancel: session.edit(count, new, cancel)))


def _change(state: ReplState, number: int, text: str | None) -> None:
    """Replace or delete a message on a new branch, and print where the earlier branch is."""
    last = state.session.tree.cursor
    state.session.branch(number, text)
    done = "Deleted" if text is None else "Changed"
    state.notice(f"{done} message {number} on a new branch; /goto {last} goes back to the earlier one.")


def delete(state: ReplState, argument: str) -> None:
    """Leave a message out of the conversation, which continues on a new branch (`/delete`)."""
    _change(state, _id(argument, "/delete"), None)


def hide(state: ReplState, argument: str) -> None:
    """Leave a message out of prompts, or include it again (`/hide`)."""
    number = _id(argument, "/hide")
    if state.session.hide(number):
        state.notice(f"Message {number} is hidden from the model; /hide {number} includes it again.")
    else:
        state.notice(f"Message {number} is a part of the prompt again.")


def _id(argument: str, command: str) -> int:
    """Return the number of a message, with or without `#`."""
    if not argument.strip("#"):
        raise UsageError(f"{command} takes the number of a message", "/tree shows the numbers")
    return _number(argument.removeprefix("#"), f"{command} takes a message's number; /tree shows them")


def go_to(state: ReplState, argument: str) -> None:
    """Go to any message of the tree (`/goto`)."""
    state.session.goto(_id(argument, "/goto"))
    state.print_last_turns(2)


def fork(state: ReplState, argument: str) -> None:
    """Continue in a copy of this conversation; the original is unchanged (`/fork`)."""
    session = state.session
    store, number = state.saved_conversation()
    old = store.conversation(number)
    title = argument or f"{old.title if old else ''} (fork)"
    session.fork(title)
    state.notice(
        f"Continuing in conversation {session.recorder.conversation}, '{sanitize_line(title)}'; "
        "the original is unchanged."
    )


def tree(state: ReplState, _argument: str) -> None:
    """Show every message of this conversation, each in one row, and the current position (`/tree`)."""
    tree, terminal = state.session.tree, state.terminal
    if not tree.nodes:
        raise UsageError("there are no messages yet", "send a message first")
    width = terminal.size()[0] if terminal.stderr_is_tty else None
    terminal.plain("\n".join(drawn(tree, width)))
    state.notice(LEGEND)


def drawn(tree: Tree, width: int | None = None) -> list[str]:
    """Return the tree as lines, indented at each branch; `*` marks visible messages, `>` the current one.

    With `width`, the indentation is at most a quarter of it, and each line is cut to fit.
    """
    deepest = len(tree) if width is None else width // (4 * len(INDENT))
    children: dict[int | None, list[Node]] = {}
    for message in tree.nodes:
        children.setdefault(message.parent, []).append(message)
    path = [node.id for node in tree.path]
    visible, lines = set(path), list[str]()
    roots = children.get(None, [])
    stack = [(message, int(len(roots) > 1)) for message in reversed(roots)]
    while stack:
        message, depth = stack.pop()
        line = _line(message, INDENT * min(depth, deepest), visible, path)
        lines.append(line if width is None else cut(line, width))
        replies = children.get(message.id, [])
        deeper = depth + (len(replies) > 1)
        stack += [(child, deeper) for child in reversed(replies)]
    return lines


def _line(message: Node, indent: str, visible: set[int], path: list[int]) -> str:
    mark = ">" if path and message.id == path[-1] else "*" if message.id in visible else " "
    who = sanitize_line(message.speaker) or ("you" if message.role is Role.USER else "it")
    state = "" if message.state is MessageState.COMPLETE else f" ({message.state})"
    state += " (hidden)" if message.is_hidden else ""
    return f"{mark} {message.id:>4} {indent}{who}{state}: {sanitize_line(message.text, EXCERPT)}"


def _number(text: str, hint: str) -> int:
    if not text.isdecimal() or len(text) > 9:  # noqa: PLR2004 - no tree has so many messages
        raise UsageError(f"'{text}' is not a number", hint)
    return int(text)
