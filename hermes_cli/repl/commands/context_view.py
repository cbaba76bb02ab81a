"""`/context`: a chart of how the context window is used, and a change of its size."""

from typing import TYPE_CHECKING

from hermes_cli.errors import UsageError
from hermes_cli.options import CONTEXT_EXAMPLES, MAX_CONTEXT, MIN_CONTEXT, parse_context
from hermes_cli.repl.state import ReplState
from hermes_cli.repl.toolbar import ABOUT
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line

if TYPE_CHECKING:
    from hermes_cli.chat.prompt import Prompt  # imported with the first prompt

BAR = 30
"""Width in cells of a bar that fills the whole context window."""
FULL, EIGHTHS = "█", " ▏▎▍▌▋▊▉"


def context(state: ReplState, argument: str) -> None:
    """Show how the context window is used, or reload the model with a window of N tokens (`/context`)."""
    if not argument:
        state.print_next_speaker()
        state.show_rows(rows(state.session.assembled()))
        if state.session.engine.estimates_tokens:
            state.notice(f"{ABOUT} The server does not count tokens; these are estimates.")
        return
    size = parse_context(argument)
    if size is None or not MIN_CONTEXT <= size <= MAX_CONTEXT:
        raise UsageError(
            f"'{argument[:40]}' is not a size of the context window",
            f"/context takes a number of tokens, {MIN_CONTEXT} to {MAX_CONTEXT:,}, {CONTEXT_EXAMPLES}",
        )
    state.host.use_context(size, state.session)
    state.notice(f"Reloaded {sanitize_line(state.host.describe_model(), LONG_LINE)}")


def rows(prompt: "Prompt") -> list[tuple[str, ...]]:
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
