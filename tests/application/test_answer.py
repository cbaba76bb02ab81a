"""The forms in which `hermes ask` prints an answer: JSON, lines of JSON, and without notices."""

import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli import app
from hermes_cli.config import Paths
from hermes_cli.screen.terminal import Terminal
from tests.engines.remote.fakes.model import FakeModel
from tests.engines.remote.fakes.openai_server import FakeOpenAI
from tests.run_hermes import hermes, script

Env = Mapping[str, str]
ENDLESS = {"text": "tick ", "forever": True, "delay": 0.01}
SIGNALS = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


def start(env: Env, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start `hermes ask` with its streams in pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "hermes_cli", "ask", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=Path(__file__).parents[2],
    )


def wait_for_text(file: Path, text: bytes) -> None:
    """Wait until a database contains a text."""
    for _ in range(1000):
        if any(text in path.read_bytes() for path in file.parent.glob(f"{file.name}*")):
            return
        time.sleep(0.01)
    raise AssertionError(f"{file} does not contain {text!r}")


@SIGNALS
def test_a_signal_prints_the_json_with_the_text_so_far(
    home: Env, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Its finish reason is "cancelled", and the exit code that of the signal."""
    with start(home, "--json", "--log", "-m", script(tmp_path, ENDLESS), "x") as child:
        wait_for_text(Paths.from_environment(home).conversations, b"tick ")
        child.send_signal(number)
        stdout, stderr = child.communicate(timeout=10)
    printed = json.loads(stdout)
    assert printed.pop("text").startswith("tick ")
    ending = {"finish_reason": "cancelled", "model": "scripted", "usage": None, "timings": None}
    assert printed == {**ending, "reasoning": ""}
    assert (child.returncode, stderr) == (code, b"")


@SIGNALS
def test_a_signal_ends_the_lines_of_json_with_the_report(
    home: Env, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Each line is flushed when it is written."""
    with start(home, "--json-stream", "-m", script(tmp_path, ENDLESS), "x") as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        child.send_signal(number)
        rest, stderr = child.communicate(timeout=10)
    assert json.loads(first) == {"text": "t"}
    *pieces, last = map(json.loads, rest.splitlines())
    assert all(list(piece) == ["text"] for piece in pieces)
    assert last["finish_reason"] == "cancelled"
    assert (child.returncode, stderr) == (code, b"")


@SIGNALS
@pytest.mark.parametrize("flag", ["--json", "--json-stream"])
def test_a_signal_while_the_model_loads_prints_the_report(
    home: Env, tmp_path: Path, flag: str, number: signal.Signals, code: int
) -> None:
    """It has no text and no model."""
    model = script(tmp_path, ENDLESS, load=60)
    with start(home, flag, "--log", "-m", model, "x") as child:
        wait_for_text(Paths.from_environment(home).conversations, b"SQLite format 3")
        child.send_signal(number)
        stdout, stderr = child.communicate(timeout=10)
    assert (child.returncode, stderr) == (code, b"")
    text = {"text": "", "reasoning": ""} if flag == "--json" else {}
    assert json.loads(stdout) == {
        **text,
        "finish_reason": "cancelled",
        "model": None,
        "usage": None,
        "timings": None,
    }


def test_lines_of_json_are_the_pieces_and_the_report(home: Env, tmp_path: Path) -> None:
    """The pieces begin with the prefill; the report is that of --json without the text."""
    model = script(tmp_path, {"text": 'b"ü\n'})
    arguments = ["-m", model, "--prefill", "a", "x"]
    result = hermes("ask", "--json-stream", *arguments, env=home)
    *pieces, last = map(json.loads, result.stdout.splitlines())
    assert pieces[0] == {"text": "ab"}
    assert "".join(piece["text"] for piece in pieces) == 'ab"ü\n'
    report = hermes("ask", "--json", *arguments, env=home).json
    assert (report.pop("text"), report.pop("reasoning")) == ('ab"ü\n', "")
    assert set(last) == set(report)
    assert last["finish_reason"] == report["finish_reason"] == "stop"
    assert last["usage"]["completion_tokens"] == 4


def test_an_answer_that_fails_has_no_report(home: Env, tmp_path: Path) -> None:
    """The pieces are printed, and the exit code is that of the error."""
    model = script(tmp_path, {"text": "So", "error": "out-of-memory"})
    result = hermes("ask", "--json-stream", "-m", model, "x", env=home)
    assert [json.loads(line) for line in result.stdout.splitlines()] == [{"text": "S"}, {"text": "o"}]
    assert result.code == 75


def test_a_reader_that_goes_away_ends_the_lines_quietly(home: Env, tmp_path: Path) -> None:
    """The exit code is 141."""
    with start(home, "--json-stream", "-m", script(tmp_path, ENDLESS), "x") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(10) == 141
        assert child.stderr.read() == b""


@pytest.mark.parametrize(
    "flags", [["--json", "--json-stream"], ["--json", "--no-stream"], ["--json-stream", "--no-stream"]]
)
def test_flags_that_exclude_each_other_are_refused(home: Env, flags: list[str]) -> None:
    """The message names all of them."""
    result = hermes("ask", *flags, "x", env=home)
    assert result.code == 2
    assert "--json, --json-stream and --no-stream exclude each other" in result.stderr


def test_quiet_prints_no_notices(home: Env, tmp_path: Path) -> None:
    """The statistics were asked for."""
    (tmp_path / "a.txt").write_text("A")
    name, model = str(tmp_path / "a.txt"), script(tmp_path, {"text": "Hi"})
    arguments = ["ask", "-m", model, "-f", name, name, "x"]
    assert "read as files" in hermes(*arguments, env=home).stderr
    for flag in ("-q", "--quiet"):
        assert hermes(*arguments, flag, env=home).stderr == ""
    assert "decode" in hermes(*arguments, "-q", "--stats", env=home).stderr


@pytest.mark.parametrize("flag", ["--temperature=0", "--no-stream"])
def test_an_answer_without_text_is_reported(home: Env, tmp_path: Path, flag: str) -> None:
    """The exit code is 0, standard output has the newline, and --json has the empty text."""
    arguments = ["ask", "-m", script(tmp_path, {"text": ""}), "x"]
    result = hermes(*arguments, flag, env=home)
    assert (result.code, result.stdout, result.stderr) == (0, b"\n", "the model returned no text\n")
    assert hermes(*arguments, flag, "-q", env=home).stderr == ""
    report = hermes(*arguments, "--json", env=home)
    assert (report.json["text"], report.stderr) == ("", "")


def test_an_answer_that_a_regex_script_removes_is_reported(home: Env, tmp_path: Path) -> None:
    """The model has returned a text."""
    persona = tmp_path / "ada.toml"
    persona.write_text(
        'name = "Ada"\nsystem = "x"\n[[regex]]\nname = "Hide"\nfind = "/Hi/"\ntargets = ["answer"]\n'
    )
    result = hermes("ask", "-m", script(tmp_path, {"text": "Hi"}), "-p", str(persona), "x", env=home)
    assert (result.code, result.stdout) == (0, b"\n")
    assert result.stderr == "the answer is empty after the regex scripts\n"


def test_an_answer_of_only_reasoning_is_reported(home: Env) -> None:
    """The notice does not say that the model returned nothing."""
    with FakeOpenAI(FakeModel(answers=[""], reasoning="Hm.")) as fake:
        result = hermes("ask", "-m", f"{fake.url}:{fake.model.name}", "x", env=home)
    assert (result.code, result.stderr) == (0, "the model only reasoned\n")


def test_quiet_prints_errors_and_that_the_answer_was_cut(home: Env, tmp_path: Path) -> None:
    """An error is followed by its hint."""
    model = script(tmp_path, {"text": "abcdef"})
    cut = hermes("ask", "-q", "-m", model, "--max-tokens", "3", "x", env=home)
    assert cut.stderr == "the answer was cut: max_tokens is 3\n"
    failed = hermes("ask", "-q", "-m", "scripted:nowhere", "x", env=home)
    assert failed.code == 78
    assert len(failed.stderr.splitlines()) == len(
        hermes("ask", "-m", "scripted:nowhere", "x", env=home).stderr.splitlines()
    )
    assert "give one as an argument" in hermes("ask", "-q", env=home).stderr


def test_quiet_prints_that_turns_were_left_out(home: Env, tmp_path: Path) -> None:
    """The answer does not depend on them."""
    model = script(tmp_path, *({"text": f"A{n}"} for n in range(3)), context_size=700)
    flags = ["ask", "-q", "-m", model, "--on-overflow", "drop"]
    assert hermes(*flags, "--log", "x" * 250, env=home).stderr == ""
    result = hermes(*flags, "-c", "y" * 200, env=home)
    assert result.code == 0
    assert re.fullmatch(r"The context is full: \d of \d turns left out from here on; .*\n", result.stderr)


def test_quiet_shows_no_status_line(home: Env, tmp_path: Path) -> None:
    """At a terminal, it would appear after 0.4 s."""
    out, err = io.BytesIO(), io.StringIO()
    terminal = Terminal(io.BytesIO(), out, err, False, True, True, obeys=True)  # noqa: FBT003 - the streams
    model = script(tmp_path, {"text": "Hi", "prefill": 0.7})
    assert app.run(["ask", "-q", "-m", model, "x"], terminal, home) == 0
    assert err.getvalue() == ""
