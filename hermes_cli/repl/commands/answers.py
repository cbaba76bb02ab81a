"""Slash commands for answers: copy them, count tokens, show statistics, toggle Markdown."""

from hermes_cli.chat.statistics import statistics
from hermes_cli.errors import UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.repl.commands import context_view
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.columns import pluralize

CODE = "code"


def copy(state: ReplState, argument: str) -> None:
    """Copy the last answer, or the last code block in it, to the terminal's clipboard (`/copy`)."""
    answers = _answers(state)
    if not answers:
        raise UsageError("there is no answer to copy yet", "send a message first")
    if argument not in {"", CODE}:
        raise UsageError(f"/copy does not take '{argument}'", f"/copy, or /copy {CODE}")
    text = _last_code(answers[-1]) if argument else answers[-1]
    remark = state.terminal.copy(text)
    state.notice(f"Sent {pluralize(len(text), 'character')} to the terminal's clipboard (OSC 52). {remark}")


def _answers(state: ReplState) -> list[str]:
    """Return the character's messages, including the greeting but not the example messages."""
    return [turn.text for turn in state.session.turns if turn.role is Role.ASSISTANT]


def _last_code(answer: str) -> str:
    from hermes_cli.screen.markdown.block_structure import LeafKind, code_lines, parse

    found = [leaf for leaf in parse(answer).leaves if leaf.kind in {LeafKind.FENCE, LeafKind.INDENTED}]
    if not found:
        raise UsageError("the last answer has no code block", "/copy copies all of it")
    return "".join(f"{line}\n" for line in code_lines(found[-1].content))


def tokens(state: ReplState, argument: str) -> None:
    """Show how the context window is used, or the token count of a text (`/tokens`)."""
    if not argument:
        context_view.context(state, "")
        return
    engine, alone = state.session.engine, Message(Role.USER, argument)
    count = engine.count_tokens([alone]) - engine.count_tokens([Message(Role.USER, "")])
    state.show(pluralize(count, "token"))


def stats(state: ReplState, _argument: str) -> None:
    """Toggle statistics after each answer, and show those of the last one (`/stats`)."""
    state.statistics = not state.statistics
    if state.session.last is not None:
        state.show(f"  {statistics(state.session.last)}")
    now = "Statistics are printed after each answer." if state.statistics else "Statistics are off."
    state.notice(now)


def plain(state: ReplState, _argument: str) -> None:
    """Toggle between rendered Markdown and plain text (`/plain`)."""
    state.plain = not state.plain
    now = "Answers are shown as plain text." if state.plain else "Answers are shown as Markdown."
    state.notice(now)
