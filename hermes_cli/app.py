"""The typer app, which dispatches to the verbs and turns errors into exit codes.

The module of a verb is imported when the verb is used, so that `hermes --help` does not import a model
library.
"""

import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
import typer.core
import typer.main

from hermes_cli import __version__
from hermes_cli.application.runtime import Runtime
from hermes_cli.errors import Interrupted, ReaderGone, as_hermes_error
from hermes_cli.screen.terminal import Terminal

VERBS = {
    "chat": "Chat with a model.",
    "ask": "Answer one prompt and exit.",
    "tokens": "Show the token ids of the prompt that `ask` would send.",
    "models": "List, download, show and remove models.",
    "personas": "List, show, create, edit, check, import and export personas.",
    "sessions": "List, show, search, rename, remove, check, export and import conversations.",
    "config": "Show the settings and where they come from.",
    "doctor": "Show versions, hardware, folders and models, and what would be loaded.",
}
"""The verbs and their help texts. Each verb is a module of that name in `cli/` with an `app`."""


class VerbGroup(typer.core.TyperGroup):
    """A group of verbs that imports a verb's module when the verb is used, not when it is listed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Typer needs only the names, for "did you mean".
        self.commands = dict.fromkeys(VERBS)  # type: ignore[assignment]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the library's signature
        """Return the verb's command, or None if there is no such verb."""
        if cmd_name not in VERBS:
            return None
        command = typer.main.get_command(importlib.import_module(f"hermes_cli.cli.{cmd_name}").app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library's signature
        """Write the list of verbs from VERBS."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


app = typer.Typer(
    cls=VerbGroup,
    name="hermes",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(requested: bool) -> None:  # noqa: FBT001 - typer passes the flag by position
    if requested:
        typer.echo(f"hermes {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and the engine's own log.")] = False,  # noqa: FBT002
    version: Annotated[  # noqa: ARG001, FBT002 - the callback handles it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Chat with local ChatML models, above all OpenHermes 2 - Mistral 7B.

    Without a command: chat at a terminal, ask in a pipe.
    """
    runtime: Runtime = context.obj
    runtime.debug = debug
    if context.invoked_subcommand is None:
        verb = "chat" if runtime.terminal.interactive else "ask"
        module = importlib.import_module(f"hermes_cli.cli.{verb}")
        context.invoke(getattr(module, verb), context)


def run(arguments: Sequence[str], terminal: Terminal, environ: Mapping[str, str] = os.environ) -> int:
    """Run one command line and return its exit code. Errors are printed on standard error."""
    runtime = Runtime(terminal, environ)
    try:
        app(args=list(arguments), obj=runtime, prog_name="hermes", standalone_mode=True)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(bool(done.code))
    except (ReaderGone, Interrupted) as error:
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - show a message in place of a traceback
        if runtime.debug:
            import traceback

            terminal.notice(traceback.format_exc())
        known = as_hermes_error(error)
        terminal.error(f"hermes: {known.message}")
        if known.hint:
            terminal.notice(f"        {known.hint}")
        return known.exit_code
    finally:
        runtime.at_exit.close()
    return 0


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def main() -> NoReturn:
    """Run hermes as a program: handle signals, restore the terminal, and exit with the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP
            signal.signal(number, _interrupt)
    terminal = Terminal.from_process(os.environ)
    try:
        with terminal.restored():
            code = run(sys.argv[1:], terminal)
    except Interrupted as error:
        code = error.exit_code
    _leave(terminal, code)


def _leave(terminal: Terminal, code: int) -> NoReturn:
    """Exit the process without waiting for llama.cpp, whose threads may be in the middle of a batch."""
    for stream in (sys.stdout, terminal.stdout, terminal.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            code = code or ReaderGone.exit_code
    os._exit(code)
