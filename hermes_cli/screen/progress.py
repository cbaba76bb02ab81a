"""Progress of downloads and model loading on standard error: bars at a terminal, else a line per download."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.screen.terminal import Terminal

DownloadReport = Callable[[str, int, int | None], None]
"""Called with a label, the bytes done, and the total bytes, or None if the total is unknown."""


@contextmanager
def progress(terminal: Terminal) -> Iterator[DownloadReport]:
    """Show the progress of downloads. Yield the function that reports it."""
    if terminal.quiet or not (terminal.stderr_is_tty and terminal.styles_stderr):
        yield _line_report(terminal)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=Console(file=terminal.stderr), transient=True) as bars:
        tasks: dict[str, int] = {}

        def report(label: str, done: int, total: int | None) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(sanitize_line(label), total=total)
            bars.update(tasks[label], completed=done, total=total)  # type: ignore[arg-type]

        yield report


@contextmanager
def loading(terminal: Terminal, name: str) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of loading a model, at a terminal only.

    Yield the function that reports it, which takes the number of loaded parts and the total.
    """
    if terminal.quiet or not (terminal.stderr_is_tty and terminal.styles_stderr):
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=terminal.stderr), transient=True) as bars:
        task = bars.add_task(f"loading {sanitize_line(name)}", total=None)

        def report(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        yield report


def _line_report(terminal: Terminal) -> DownloadReport:
    reported: set[str] = set()

    def report(label: str, _done: int, total: int | None) -> None:
        if label not in reported:
            reported.add(label)
            size = "" if total is None else f" ({total / 1e6:,.0f} MB)"
            terminal.notice(f"downloading {sanitize_line(label)}{size}")

    return report
