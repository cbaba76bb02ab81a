"""Run every verb on hostile files: `python -m torture.hostile [WORD]…`.

Models, weights, cards, worlds and texts of `hostile_files` are given to the verbs that take them, in an empty
home and with limits of time and memory. Counts signals, tracebacks, hangs, runs that take much more than with
a harmless file, control characters on the terminal, and control tokens that a text forged. Exits 1 if there
are any. With words, only the cases are run whose kind and name ("GGUF: truncated") contain one of them.
"""

import json
import os
import shutil
import sys
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hermes_cli.config import HOME_VARIABLE
from torture import child, hostile_files
from torture.hostile_files import Builder

MORE_SECONDS: Final = 2.0
MORE_MEMORY: Final = 128 << 20
"""How much more than with the harmless file a run may take."""
COLUMNS: Final = ("signals", "tracebacks", "hangs", "over bounds", "raw", "forged")
TURNS: Final = {"a picture of 20 MB": 7}
"""The most turns of a card that has more than the harmless one: `mutants.SAMPLES["png"]` has examples."""
FRAME: Final = ["<|im_start|>", "<|im_end|>"]
_ROOT: Final = Path(__file__).parents[1]
_INVISIBLE: Final = {*range(0x202A, 0x202F), *range(0x2066, 0x2070), *range(0xE0000, 0xE0080)} | {
    *(0x061C, 0x200E, 0x200F, 0xFEFF),
}
"""Characters that change the order of a line, and tags."""

MODEL_VERBS: Final = {
    "ask": "ask -m {file} --max-tokens 4 --context 512",
    "chat": "chat -m {file} --max-tokens 4 --context 512",
    "tokens": "tokens --json -m {file} -f {texts}",
    "show": "models show {file}",
    "plan": "models plan {file}",
    "list": "models list",
    "doctor": "doctor",
}
CARD_VERBS: Final = {
    "ask": "ask -m {scripted} -p {file} xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "chat": "chat -m {scripted} -p {file}",
    "lore": "ask -m {scripted} --lore {file} xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "tokens": "tokens --json -m {model} -p {file} hi",
    "check": "personas check {file}",
    "show": "personas show {file}",
    "import": "personas import {file}",
}
TEXT_VERBS: Final = {
    "ask": "ask -m {model} -f {file} --max-tokens 4",
    "tokens": "tokens --json -m {model} -f {file}",
    "deepseek": "tokens --json -m {deepseek} -f {file}",
    "weights": "tokens --json -m {weights} -f {file}",
    "system": "tokens --json -m {model} -p {file} hi",
    "chat": "chat -m {scripted} -p {file}",
}
KINDS: Final[Mapping[str, tuple[Mapping[str, Builder], Mapping[str, str]]]] = {
    "GGUF": (hostile_files.GGUF, MODEL_VERBS),
    "weights": (hostile_files.FOLDERS, MODEL_VERBS),
    "card": (hostile_files.CARDS, CARD_VERBS),
    "text": (hostile_files.TEXTS, TEXT_VERBS),
}
LINES: Final = b"hello xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n/context\n/lore\n/show prompt\n/quit\n"


@dataclass(slots=True)
class Row:
    """The results of one kind of file."""

    runs: int = 0
    counts: Counter[str] = field(default_factory=Counter)


def faults(
    ended: child.Ended, harmless: child.Ended, *, escapes: bool = False, turns: int = 0
) -> dict[str, str]:
    """Return the faults of a run by column.

    `escapes`: hermes' own control sequences are allowed. `turns`: the most turns of the prompt, if it may
    have more than with the harmless file.
    """
    found: dict[str, str] = {}
    if ended.code is None:
        return {"hangs": f"killed after {ended.seconds:.0f} s"}
    if ended.code < 0 or ended.code in child.CODES_OF_SIGNALS:
        found["signals"] = f"exit code {ended.code}"
    if "Traceback" in ended.output or "bug in hermes" in ended.output or "panicked" in ended.output:
        found["tracebacks"] = ended.output.strip()[-300:]
    seconds, memory = ended.seconds - harmless.seconds, ended.memory - harmless.memory
    if seconds > MORE_SECONDS or memory > MORE_MEMORY:
        found["over bounds"] = f"{seconds:.1f} s and {memory >> 20} MiB more than with a harmless file"
    text = child.OWN_SEQUENCES.sub("", ended.output) if escapes else ended.output
    if raw := {character for character in text if _is_raw(character)}:
        found["raw"] = ascii(sorted(raw))
    if forged := _forged(ended, harmless, turns):
        found["forged"] = forged
    return found


