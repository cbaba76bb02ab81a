"""`hermes models`: list, search, download, show, plan, quantize and remove models."""

import json
import shlex
from collections.abc import Collection
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_cli.application.flags import Flags
from hermes_cli.application.runtime import Runtime
from hermes_cli.cli.command import PLAN, command, new_app
from hermes_cli.errors import ConfigError, UsageError
from hermes_cli.screen.columns import columns, pluralize
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line

if TYPE_CHECKING:
    from hermes_cli.application.local_choice import PlanReport
    from hermes_cli.application.model_search import SearchResult
    from hermes_cli.engines.remote.address import ServerAddress
    from hermes_cli.models.plan.request import PlanRequest

app = new_app(
    "List, search, download, show and remove models.",
    examples=(
        "hermes models search qwen3 8b",
        "hermes models pull openhermes-2",
        "hermes models plan openhermes-2 --context 8192",
    ),
)
cache = new_app("Manage the prompt cache, which saves the KV caches of system prompts between runs.")
app.add_typer(cache, name="cache")

SHOWN_FILES = 40

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A short name, a .gguf file, a folder, or owner/name on the hub."),
]


@command(app, "list")
def list_models(
    runtime: Runtime,
    servers: Annotated[
        bool,
        typer.Option(
            "--servers", help="Ask the model servers of this machine and of the config file for their models."
        ),
    ] = False,
) -> None:
    """List the installed models and the models available for download.

    For each model, mark the form that runs best on this machine. Its short name selects this form. A gated
    form can be downloaded after you have accepted its terms on the hub.

    With --servers, list the models of running servers instead: those of the config file, and those at the
    usual ports of this machine. Without it, no server is contacted.
    """
    if servers:
        _list_servers(runtime)
        return
    from hermes_cli.application.local_choice import best_forms
    from hermes_cli.models import local
    from hermes_cli.models.catalogue import CATALOGUE

    installed = local.installed(runtime.paths.models)
    names, best = {m.name for m in installed}, best_forms()
    if installed:
        rows = [_list_row(m.name, m.size, m.precision, m.broken or _marks(m.name, best)) for m in installed]
        runtime.terminal.write_rows(f"installed\n{columns(rows, indent='  ')}")
    available = {
        f"{entry.description} ({entry.licence})": [
            _list_row(name, variant.size, variant.precision, _marks(name, best, gated=variant.gated))
            for variant in entry.variants
            if (name := entry.spelling(variant)) not in names
        ]
        for entry in CATALOGUE.values()
    }
    lines = iter(columns([row for rows in available.values() for row in rows], indent="  ").split("\n"))
    for description, rows in available.items():
        if rows:  # the columns of all models are aligned
            runtime.terminal.write_rows("\n".join([description, *islice(lines, len(rows))]))
    with suppress(ConfigError):  # the other lists do not need the config file
        _list_configured(runtime)
    runtime.terminal.notice("'hermes models pull NAME' downloads one of these models")


def _list_configured(runtime: Runtime) -> None:
    """Print the servers of the config file, without contacting them."""
    if not runtime.settings.servers:
        return
    from hermes_cli.application.server_list import configured_text

    runtime.terminal.write_rows(f"servers\n{configured_text(runtime)}")
    runtime.terminal.notice("'hermes models list --servers' asks these servers for their models")


def _list_servers(runtime: Runtime) -> None:
    from hermes_cli.application.server_list import all_states, states_text
    from hermes_cli.engines.remote.address import LOCAL_PORTS

    states = all_states(runtime)
    if states:
        runtime.terminal.write_rows(states_text(states, runtime.environ))
        runtime.terminal.notice("-m takes the names in the first column; 'hermes models plan NAME' has more")
    else:
        ports = ", ".join(f"{name} {port}" for name, port in LOCAL_PORTS.items())
        runtime.terminal.notice(f"no model server answers at the usual ports of this machine: {ports}")


