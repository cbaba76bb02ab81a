"""Tests of llama.cpp in a child process: what happens when the child or its parent ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hermes_cli.engines.base import Cancel
from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
from hermes_cli.engines.llama_cpp.server import LlamaSettings
from hermes_cli.engines.llama_cpp.subprocess_server import LlamaProcess
from hermes_cli.errors import HermesError
from hermes_cli.messages import Message, Role
from hermes_cli.models.gguf.model import read_header
from hermes_cli.options import GenerationOptions

pytestmark = pytest.mark.slow

MESSAGES = (Message(Role.USER, "Tell me a long story."),)
OTHER_MESSAGES = (Message(Role.USER, "Something else."),)


def test_a_killed_child_is_reported_as_an_error(starter_path: Path) -> None:
    """A killed child process ends the answer, and every later call, with an error instead of a hang."""
    engine = LlamaCppEngine(
        read_header(starter_path),
        LlamaSettings(str(starter_path), context_size=512, threads=2),
        name="s",
        in_subprocess=True,
    )
    answer = engine.stream(MESSAGES, GenerationOptions(max_tokens=400), Cancel())
    assert next(chunk.text for chunk in answer if chunk.text)
    server = engine._server
    assert isinstance(server, LlamaProcess)
    server._child.kill()
    with pytest.raises(HermesError, match="exited unexpectedly"):
        list(answer)
    with pytest.raises(HermesError, match="exited unexpectedly"):
        engine.count_tokens(OTHER_MESSAGES)  # no part of it was encoded before
    engine.close()


def test_a_file_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    """A file that is not a model is refused with an error that names the file."""
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF nonsense")
    with pytest.raises(HermesError, match=r"could not load x\.gguf"):
        LlamaProcess(LlamaSettings(str(path), context_size=512, threads=1))


def test_sigint_does_not_end_the_child(starter_path: Path) -> None:
    """SIGINT does not end the child process; `close` does."""
    engine = LlamaCppEngine(
        read_header(starter_path),
        LlamaSettings(str(starter_path), context_size=512, threads=2),
        name="s",
        in_subprocess=True,
    )
    server = engine._server
    assert isinstance(server, LlamaProcess)
    os.kill(server._child.pid, signal.SIGINT)
    assert engine.count_tokens(MESSAGES) > 5
    engine.close()
    with pytest.raises(HermesError, match="no model is loaded"):
        engine.count_tokens(OTHER_MESSAGES)


def test_the_child_ends_with_its_parent(starter_path: Path) -> None:
    """The child process ends within 10 seconds after its parent was killed."""
    code = (
        "import sys, time;"
        "from hermes_cli.engines.llama_cpp.server import LlamaSettings;"
        "from hermes_cli.engines.llama_cpp.subprocess_server import LlamaProcess;"
        f"p = LlamaProcess(LlamaSettings({str(starter_path)!r}, 512, 1));"
        "print(p._child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    raise AssertionError("the child is still running")


def test_modules_in_the_working_directory_are_not_imported(starter_path: Path, tmp_path: Path) -> None:
    """The child process does not import modules from the working directory."""
    (tmp_path / "json.py").write_text("raise SystemExit('json.py of the folder was imported')\n")
    code = (
        "from hermes_cli.engines.llama_cpp.server import LlamaSettings;"
        "from hermes_cli.engines.llama_cpp.subprocess_server import LlamaProcess;"
        f"LlamaProcess(LlamaSettings({str(starter_path)!r}, 512, 1)).close()"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=env, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
