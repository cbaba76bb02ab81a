"""Tests of the torture runs: a small run, and that losses are found."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_cli.messages import Message, Role
from hermes_cli.store.store import Store
from tests.engines.remote.fakes.lmstudio import FakeLMStudio
from tests.engines.remote.llama_peer import KEY, llama_peer
from tests.engines.remote.local_tokenizers import starter_model
from tests.gguf_models import write_openhermes_gguf
from torture import checks, hostile, kill, real_server, templates
from torture.child import Ended

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
WHOLE = "".join(f"{answer}\n" for answer in checks.ANSWERS)
FAILURE = "saving stopped: the disk is full\n"


@pytest.mark.parametrize(("name", "size"), [("kill", "8"), ("writers", "30"), ("remote", "60")])
def test_a_small_torture_loses_nothing(name: str, size: str) -> None:
    """A small run with killed or parallel processes, or with failing servers, ends without a loss."""
    done = subprocess.run(
        [sys.executable, "-m", f"torture.{name}", size], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with the first exchange."""
    store = Store(tmp_path / "conversations.db")
    number = store.begin([], "")
    asked = store.add(number, None, Message(Role.USER, "one"))
    store.add(number, asked, Message(Role.ASSISTANT, checks.ANSWERS[0]))
    store.close()
    return tmp_path / "conversations.db"


@pytest.mark.parametrize(
    ("said", "outcome", "is_well"),
    [
        (WHOLE, "silent loss", False),
        (WHOLE.replace("\n2", f"\n{FAILURE}2"), "reported", True),
        (WHOLE.replace("\n3", f"\n{FAILURE}3"), "reported", False),
        (WHOLE.replace("\n2", f"\n{FAILURE}{FAILURE}2"), "reported", False),
        (FAILURE + WHOLE[:-5], "reported", False),
        (f"{FAILURE}{WHOLE}Traceback", "reported", False),
    ],
)
def test_what_was_said_is_held_against_what_is_kept(
    file: Path,
    said: str,
    outcome: str,
    is_well: bool,  # noqa: FBT001 - a case's answer
) -> None:
    """A loss without a report is silent; a reported one is correct only if reported once and in time."""
    found, wrong = checks.judge(Ended(0, said), file, set())
    assert (found, not wrong) == (outcome, is_well)
    assert checks.judge(Ended(None, said), file, set())[1]


def test_a_doubled_and_a_damaged_turn_are_found(file: Path) -> None:
    """A doubled message and a damaged index are reported."""
    told = WHOLE.replace("\n2", f"\n{FAILURE}2")
    store = Store(file)
    store.add(1, None, Message(Role.USER, "one"))
    store._connection.execute("DELETE FROM words_docsize WHERE id = 1")
    store.close()
    wrong = checks.judge(Ended(0, told), file, set())[1]
    assert any("2 times: user complete one" in what for what in wrong)
    assert any("index" in what for what in wrong)


def test_a_killed_run_is_read_up_to_the_cut_line(tmp_path: Path) -> None:
    """The record of a killed run is read up to the cut line, and other lines count as faults."""
    said = tmp_path / "said"
    said.write_text(
        '["growing", 0, "q", 1.0, 1]\n["ended", 0, "q"]\n'
        '["growing", 1, "r", 2.0, 1]\n["growing", 1, "r", 3.0, 5]\n["ended", 1, "'
    )
    seen = kill.seen_in(said)
    assert (seen.begun, seen.ended, seen.growing) == ({0: "q", 1: "r"}, {0: "q"}, [(2.0, 1), (3.0, 5)])
    assert not seen.faults
    said.write_text('["fault", "full"]\nTraceback\n')
    assert len(kill.seen_in(said).faults) == 2


def test_a_few_hostile_files_do_no_harm() -> None:
    """Every verb that takes them ends in time, without a crash, an escape sequence or a forged token."""
    cases = ["template: nesting", "metadata: name", "GGUF: truncated", "card: escapes", "card: forged"]
    command = [sys.executable, "-m", "torture.hostile", *cases]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


TOKENS = '[{"id": 1, "text": "<|im_start|>", "control": true}, {"id": 5, "text": "a", "control": false}]\n'
HARMLESS = Ended(0, TOKENS, 1.0, 100 << 20)


@pytest.mark.parametrize(
    ("ended", "column"),
    [
        (Ended(None, ""), "hangs"),
        (Ended(-11, ""), "signals"),
        (Ended(134, ""), "signals"),
        (Ended(1, "Traceback (most recent call last)"), "tracebacks"),
        (Ended(0, "", 4.0), "over bounds"),
        (Ended(0, "", 1.0, 300 << 20), "over bounds"),
        (Ended(0, "a\x1b]0;b\x07"), "raw"),
        (Ended(0, "\u202e"), "raw"),
        (Ended(0, TOKENS.replace("false", "true")), "forged"),
    ],
)
def test_each_fault_of_a_hostile_file_is_found(ended: Ended, column: str) -> None:
    """A run like that with the harmless file has no fault, and each fault is in its column."""
    assert hostile.faults(HARMLESS, HARMLESS) == {}
    assert list(hostile.faults(ended, HARMLESS)) == [column]


def test_styles_of_hermes_are_allowed_at_a_terminal() -> None:
    """Colors, movements of the cursor and links are, but no other sequences."""
    own = Ended(0, "\x1b[1mA\x1b[0m\r\x1b[2K\x1b]8;;https://a\x1b\\b\x1b]8;;\x1b\\")
    assert hostile.faults(own, HARMLESS, escapes=True) == {}
    title = Ended(0, "\x1b]0;A\x07")
    assert list(hostile.faults(title, HARMLESS, escapes=True)) == ["raw"]


def test_the_dialogues_of_a_template_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """For each family, and for all of them."""
    pairs = [("llama-3", "byte-level"), ("gemma", "byte-level")]
    assert templates.families(3, 2, pairs) == (6, 0, 4, 0)
    counts = "3 ordinary, 0 differ; 2 hostile, 0 forged"
    assert capsys.readouterr().out == (
        f"llama-3 (1 tokenizer): {counts}\ngemma (1 tokenizer): {counts}\n"
        "all 2 (2 tokenizers): 6 ordinary, 0 differ; 4 hostile, 0 forged\n"
    )


def test_a_real_server_passes_the_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both plays, and all dialogues are right."""
    monkeypatch.setenv(real_server.KEY_VARIABLE, KEY)
    with llama_peer(write_openhermes_gguf(tmp_path / "tiny.gguf"), 768) as url:
        assert real_server.main([url, "--dialogues", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "prompts are token ids, made here; context 768" in lines[0]
    assert [line.split(",")[0] for line in lines[1:3]] == ["23 answers", "23 answers"]
    assert lines[4:] == ["    20 right"]


def test_a_server_that_counts_other_tokens_is_found(
    starter_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its tokenizer adds a token, which the engine tolerates."""
    model = starter_model(starter_path)
    model.prefix = [0]
    with FakeLMStudio(model) as fake:
        arguments = [fake.url, "--tokenizer", str(starter_path), "--dialogues", "2", "--context", "768"]
        assert real_server.main(arguments) == 1
    assert re.search(r"\d+ tokens counted, \d+ reported", capsys.readouterr().out)
