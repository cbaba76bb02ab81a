"""The typer app, which runs the subcommands and turns errors into exit codes.

A subcommand's module is imported only when it is used, so that `hermes --help` imports no model library.
"""

import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
import typer.core
import typer.main

from hermes_cli import __version__
from hermes_cli.application.runtime import Runtime
from hermes_cli.cli import command_line
from hermes_cli.cli.command import Group
from hermes_cli.cli.usage_error import CLICK_EXCEPTION, print_usage_error
from hermes_cli.errors import Interrupted, ReaderGone, as_hermes_error
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line
from hermes_cli.screen.terminal import Terminal

VERBS = {
    "chat": "Chat with a model.",
    "ask": "Answer one prompt and exit.",
    "tokens": "Show the token ids of the prompt that `ask` would send.",
    "models": "List, search, download, show and remove models.",
    "personas": "List, show, create, edit, check, import and export personas.",
    "sessions": "List, show, search, rename, remove, check, export and import conversations.",
    "config": "Show and change the settings.",
    "doctor": "Show versions, hardware, folders and models, and find problems.",
    "completion": "Print a script with which a shell completes commands, options and names.",
}
"""The subcommands ("verbs") and their help. Each one is a module in `cli/` that defines `app`."""

AGAIN_S = 0.01

HIDDEN_VERBS = ("ps",)
"""The subcommands that the help does not list."""


class VerbGroup(Group):
    """A command group that imports a subcommand's module when it is used, not when it is listed."""

    completed_as = command_line.COMPLETED_AS

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Placeholders: only their names and help lines are used.
        self.commands = {name: typer.core.TyperCommand(name, help=line) for name, line in VERBS.items()}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the library's signature
        """Import and return a subcommand, or return None if there is none with this name."""
        if cmd_name not in (*VERBS, *HIDDEN_VERBS):
            return None
        command = typer.main.get_command(importlib.import_module(f"hermes_cli.cli.{cmd_name}").app)
        command.name = cmd_name
        return command

    def without_command(self) -> Any:
        """Return the subcommand whose options a shell completes if there is no subcommand yet."""
        return self.get_command(None, "ask")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the subcommand. Without a subcommand, one is chosen."""
        interactive = ctx.obj is not None and ctx.obj.terminal.interactive
        commands = partial(self.get_command, ctx)
        return super().parse_args(ctx, command_line.completed(args, VERBS, commands, interactive=interactive))


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


@app.callback()
def start(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and the engine's log.")] = False,  # noqa: FBT002
    version: Annotated[  # noqa: ARG001, FBT002 - the callback handles it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Chat with local models, primarily OpenHermes 2 - Mistral 7B.

    Without a command, hermes runs `chat` in a terminal and `ask` in a pipe, with the options of that command.
    hermes "PROMPT" is hermes ask "PROMPT".

    The commands run, pull, list, show, ps, help and version work as in ollama.
    """
    context.obj.debug = debug


def run(arguments: Sequence[str], terminal: Terminal, environ: Mapping[str, str] = os.environ) -> int:
    """Run one command line and return its exit code. Errors are printed on standard error."""
    runtime = Runtime(terminal, environ)
    try:
        # An empty name of the variable turns off typer's shell completion, which prints that variable.
        # The command `completion` replaces it.
        code = app(
            args=list(arguments), obj=runtime, prog_name="hermes", complete_var="", standalone_mode=False
        )
    except SystemExit as system_exit:
        return system_exit.code if isinstance(system_exit.code, int) else int(bool(system_exit.code))
    except (ReaderGone, Interrupted) as error:
        return error.exit_code
    except typer.Abort:
        terminal.error("hermes: aborted")
        return 1
    except Exception as error:  # noqa: BLE001 - show a message instead of a traceback
        if isinstance(error, CLICK_EXCEPTION):
            return print_usage_error(error, terminal)
        if runtime.debug:
            import traceback

            terminal.notice(traceback.format_exc())
        known = as_hermes_error(error)
        hint = f"        {known.hint}" if known.hint else ""
        terminal.error(f"hermes: {sanitize_line(known.message, LONG_LINE)}", hint)
        return known.exit_code
    finally:
        runtime.at_exit.close()
    return code if isinstance(code, int) else 0


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def _interrupt_again(ignored: "sys.UnraisableHookArgs") -> None:
    """Raise Interrupted again, soon, if a signal arrived in a destructor, whose exceptions Python ignores."""
    error = ignored.exc_value
    if not isinstance(error, Interrupted):
        sys.__unraisablehook__(ignored)
        return
    number = error.exit_code - 128
    signal.signal(signal.SIGALRM, lambda _alarm, frame: _interrupt(number, frame))
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S)


def handle_signals() -> None:
    """Make Ctrl-C, SIGTERM and SIGHUP raise Interrupted, unless the parent process ignores them."""
    sys.unraisablehook = _interrupt_again
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` sets SIG_IGN for SIGHUP
            signal.signal(number, _interrupt)


def main() -> NoReturn:
    """Run the program: handle signals, restore the terminal afterwards, and exit."""
    handle_signals()
    terminal = Terminal.from_process(os.environ)
    try:
        with terminal.restored():
            code = run(sys.argv[1:], terminal)
    except Interrupted as error:
        code = error.exit_code
    _leave(terminal, code)


def _leave(terminal: Terminal, code: int) -> NoReturn:
    """Exit the process without waiting for llama.cpp's threads, which may be processing a batch."""
    for stream in (sys.stdout, terminal.stdout, terminal.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            code = code or ReaderGone.exit_code
    os._exit(code)
