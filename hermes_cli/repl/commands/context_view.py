"""`/context`: a chart of how the context window is used, and the parts that are left out."""

from hermes_cli.chat.prompt import Prompt
from hermes_cli.errors import UsageError
from hermes_cli.repl.state import ReplState

BAR = 30
"""Width in cells of a bar that fills the whole context window."""
FULL, EIGHTHS = "█", " ▏▎▍▌▋▊▉"


def context(state: ReplState, argument: str) -> None:
    """Show how the context window is used (`/context`)."""
    if argument:
        raise window_error()
    state.show_rows(rows(state.session.assembled()))


def window_error() -> UsageError:
    """Return the error for an attempt to change the size of the context window during a run."""
    return UsageError(
        "the size of the context window cannot be changed in a running chat",
        "'hermes chat -c --context N' continues this conversation with another size",
    )


def rows(prompt: Prompt) -> list[tuple[str, ...]]:
    """Return the parts of a prompt in order, each with a bar, followed by the totals."""
    table = list[tuple[str, ...]]()
    for part in prompt.parts:
        name = part.kind if part.of == 1 else f"{part.kind}, {part.kept} of {part.of}"
        left_out = f"{part.of - part.kept} left out" if part.kept < part.of else ""
        table.append((name, f"{part.tokens:>7,}", f"{bar(part.tokens, prompt.window)} {left_out}".rstrip()))
    free = max(0, prompt.window - prompt.tokens)
    remark = "reserved for the answer"
    if prompt.answer_room < free:
        remark = f"{prompt.answer_room:,} of them are {remark}"
    table.append(("total", f"{prompt.tokens:>7,}", f"of {prompt.window:,} tokens"))
    table.append(("free", f"{free:>7,}", remark))
    return table


def bar(tokens: int, window: int) -> str:
    """Return a bar for the tokens' share of the window. It is empty only if there are no tokens."""
    eighths = max(1, round(tokens * BAR * 8 / window)) if tokens else 0
    return FULL * (eighths // 8) + EIGHTHS[eighths % 8].strip()