def _list_row(name: str, size: int, precision: str, note: str) -> tuple[str, str, str, str]:
    from hermes_cli.models.download import size_text

    return name, size_text(size), precision, note


def _marks(name: str, best: Collection[str], *, gated: bool = False) -> str:
    return ", ".join(["best form here"] * (name in best) + ["gated"] * gated)


@command(app, "search", examples=("hermes models search qwen3 8b --limit 3",))
def search(
    runtime: Runtime,
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help="Words in the name of the model.")],
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=20, metavar="N", help="Show at most N models.")
    ] = 5,
) -> None:
    """Search the Hugging Face hub for models, and show which files fit this machine.

    Show the files that hermes can load, most downloaded models first. The last column is the name to give to
    'hermes models pull' or -m. Whether a file fits is an estimate from its size.
    """
    from hermes_cli.application.model_search import search_models

    text = " ".join(words)
    is_found = has_gated = False
    for result in search_models(text, limit):
        is_found, has_gated = True, has_gated or result.model.is_gated
        runtime.terminal.write_rows(_search_text(result))
    if not is_found:
        runtime.terminal.notice(f"the hub lists no model that hermes can load for '{sanitize_line(text)}'")
        return
    runtime.terminal.notice(
        "'hermes models pull NAME' downloads one of these; whether it fits is estimated from its size"
    )
    if has_gated:
        runtime.terminal.notice(
            "for a gated model, accept its terms on https://huggingface.co, then run 'hf auth login'"
        )


def _search_text(result: "SearchResult") -> str:
    """Return a heading with the repository, and one row for each file."""
    from hermes_cli.models.download import size_text

    model = result.model
    gated = "gated" if model.is_gated else ""
    facts = (model.repo, sanitize_line(model.licence, 60), gated, pluralize(model.downloads, "download"))
    heading = sanitize_line(" · ".join(filter(None, facts)), LONG_LINE)
    if model.problem:
        return f"{sanitize_line(model.repo)}\n  {sanitize_line(model.problem, LONG_LINE)}"
    rows = [
        (file.precision, size_text(file.size) if file.size else "", file.fit, shlex.quote(file.argument))
        for file in result.files[:SHOWN_FILES]
    ]
    more = len(result.files) - len(rows)
    lines = [heading, columns(rows, indent="  "), f"  and {more} more" if more else ""]
    return "\n".join(filter(None, lines))


@command(app, "pull")
def pull(runtime: Runtime, name: Name) -> None:
    """Download a model."""
    from hermes_cli.application import model_download
    from hermes_cli.application.local_choice import default_notice
    from hermes_cli.application.servers import local_model

    with default_notice(runtime), local_model(runtime, name):
        path = model_download.pull(runtime, name)
    runtime.terminal.write(f"{path}\n")


@command(app, "show")
def show(runtime: Runtime, name: Name) -> None:
    """Show a model's metadata, without loading it."""
    from hermes_cli.application.servers import local_model
    from hermes_cli.models import describe, selection

    with local_model(runtime, name):
        model = selection.installed_model(name, runtime.paths.models)
    runtime.terminal.write_rows(columns(describe.rows(model)))


