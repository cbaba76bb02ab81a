"""Downloads models, and offers some to a user who has none."""

from pathlib import Path

from hermes_cli.application.runtime import Runtime
from hermes_cli.models import hardware, offer, selection, starter
from hermes_cli.models.catalogue import STARTER
from hermes_cli.models.download import estimate, size_text
from hermes_cli.models.forms import choose_form
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.hub import cache, repository
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.reference import parse, variant_ref
from hermes_cli.screen.columns import columns
from hermes_cli.screen.progress import progress
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line

HUB_PATIENCE_S = 3.0


def offer_models(runtime: Runtime, machine: Hardware, request: PlanRequest) -> str:
    """Return the name of a model for a machine without one, and download it unless it is the starter.

    Ask the user if there are several choices, a terminal and a connection; otherwise use the starter.
    """
    terminal = runtime.terminal
    choices = offer.suggest_models(machine, request)
    can_ask = terminal.stdin_is_tty and terminal.stderr_is_tty and len(choices) > 1
    if terminal.stderr_is_tty:
        terminal.prose("There is no model on this machine yet.")
    if not can_ask:
        return STARTER.alias
    if not repository.hub_reachable(HUB_PATIENCE_S):
        terminal.prose("The hub of models cannot be reached; only the starter is available.")
        return STARTER.alias
    terminal.prose("Choose one to download:")
    rows = [(str(n), one.name, size_text(one.size), one.description) for n, one in enumerate(choices, 1)]
    terminal.rows(columns(rows, indent="  "))
    by_number = {number: name for number, name, *_ in rows}
    *others, last = by_number
    answer = terminal.ask(f"{', '.join(others)} or {last} [1]: ").strip()
    chosen = by_number.get(answer, STARTER.alias)
    if chosen != STARTER.alias:
        pull(runtime, chosen)
    return chosen


def fetch_starter(runtime: Runtime) -> Path:
    """Download the starter model if it is missing, and return its path."""
    folder = runtime.paths.models
    if runtime.terminal.stderr_is_tty and not starter.is_installed(folder):
        target = sanitize_line(str(folder), LONG_LINE)
        runtime.terminal.prose(f"Downloading the starter ({size_text(STARTER.gguf.size)}) to {target}")
    with progress(runtime.terminal) as report:
        return starter.fetch(folder, progress=report)


def pull(runtime: Runtime, name: str) -> Path:
    """Download a model by name if it is missing, and return its path.

    Before a model of the catalogue is downloaded, print its size, the estimated time and the free disk
    space; for a short name, also print the chosen form and the reason.
    """
    ref = parse(name, models_dir=runtime.paths.models)
    if ref.entry is not None and ref.variant is None:
        choice = choose_form(ref.entry, hardware.probe(), PlanRequest())
        name, reason = choice.chosen.name, choice.reason
        reason = sanitize_line(reason.removeprefix(f"{name} "), LONG_LINE)
        runtime.terminal.notice(f"{name} ({choice.chosen.size}): {reason}")
        ref = variant_ref(choice.chosen.variant)
    if ref.is_starter:
        return fetch_starter(runtime)
    installed = selection.find(ref, runtime.paths.models)
    if installed is not None and not installed.broken:
        return installed.path
    if ref.variant is not None:
        folder = cache.cache_folder()
        size, duration = size_text(ref.variant.size), estimate(ref.variant.size, folder)
        target = sanitize_line(str(folder), LONG_LINE)
        runtime.terminal.notice(f"Downloading {size} to {target}: {duration}.")
        if ref.variant.gated and ref.entry is not None:
            free = ref.entry.spelling(ref.entry.gguf)
            runtime.terminal.notice(f"{ref.name} is gated: its terms must be accepted; {free} is not gated")
    with progress(runtime.terminal) as report:
        return repository.pull(str(ref.repo), ref.file, progress=report)
