"""Registers commands with typer, and calls each with the runtime, the shared flags and its own arguments."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields
from inspect import Parameter
from typing import Annotated, Any

import typer

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

CONVERSATION = ("model", "persona", "system", "user", "lore", "on_overflow")
PLAN = ("context", "precision", "device", "gpu_layers", "kv")
SAMPLING = tuple(FIELDS)


def new_app(help_text: str = "") -> typer.Typer:
    """Return a typer app, or with `help_text` a command group that prints its help if no command is given."""
    return typer.Typer(
        help=help_text, no_args_is_help=bool(help_text), add_completion=False, rich_markup_mode=None
    )


def command(
    app: typer.Typer, name: str | None = None, takes: Sequence[str] = ()
) -> Callable[[Function], Function]:
    """Register a function as a command of `app`.

    `takes` lists the shared flags (fields of Flags) and the generation options that the command accepts. The
    function is called with the Runtime, its own parameters, and Flags as `flags` if `takes` is not empty.
    """

    def register(function: Function) -> Function:
        _, *own = inspect.signature(function).parameters.values()
        context = Parameter("_context", Parameter.KEYWORD_ONLY, annotation=typer.Context)

        @functools.wraps(function)
        def call(_context: typer.Context, **arguments: Any) -> None:
            if takes:
                flags = {flag: arguments.pop(flag) for flag in takes if flag in arguments}
                sampling = {name: flags.pop(name) for name in SAMPLING if name in flags}
                arguments["flags"] = Flags(**flags, sampling=sampling)
            function(_context.obj, **arguments)

        parameters = [
            parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own if parameter.name != "flags"
        ]
        signature = inspect.Signature([context, *parameters, *map(_parameter, takes)])
        call.__signature__ = signature  # type: ignore[attr-defined]
        app.command(name)(call)
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