@command(
    app,
    "plan",
    takes=("model", "personas", *PLAN, "insecure"),
    examples=(
        "hermes models plan openhermes-2 --context 8192",
        "hermes models plan http://localhost:8080/v1",
    ),
)
def plan(
    runtime: Runtime,
    flags: Flags,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A model, as given to -m.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how a model would run on this machine, with the memory that each option needs.

    A model with a short name does not have to be downloaded first. Without NAME, show the default model.

    For a model on a server, connect to it, and show what the server supports.
    """
    from hermes_cli.application.local_choice import plan_of
    from hermes_cli.application.servers import find_server, suggested_server

    if name is not None and flags.model is not None:
        raise UsageError("NAME and -m both name a model", "omit one of them")
    name = name if name is not None else flags.model
    persona = runtime.persona(flags.persona)
    request = flags.plan_request(runtime.settings, persona)
    if (address := find_server(runtime, name, insecure=flags.insecure)) is not None:
        flags.check_server()
        _print_server_plan(runtime, address, request, as_json=as_json)
        return
    with suggested_server(runtime, name):
        planned = plan_of(runtime, name, request)
    _print_plan(runtime, planned, as_json=as_json)


def _print_plan(runtime: Runtime, planned: "PlanReport", *, as_json: bool) -> None:
    """Print the plan of a model on this machine. Raises the error of planning, after the table."""
    from hermes_cli.models import requirements
    from hermes_cli.models.plan import report

    facts, result = planned.facts, planned.result
    if as_json:
        plan_object = report.plan_object(facts, result, fetched=planned.is_installed)
        runtime.terminal.write(json.dumps(plan_object | _forms_object(planned), ensure_ascii=False) + "\n")
    elif rows := report.candidates_of(result):
        table = columns(report.table(rows))
        runtime.terminal.write_rows(table if runtime.terminal.has_room_for(table) else report.stacked(rows))
    if not planned.is_installed:
        runtime.terminal.notice(f"{facts.name} is not downloaded yet; its size is taken from the catalogue")
    if isinstance(result, Exception):
        raise result
    if as_json:
        return
    lines = [result.summary, result.reason]
    if planned.forms:
        lines += ["", *(f"{form.name} {form.how}" for form in planned.forms), f"chosen: {planned.why}"]
    runtime.terminal.write_rows("\n".join(["", *(sanitize_line(line, LONG_LINE) for line in lines)]))
    if problem := requirements.unmet(result, facts):
        runtime.terminal.notice(f"{facts.name} cannot run yet: {problem.message}; {problem.hint}")
    if planned.advice:
        runtime.terminal.notice(sanitize_line(str(planned.advice), LONG_LINE))


def _print_server_plan(
    runtime: Runtime, address: "ServerAddress", request: "PlanRequest", *, as_json: bool
) -> None:
    from hermes_cli.application.server_plan import plan_server

    planned = plan_server(runtime, address, request)
    if as_json:
        runtime.terminal.write(json.dumps(planned.as_object(), ensure_ascii=False) + "\n")
    else:
        runtime.terminal.write_rows(planned.text())


def _forms_object(planned: "PlanReport") -> dict[str, object]:
    """Return the forms of a short name as a JSON object, which is empty if there is only one."""
    if not planned.forms:
        return {}
    forms = [
        {"name": form.name, "runs": form.plan is not None, "how": form.how, "installed": form.installed}
        for form in planned.forms
    ]
    return {"forms": forms, "form_reason": planned.why}


@command(app, "rm")
def rm(runtime: Runtime, name: Name) -> None:
    """Remove a model."""
    from hermes_cli.application.servers import local_model
    from hermes_cli.models import local, selection
    from hermes_cli.models.download import size_text

    with local_model(runtime, name):
        model = selection.installed_model(name, runtime.paths.models)
    freed = local.remove(model, runtime.paths.models)
    runtime.terminal.notice(f"Removed {model.name}; freed {size_text(freed)}.")


@command(app, "quantize", takes=("device",))
def quantize(
    runtime: Runtime,
    flags: Flags,
    name: Name,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Write to this folder instead of the models folder.", metavar="FOLDER"
        ),
    ] = None,
) -> None:
    """Quantize a model's weights to 4 bits (NF4) and save them, so that later loads are faster.

    Print the name of the saved model, for use with -m.
    """
    from hermes_cli.application.local_engine import quantize_model

    runtime.terminal.write(f"{quantize_model(runtime, name, output, flags.device)}\n")


@command(cache, "clear")
def clear_cache(runtime: Runtime) -> None:
    """Clear the prompt cache."""
    from hermes_cli.engines.prompt_cache_dir import PromptCacheDir
    from hermes_cli.models.download import size_text

    count, size = PromptCacheDir(runtime.paths.prefixes).clear()
    runtime.terminal.notice(f"Removed {pluralize(count, 'system prompt')}; freed {size_text(size)}.")
