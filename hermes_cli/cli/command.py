"""Registers commands with typer, and calls each with the runtime, the shared flags and its own arguments."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from hermes_cli.application.flags import Flags, option_parameter
from hermes_cli.options import FIELDS

Function = Callable[..., None]

Output = Annotated[
    str,
    typer.Option(
        "-o", "--output", metavar="FILE", help="Write to this file or folder instead of standard output."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
Prompt = Annotated[
    list[str] | None, typer.Argument(help="The prompt.", metavar="[PROMPT]...", show_default=False)
]
Files = Annotated[
    list[Path] | None,
    typer.Option("-f", "--file", help="Add a text file to the prompt; several may follow.", metavar="FILE"),
]
Prefill = Annotated[str, typer.Option("--prefill", help="Begin the answer with this text.", metavar="TEXT")]
Raw = Annotated[
    bool, typer.Option("--raw", help="Complete the prompt as plain text, without a persona or chat template.")
]

CONVERSATION = ("model", "personas", "system", "user", "lore", "on_overflow")
PLAN = ("context", "precision", "device", "gpu_layers", "kv", "chat_template")
SAMPLING = tuple(FIELDS)


def _set_debug(context: typer.Context, requested: bool) -> None:  # noqa: FBT001 - typer's signature
    if requested and context.obj is not None:
        context.obj.debug = True


Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        callback=_set_debug,
        is_eager=True,
        hidden=True,
        help="Show tracebacks and the engine's log.",
    ),
]
"""`--debug` after a command. The help of `hermes` lists it."""


class Command(typer.core.TyperCommand):
    """A command whose usage shows the arguments as its help does."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line, without typer's braces around required arguments."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


class Group(typer.core.TyperGroup):
    """A command group that shows the first line of each command's help in full."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library's signature
        """List the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, (command.help or "").partition("\n")[0]) for name, command in self.commands.items()]
            )


def examples_text(examples: Sequence[str]) -> str:
    """Return the examples at the end of a help text. Its first line keeps the lines apart."""
    return "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)]) if examples else ""


def new_app(help_text: str = "", *, examples: Sequence[str] = ()) -> typer.Typer:
    """Return a typer app, or with `help_text` a command group that prints its help if no command is given."""
    app = typer.Typer(
        cls=Group,
        help=help_text,
        epilog=examples_text(examples),
        no_args_is_help=bool(help_text),
        add_completion=False,
        rich_markup_mode=None,
    )
    if help_text:

        @app.callback(help=help_text, epilog=examples_text(examples))
        def group(debug: Debug = False) -> None:
            pass

    return app


def command(
    app: typer.Typer,
    name: str | None = None,
    takes: Sequence[str] = (),
    *,
    examples: Sequence[str] = (),
    writes: str = "",
) -> Callable[[Function], Function]:
    """Register a function as a command of `app`, with examples for its help.

    `writes` is the folder, an attribute of Paths, that the command must be able to write, if there is one.

    `takes` lists the shared flags (fields of Flags) and the generation options that the command accepts. The
    function is called with the Runtime, its own parameters, and Flags as `flags` if `takes` is not empty.
    """

    def register(function: Function) -> Function:
        _, *own = inspect.signature(function).parameters.values()
        context = Parameter("_context", Parameter.KEYWORD_ONLY, annotation=typer.Context)
        debug = Parameter("_debug", Parameter.KEYWORD_ONLY, default=False, annotation=Debug)

        @functools.wraps(function)
        def call(_context: typer.Context, **arguments: Any) -> None:
            del arguments["_debug"]  # its callback handles it
            if takes:
                flags = {flag: arguments.pop(flag) for flag in takes if flag in arguments}
                sampling = {name: flags.pop(name) for name in SAMPLING if name in flags}
                arguments["flags"] = Flags(**flags, sampling=sampling)
            if writes:
                _context.obj.require_home(writes)
            function(_context.obj, **arguments)

        parameters = [
            parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own if parameter.name != "flags"
        ]
        signature = inspect.Signature([context, debug, *parameters, *map(_parameter, takes)])
        call.__signature__ = signature  # type: ignore[attr-defined]
        app.command(name, cls=Command, epilog=examples_text(examples))(call)
        return call

    return register


def _parameter(name: str) -> Parameter:
    """Return the typer parameter of a shared flag or a generation option."""
    if name in FIELDS:
        kind = list[str] if FIELDS[name].kind is str else str
        annotation: Any = Annotated[kind | None, option_parameter(name)]
        return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
    (flag,) = (field for field in fields(Flags) if field.name == name)
    annotation = Annotated[flag.type, flag.metadata["option"]]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=flag.default, annotation=annotation)
