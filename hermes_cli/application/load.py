"""Opens the engine of the chosen model, at once or on a thread."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hermes_cli.application.model_choice import ModelChoice
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.servers import connecting, open_server
from hermes_cli.engines.background import BackgroundEngine
from hermes_cli.engines.base import Cancel, Engine
from hermes_cli.errors import ResourcesExhausted

if TYPE_CHECKING:  # not imported for a model on a server
    from hermes_cli.models.plan.refusal import Smaller

Report = Callable[[int, int], None]
Notify = Callable[[str], None]


def open_later(runtime: Runtime, choice: ModelChoice, *, fallback: bool = False) -> BackgroundEngine:
    """Return an engine that loads the model on a thread. The caller starts it and prints its notices."""
    plan = choice.plan

    def opener(report: Report, notify: Notify, cancel: Cancel) -> Engine:
        return _load(runtime, choice, report, notify, cancel, fallback=fallback)

    return BackgroundEngine(
        opener,
        name=plan.model if plan else choice.selected.name,
        context_size=plan.context_size if plan else 0,
    )


def open_engine(
    runtime: Runtime, choice: ModelChoice, *, fallback: bool = False, notify_later: Notify | None = None
) -> Engine:
    """Load the model, and show a progress bar, or that a server is asked.

    The engine of a server calls `notify_later` with its messages during an answer; by default, they are
    printed at once.

    If memory runs out, ask at a terminal whether to use a smaller plan; with `fallback`, use it without
    asking.
    """
    terminal = runtime.terminal
    notify = terminal.notice
    if choice.server is not None:
        with connecting(terminal, choice.server) as stop_waiting:
            is_open = False

            def route(message: str) -> None:
                stop_waiting()
                (notify_later if is_open and notify_later is not None else notify)(message)

            engine = _load(runtime, choice, None, route, Cancel())
            is_open = True
            return engine
    try:
        return _load(runtime, choice, None, notify, Cancel(), fallback=fallback)
    except ResourcesExhausted as error:
        smaller = choice.plan.smaller if choice.plan else None
        if smaller is None or smaller.model or not (terminal.stdin_is_tty and terminal.stderr_is_tty):
            raise
        terminal.error(error.message)
        if not wants_smaller(runtime, smaller):
            raise
        from hermes_cli.application.local_engine import use_smaller

        use_smaller(choice, smaller)
    return _load(runtime, choice, None, notify, Cancel())


def wants_smaller(runtime: Runtime, smaller: "Smaller") -> bool:
    """Ask whether to load the model with the smaller plan."""
    answer = runtime.terminal.ask(f"Load it {smaller.what} instead? [Y/n] ").strip().lower()
    return answer in ("", "y", "yes")


def _load(
    runtime: Runtime,
    choice: ModelChoice,
    report: Report | None,
    notify: Notify,
    cancel: Cancel,
    *,
    fallback: bool = False,
) -> Engine:
    if choice.server is not None:
        choice.connection = open_server(runtime, choice.server, choice.context_size, notify, cancel)
        return choice.connection
    if choice.plan is not None:
        from hermes_cli.application.local_engine import load_planned

        return load_planned(runtime, choice, choice.plan, report, notify, fallback=fallback)
    from hermes_cli.engines.scripted import load_script

    return load_script(choice.script or Path())
