"""The moves of `torture.remote` that run hermes in a process of its own, and their checks."""

import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hermes_cli.store.store import Store
from tests.run_hermes import environment
from torture import checks
from torture.server_faults import KEY, ServerFault

HANGS_S: Final = 30.0
KEY_VARIABLE: Final = "TORTURE_KEY"
CODES: Final = {0, 1, 2, 65, 69, 75, 77, 130}
"""The exit codes of errors, and that of Ctrl-C."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Runs hermes in a home, with a server of a kind in its config file. `file` is the database there."""

    home: Path
    file: Path
    kind: str
    url: str
    model: str

    def run(
        self, fault: ServerFault, question: str, answer: str, chance: random.Random
    ) -> tuple[int | None, str, list[str]]:
        """Ask a question in `hermes ask` or `hermes chat`, which may be interrupted.

        Return the exit code, the output, and the errors. The server gives the answer to each request.
        """
        self._write_config()
        is_ask = bool(chance.randrange(3))
        again = ["-c"] if chance.getrandbits(1) and self._has_conversation() else []
        words = ["ask", "--log", "-m", "torture", question] if is_ask else ["chat", *again, "-m", "torture"]
        is_stopped = fault.stalls or chance.randrange(5) == 0
        stop_s = chance.uniform(0.3, 2) if is_stopped else None
        code, output, errors = self._run(words, "" if is_ask else f"{question}\n/regen\n", stop_s)
        said = f"{' '.join(words)}: exit code {code}: {output!r} {errors!r}"
        texts = checks.texts(self.file) if self.file.exists() else Counter[checks.Key]()
        wrong = []
        if code not in CODES or "Traceback" in errors or "bug in hermes" in errors:
            wrong.append(said)
        if "\x1b" in errors:  # the answer itself is written to a pipe unchanged
            wrong.append(f"an escape sequence in the messages of {said}")
        if KEY in output + errors:
            wrong.append(f"the key is in the output of {said}")
        if output.strip() and not texts["user", "complete", question]:
            wrong.append(f"the question is not on the disk: {said}")
        if is_ask and code == 0 and not fault.changes_text:
            is_right = output == f"{answer}\n" and texts["assistant", "complete", answer]
            wrong += [] if is_right else [f"the answer is not {answer!r}, or not on the disk: {said}"]
        if is_ask and fault.is_harmless and code != 0 and not is_stopped:
            wrong.append(f"no answer: {said}")
        return code, output, wrong

    def _write_config(self) -> None:
        config = self.home / "hermes" / "config" / "config.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(
            f'[servers.torture]\nurl = "{self.url}"\nmodel = "{self.model}"\n'
            f'kind = "{self.kind}"\nkey_env = "{KEY_VARIABLE}"\ntimeout = 1\n',
            encoding="utf-8",
        )

    def _has_conversation(self) -> bool:
        with closing(Store(self.file)) as store:
            return bool(store.conversations(1))

    def _run(self, words: list[str], lines: str, stop_s: float | None) -> tuple[int | None, str, str]:
        """Run hermes, and interrupt it after some seconds. The exit code is None if it hung."""
        project = {"PYTHONPATH": str(Path(__file__).parents[1]), KEY_VARIABLE: KEY}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hermes_cli", *words],
            env=environment(self.home) | project,
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        timer = threading.Timer(stop_s or 0, process.send_signal, [signal.SIGINT])
        if stop_s is not None:
            timer.start()
        code: int | None
        try:
            output, errors = process.communicate(lines.encode(), HANGS_S)
            code = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            code = None
        timer.cancel()
        if stop_s is not None:
            timer.join()
        return code, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace")
