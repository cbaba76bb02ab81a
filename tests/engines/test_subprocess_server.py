"""Tests of llama.cpp in a child process: what happens when the child or its parent ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_cli.engines.base import Cancel
from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
from hermes_cli.engines.llama_cpp.settings import LlamaSettings
from hermes_cli.engines.llama_cpp.subprocess_server import LlamaProcess
from hermes_cli.errors import HermesError, ResourcesExhausted
from hermes_cli.messages import Message, Role
from hermes_cli.models.gguf.model import read_header
from hermes_cli.options import GenerationOptions
from tests.gguf_models import write_openhermes_gguf

pytestmark = pytest.mark.slow

MESSAGES = (Message(Role.USER, "Tell me a long story."),)
OTHER_MESSAGES = (Message(Role.USER, "Something else."),)


@pytest.fixture
def engine(starter_path: Path) -> Iterator[LlamaCppEngine]:
    """An engine over the starter."""
    settings = LlamaSettings(str(starter_path), context_size=512, threads=2)
    made = LlamaCppEngine(read_header(starter_path), settings, name="s")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("number", "error_type", "message"),
    [
        (signal.SIGKILL, ResourcesExhausted, "llama.cpp was killed, as the system does if memory runs out"),
        (signal.SIGSEGV, HermesError, "llama.cpp crashed"),
    ],
)
def test_the_model_is_loaded_again_after_a_crash(
    engine: LlamaCppEngine, number: int, error_type: type[HermesError], message: str
) -> None:
    """A crash ends the answer with an error; the next request works."""
    answer = engine.stream(MESSAGES, GenerationOptions(max_tokens=400), Cancel())
    assert next(chunk.text for chunk in answer if chunk.text)
    os.kill(engine._server._child.pid, number)
    with pytest.raises(error_type) as caught:
        list(answer)
    assert caught.value.message == message
    assert type(caught.value) is error_type
    assert engine.count_tokens(OTHER_MESSAGES) > 5  # no part of it was encoded before
    assert "".join(chunk.text for chunk in engine.stream(MESSAGES, GenerationOptions(max_tokens=4), Cancel()))


def test_a_crash_prints_nothing(engine: LlamaCppEngine, capfd: pytest.CaptureFixture[str]) -> None:
    """What llama.cpp and the system print about a crash is only in the log."""
    os.kill(engine._server._child.pid, signal.SIGABRT)
    engine._server._child.wait(10)
    assert engine.count_tokens(OTHER_MESSAGES) > 5
    assert capfd.readouterr() == ("", "")


def test_requests_run_at_once(engine: LlamaCppEngine) -> None:
    """Texts are encoded during an answer, and answers that wait for each other all arrive."""
    both = (engine.prompt_tokens(messages) for messages in (MESSAGES, OTHER_MESSAGES))
    prompts = [[token.id for token in tokens] for tokens in both]
    options = GenerationOptions(max_tokens=30, temperature=0)
    running = [engine._server.start({"run": engine._request(prompt, options)}) for prompt in prompts]
    assert engine._server.encode("meanwhile")
    finished = [0, 0]
    for index, completion in enumerate(running):
        while "done" not in (answer := completion.next(60)):
            finished[index] += "finish" in answer["event"]
    assert finished == [1, 1]


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999999) %}{% for b in range(99999999) %}x{% endfor %}{% endfor %}",
        "{% set n = namespace(s=0) %}{% for i in range(40) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}",
        "{% if %}",
        "{{ raise_exception('no') }}",
    ],
    ids=["loop", "doubling", "recursion", "nesting", "invalid", "exception"],
)
def test_the_chat_template_of_a_file_is_not_run(tmp_path: Path, template: str) -> None:
    """A hostile or invalid chat template makes no difference."""
    changes = {"tokenizer.chat_template": template}
    path = write_openhermes_gguf(tmp_path / "hostile.gguf", changes=changes)
    server = LlamaProcess(LlamaSettings(str(path), context_size=512, threads=1))
    assert server.encode("hello")
    server.close()


def test_a_file_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    """A file that is not a model is refused with an error that names the file."""
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF nonsense")
    with pytest.raises(HermesError, match=r"could not load x\.gguf"):
        LlamaProcess(LlamaSettings(str(path), context_size=512, threads=1))


def test_sigint_does_not_end_the_child(engine: LlamaCppEngine) -> None:
    """SIGINT does not end the child process; `close` does."""
    os.kill(engine._server._child.pid, signal.SIGINT)
    assert engine.count_tokens(MESSAGES) > 5
    engine.close()
    with pytest.raises(HermesError, match="no model is loaded"):
        engine.count_tokens(OTHER_MESSAGES)


def test_the_child_ends_with_its_parent(starter_path: Path) -> None:
    """The child process ends within 10 seconds after its parent was killed."""
    code = (
        "import sys, time;"
        "from hermes_cli.engines.llama_cpp.settings import LlamaSettings;"
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
        "from hermes_cli.engines.llama_cpp.settings import LlamaSettings;"
        "from hermes_cli.engines.llama_cpp.subprocess_server import LlamaProcess;"
        f"LlamaProcess(LlamaSettings({str(starter_path)!r}, 512, 1)).close()"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=env, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