def _is_raw(character: str) -> bool:
    is_control = unicodedata.category(character) == "Cc" and character not in "\n\t"
    return is_control or ord(character) in _INVISIBLE


def _control_tokens(ended: child.Ended) -> list[str]:
    lines = [line for line in ended.output.splitlines() if line.startswith('[{"id": ')]
    return [token["text"] for line in lines for token in json.loads(line) if token["control"]]


def _forged(ended: child.Ended, harmless: child.Ended, turns: int) -> str:
    """Return the error if `tokens` printed other control tokens than with the harmless file."""
    control = _control_tokens(ended)
    expected = _control_tokens(harmless)
    # Long texts leave out turns, and cards without a greeting have fewer.
    most_turns = max(len(expected) // 2, turns)
    allowed = [FRAME * count + FRAME[:1] for count in range(most_turns + 1)]
    return (
        f"{len(control)} control tokens, {len(expected)} expected"
        if control and control not in allowed
        else ""
    )


def build_all(builders: Mapping[str, Builder], folder: Path) -> dict[str, Path]:
    """Write the files, each in a data folder that `models list` searches. Return their paths by name."""
    places = {name: folder / str(number) / "data" / "models" for number, name in enumerate(builders)}
    log = folder / "log"

    def work() -> None:
        for name, place in places.items():
            place.mkdir(parents=True)
            os.chdir(place)
            builders[name](place)

    folder.mkdir(parents=True)
    ended = child.wait(child.fork(work, log), log, 600)
    if ended.code:
        raise OSError(f"the files could not be written: {ended.output[-2_000:]}")
    return {name: next(place.iterdir()) for name, place in places.items()}


def torture(words: list[str]) -> dict[str, Row]:
    """Run the cases, print each fault, and return the results by kind."""
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        tools = {"model": hostile_files.gguf(), "deepseek": hostile_files.byte_level("deepseek-llm")}
        tools |= {"weights": hostile_files.weights(), "texts": hostile_files.hostile_texts}
        paths = {name: str(path) for name, path in build_all(tools, top / "tools").items()}
        paths["scripted"] = child.script(top / "script.toml", ["Yes."] * 9, 1 << 17)
        for kind, (builders, verbs) in KINDS.items():
            chosen = {
                name: builder
                for name, builder in builders.items()
                if name == "harmless" or not words or any(word in f"{kind}: {name}" for word in words)
            }
            if len(chosen) > 1:
                rows[kind] = _run_kind(kind, build_all(chosen, top / kind), verbs, paths)
                shutil.rmtree(top / kind)
    return rows


def _run_kind(
    kind: str, files: Mapping[str, Path], verbs: Mapping[str, str], paths: Mapping[str, str]
) -> Row:
    row, harmless = Row(), dict[str, child.Ended]()
    for name, file in files.items():
        home = file.parents[2]
        for verb, words in verbs.items():
            # Markdown is rendered only on terminals that obey control sequences.
            renders = verb == "chat" and kind == "card"
            environment = {
                "HOME": str(home),
                HOME_VARIABLE: str(home),
                "HF_HOME": str(home / "hub"),
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(_ROOT),
                "LANG": "C.UTF-8",
                "NO_COLOR": "1",
                "HF_ENDPOINT": "http://127.0.0.1:9",
                "TERM": "xterm" if renders else "dumb",
            }
            command = [word.format(file=file, **paths) for word in words.split()]
            ended = child.run_at_terminal(command, environment, home, LINES if verb == "chat" else b"")
            baseline = harmless.setdefault(verb, ended)
            found = faults(ended, baseline, escapes=renders, turns=TURNS.get(name, 0))
            row.runs += 1
            row.counts.update(found.keys())
            for column, what in found.items():
                print(f"{kind}: {name}: {verb}: {column}: {what}", flush=True)
    return row


def main() -> int:
    rows = torture(sys.argv[1:])
    print(f"{'file':<8} {'runs':>5} " + " ".join(f"{column:>11}" for column in COLUMNS))
    for kind, row in rows.items():
        print(f"{kind:<8} {row.runs:>5} " + " ".join(f"{row.counts[column]:>11}" for column in COLUMNS))
    return int(not rows or any(row.counts.total() for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
