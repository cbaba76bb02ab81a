"""Run rows of the table: `python -m benchmarks [ROW…] [--repeats N] [--quick]`.

Prints one table, writes one JSON file under benchmarks/results/, and exits 1 if a gate failed.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.measure import PATIENCE_S, ROOT, Bench
from benchmarks.report import RESULTS, Line, environment, missing, report
from benchmarks.rows import (
    ask,
    chat_startup,
    command_startup,
    decode_transformers,
    first_token,
    lookup_speculation,
    markdown_adversarial,
    prefill,
    prefill_ahead,
    prefix_reuse,
    render_cost,
    server_overhead,
    store_queries,
)
from benchmarks.weights import NEEDED
from hermes_cli.models import hardware, starter

Rows = Mapping[str, Callable[[Bench], list[Line]]]
ROWS: Rows = {
    "decode": ask.measure_decode,
    "lookup-speculation": lookup_speculation.measure,
    "lookup-speculation-transformers": lookup_speculation.measure_transformers,
    "decode-transformers": decode_transformers.measure,
    "prefix-reuse": prefix_reuse.measure,
    "prefix-reuse-transformers": prefix_reuse.measure_transformers,
    "first-token": first_token.measure,
    "prefill-ahead": prefill_ahead.measure,
    "render-cost": render_cost.measure,
    "terminal-bytes": render_cost.measure_bytes,
    "markdown-adversarial": markdown_adversarial.measure,
    "command-startup": command_startup.measure,
    "chat-startup": chat_startup.measure,
    "chat-startup-server": chat_startup.measure_server,
    "ask-cold": ask.measure_cold,
    "peak-memory": ask.measure_memory,
    "peak-memory-transformers": ask.measure_memory_transformers,
    "server-overhead": server_overhead.measure,
    "lore-prefill": prefill.measure_lore,
    "full-window-prefill": prefill.measure_window,
    "store-queries": store_queries.measure,
    "decode-busy": ask.measure_busy,
}
DEFAULT = [row for row in ROWS if row != "decode-busy"]
"""The rows that are measured if none is named. decode-busy has no goal and takes minutes."""
TORCH_ROWS = {"first-token", *(row for row in ROWS if row.endswith("-transformers"))}
MODELS = ROOT / ".cache" / "models"
PACKAGES = ("openhermes-cli", "xllamacpp", *NEEDED[:4], "typer", "llm", "prompt_toolkit", "rich")
REPEATS = 5
QUICK = 2


def main(arguments: Sequence[str], known: Rows = ROWS, results: Path = RESULTS) -> int:
    options = _parse(arguments, list(known))
    machine = hardware.probe()
    with tempfile.TemporaryDirectory(prefix="hermes-bench-") as name:
        scratch = Path(name)
        model = starter.fetch(MODELS).resolve()
        link = starter.path_in(scratch / "home" / "data" / "models")
        link.parent.mkdir(parents=True)
        link.symlink_to(model)
        patience_s = 0 if options.quick else PATIENCE_S
        bench = Bench(options.repeats, model, scratch, machine.physical_cores, patience_s)
        about = environment(PACKAGES) | {
            "cpu": machine.cpu,
            "threads": bench.threads,
            "repeats": bench.repeats,
            "model": model.name,
        }
        print(f"{machine.cpu}, {bench.threads} threads, load {about['load average'][0]:.2f} at the start\n")
        lines, about["seconds"] = measure({row: known[row] for row in options.rows}, bench)
    return report(about, lines, results)


def _parse(arguments: Sequence[str], known: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    rows = f"of {', '.join(known)}; without a name, all but decode-busy"
    parser.add_argument("rows", nargs="*", metavar="ROW", help=rows)
    parser.add_argument("--repeats", type=int, help=f"of each side; {REPEATS} by default")
    quick = f"{QUICK} repeats at any moment, to see that it works"
    parser.add_argument("--quick", action="store_true", help=quick)
    options = parser.parse_args(arguments)
    options.rows = options.rows or DEFAULT
    if unknown := [row for row in options.rows if row not in known]:
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(known)}")
    options.repeats = options.repeats or (QUICK if options.quick else REPEATS)
    return options


def measure(rows: Rows, bench: Bench) -> tuple[list[Line], dict[str, float]]:
    """Return the lines of all rows and the seconds each took. A failed row does not stop the others."""
    lines: list[Line] = []
    seconds = {}
    for name, row in rows.items():
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            reason = missing(NEEDED) if name in TORCH_ROWS else ""
            made = [Line(name, "", 0, 0, skipped=reason)] if reason else row(bench)
        except RuntimeError as error:
            made = [Line("stopped with an error", "", 0, 0, wrong=str(error))]
        lines += [dataclasses.replace(line, row=name) for line in made]
        seconds[name] = round(time.monotonic() - began, 1)
    return lines, seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
