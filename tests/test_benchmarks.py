"""The benchmarks: that a measurement is what it says, and that a wrong result cannot look like a fast one."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu, measure, weights
from benchmarks.__main__ import main, table
from benchmarks.measure import Bench, Child, Goal, Line, Turns
from benchmarks.rows import ROWS, c2, c3, c3_transformers, c4, c7, c10_transformers, program

ROOT = Path(__file__).parents[1]


def child(text: bytes = b"", code: int = 0, stderr: bytes = b"") -> Child:
    """Return a process that has ended."""
    return Child(code, text, stderr, wall_s=1, cpu_s=1, max_rss=1 << 20, text_s=1)


def python(code: str) -> Child:
    """Run Python code as a measured child."""
    return measure.run_child([sys.executable, "-c", code], os.environ)


def test_a_childs_account_is_its_own() -> None:
    """The processor time and memory of the benchmark itself would be counted as hermes'."""
    idle = python("import time; time.sleep(0.3)")
    busy = python("import time\nwhile time.process_time() < 0.4: pass\nprint('done')")
    assert idle.wall_s >= 0.3
    assert idle.cpu_s < 0.25
    assert busy.cpu_s >= 0.4
    assert busy.stdout == b"done\n"


def test_the_memory_of_a_child_is_its_own() -> None:
    """C10 would count the benchmark itself: Linux keeps, over the exec, what the parent had at the fork."""
    code = (
        "import os, sys; from benchmarks.measure import run_child;"
        "make = 'x = bytes(%d * 10**6); y = x[:-1]';"
        "rss = [run_child([sys.executable, '-c', make % n], os.environ).max_rss for n in (1, 200)];"
        "print(rss[1] - rss[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True)
    assert int(done.stdout) > 150_000_000


def test_the_time_of_a_text_begins_with_its_first_piece() -> None:
    """Loading and prefill would be counted into the decode speed."""
    late = python("import time; time.sleep(0.4); print('a', flush=True); time.sleep(0.1); print('b')")
    assert 0.1 <= late.text_s < 0.4


def test_a_child_that_hangs_is_ended() -> None:
    """One peer that never answers would stop the whole run."""
    hung = measure.run_child([sys.executable, "-c", "import time; time.sleep(60)"], os.environ, limit_s=0.2)
    assert hung.code < 0
    assert measure.ended_well([hung])


def test_sides_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of A before all of B would hand one side the machine's good minute."""
    monkeypatch.setattr(measure, "quiet_moment", lambda _patience: measure.Moment(0, 1, 0))
    order: list[str] = []
    turns = measure.turns_about({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * 4  # the first round warms up and does not count
    assert [len(given) for given in turns.results.values()] == [3, 3]
    assert len(turns.moments) == 6


def test_the_median_is_taken_of_each_side() -> None:
    """One interrupted repeat would decide the result."""
    turns = Turns({"a": [1.0, 100.0, 2.0], "b": [5.0, 4.0, 6.0]}, [])
    assert [turns.median(side, float) for side in ("a", "b")] == [2.0, 5.0]
    assert turns.record(float)["a"] == [1.0, 100.0, 2.0]


def test_a_quiet_moment_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the benchmark would never begin; and the record must say that it was busy."""
    monkeypatch.setattr(measure, "_idle_share", lambda _window: 0.1)
    assert measure.quiet_moment(patience_s=0).idle == 0.1


@pytest.mark.parametrize(
    ("goal", "ratio", "met"),
    [
        (Goal(0.98, at_least=True), 0.97, False),
        (Goal(0.98, at_least=True), 0.98, True),
        (Goal(1.3, at_least=False), 1.31, False),
        (Goal(1.3, at_least=False), 1.3, True),
    ],
)
def test_a_goal_has_a_direction(goal: Goal, ratio: float, met: bool) -> None:  # noqa: FBT001 - a case's answer
    """A slower hermes would be reported as having met its goal."""
    assert goal.met(ratio) is met


def test_a_wrong_result_is_no_success() -> None:
    """A fast answer that is the wrong one would be praised."""
    line = Line(
        "C1", "decode", "tok/s", 200, 100, Goal(0.98, at_least=True), "list of ids 1 is not the peer's"
    )
    assert line.verdict == "FAILED"
    assert "FAILED" in table([line])


def test_the_gates_can_fail() -> None:
    """A gate that lets everything pass guards nothing."""
    good = Turns({"hermes": [child(b"Hi.\n")] * 2, "peer": [child(b"Hi.")] * 2}, [])
    assert program.gate(good) == ""
    for hermes, peer in ((b"Hi!\n", b"Hi."), (b"Hi.", b"Hi."), (b"", b"Hi.")):
        assert program.gate(Turns({"hermes": [child(hermes)], "peer": [child(peer)]}, [])) != ""
    assert program.gate(Turns({"hermes": [child(b"Hi.\n", code=1)], "peer": [child(b"Hi.")]}, [])) != ""
    assert c7.gate("--version", [child(b"hermes 1.0\n")]) == ""
    assert c7.gate("--version", [child(b"Traceback")]) != ""
    assert measure.ended_well([child(code=2)], code=2) == ""
    assert measure.same("list of ids", [1, 2], [[1, 2], [1, 3]]) != ""


def turn(
    prompt: list[int],
    generated: list[int],
    *,
    cached: int,
    ended: bool = False,
    finish_reason: str = "length",
    looked_up: int | None = None,
) -> dict[str, object]:
    """Return the record of one turn as `benchmarks.ours.talk` writes it."""
    return {
        "action": "say",
        "prompt": prompt,
        "generated": generated,
        "ended": ended,
        "finish_reason": "stop" if ended else finish_reason,
        "prompt_tokens": len(prompt),
        "cached_tokens": cached,
        "completion_tokens": len(generated) + ended,
        "looked_up": looked_up,
    }


def test_new_ids_are_counted_from_the_prompts_alone() -> None:
    """The count that hermes is held to would be hermes' own."""
    talk = [
        turn([1, 2, 3], [4, 5], cached=0),
        turn([1, 2, 3, 4, 5, 6], [7, 8], cached=4, ended=True),  # 5 was sampled and never evaluated
        turn([1, 2, 3, 4, 5, 6, 7, 8, 9], [9], cached=8),
        turn([1, 2, 3, 4, 5, 6, 7, 8, 9], [9], cached=8),  # held whole: one is evaluated for its logits
        turn([1, 2, 9], [7, 8], cached=2, finish_reason="cancelled"),
        turn([1, 2, 9, 7, 8, 6], [9], cached=5),  # Ctrl-C came after 8 was evaluated, or before
    ]
    assert c3.new_ids(talk) == [[3], [2], [1], [1], [1], [1, 2]]
    answers = [{"ids": turn_["generated"], "prefilled": 9} for turn_ in talk]
    first, *_ = c3.lines(talk, dict.fromkeys(("ids", "text", "no reuse"), answers))
    assert (first.hermes, first.peer, first.verdict) == (6, 6, "yes")


def test_a_turn_that_prefills_more_or_answers_otherwise_is_found() -> None:
    """A cache that is lost, or one that changes the answer, would go unseen."""
    talk = [turn([1, 2, 3], [4, 5], cached=0), turn([1, 2, 3, 4, 5, 6], [7], cached=0)]
    right = [{"ids": [4, 5], "prefilled": 3}, {"ids": [7], "prefilled": 6}]
    other = [right[0], {"ids": [8], "prefilled": 6}]
    peers = {"ids": right, "text": right, "no reuse": right}
    assert c3.lines(talk, peers)[0].verdict == "no"
    assert c3.lines(talk, {**peers, "ids": other})[0].verdict == "FAILED"
    for gap, verdict in ((0.01, "no"), (1.0, "FAILED")):
        likely = [{"8": -1.0, "7": -1.0 - gap}]
        assert (
            c3.lines(talk, {**peers, "no reuse": [right[0], {**other[1], "likely": likely}]})[0].verdict
            == verdict
        )


def test_what_a_torch_engine_prefills_is_counted_from_outside() -> None:
    """The engine's word would be taken for it, and a Ctrl-C be allowed an id that it does not need."""
    talk = [
        turn([1, 2, 3], [4, 5], cached=0, looked_up=3 + 1),
        turn([1, 2, 3, 4, 5, 6], [7, 8], cached=4, ended=True, looked_up=2 + 2),
        turn([1, 2, 3, 4, 5, 6, 7, 8, 9], [9, 9], cached=8, finish_reason="cancelled", looked_up=1 + 1),
        turn([1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 2], [9], cached=10, looked_up=2),
    ]
    whole = [{"ids": turn_["generated"], "prefilled": 9, "likely": []} for turn_ in talk]
    first, *_ = c3_transformers.lines("x", talk, whole)
    assert (first.hermes, first.peer, first.verdict) == (4, 4, "yes")
    lost = [*talk[:3], {**talk[3], "cached_tokens": 0, "looked_up": 12}]
    assert c3_transformers.lines("x", lost, whole)[0].verdict == "no"
    boasting = [*talk[:3], {**talk[3], "looked_up": 12}]
    assert "the engine says" in c3_transformers.lines("x", boasting, whole)[0].wrong


def test_another_answer_or_a_window_never_left_is_found() -> None:
    """A sliding window that changes the answer, or that was never reached, would look like a success."""
    talk = [turn([1, 2, 3], [4, 5], cached=0, looked_up=4)]
    for gap, passes in ((0.0001, True), (0.01, False)):
        other = [{"ids": [4, 6], "prefilled": 3, "likely": [{}, {"6": -1.0, "5": -1.0 - gap}]}]
        assert (c3_transformers.lines("x", talk, other)[0].wrong == "") is passes
    same = [{"ids": [4, 5], "prefilled": 3, "likely": []}]
    assert "windows" in c3_transformers.lines("x", talk, same, window=64)[0].wrong


def test_worse_answers_of_eight_bits_are_found() -> None:
    """A speed that is paid for with another model's answers would be praised."""
    read = {"fp32": (0.0, 50.0), "8bit": (0.01, 50.2), "4bit": (0.3, 60.0)}
    good = {how: {"kl": kl, "perplexity": perplexity} for how, (kl, perplexity) in read.items()}
    assert c2.kept(good) == ""
    assert c2.kept({**good, "8bit": {"kl": 0.04, "perplexity": 50.2}}) != ""
    assert c2.kept({**good, "8bit": {"kl": 0.01, "perplexity": 50.6}}) != ""
    assert c2.texts([child(b"Hi."), child(b"Ho.")]) != ""
    assert c10_transformers.gate([child(b"Hi.\n")], [child(b"Hi.")]) == ""
    assert c10_transformers.gate([child(b"Ho.\n")], [child(b"Hi.")]) != ""


def test_first_tokens_are_compared_between_turns_that_are_alike() -> None:
    """A shorter question at turn 20, or another answer, would look like a flat time to the first token."""

    def record(number: int, seconds: float, prefilled: int = 9) -> dict[str, object]:
        about = {"turn": number, "prompt": [number], "timed": True, "likely": [{"5": -1.0, "6": -1.1}]}
        return {**about, "first_s": seconds, "first": 5, "prefilled": prefilled}

    ours, slow = [record(2, 0.1), record(20, 0.11)], [record(2, 0.3), record(20, 9)]
    turns = Turns({"hermes": [ours], "generate": [slow], "llama.cpp": [slow]}, [])
    verdicts = [line.verdict for line in c4.lines(turns)]
    assert verdicts == ["yes", "-", "-", "yes", "-"]
    for wrong in (record(20, 0.11, prefilled=8), {**record(20, 0.11), "first": 7}):
        given = {**turns.results, "hermes": [[ours[0], wrong]]}
        assert c4.lines(Turns(given, []))[0].verdict == "FAILED"


def test_without_torch_a_row_is_skipped_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`make bench` would end in a traceback on a machine with llama.cpp only."""
    monkeypatch.setattr(weights, "NEEDED", ("no_such_package",))
    bench = Bench(1, tmp_path, tmp_path, tmp_path, tmp_path, 1)
    for row in ("C2", "C3-transformers", "C4", "C10-transformers"):
        (line,) = ROWS[row](bench)
        assert line.verdict == "skipped"
        assert "no_such_package" in line.skipped
        assert "skipped" in table([line])


def test_without_a_card_the_gpu_rows_are_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody would wait for a 7B on the CPU, or read a traceback."""
    assert gpu.main(["--device", "cuda:99"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--device cpu" in said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_gpu_rows_run_dry() -> None:
    """They would be found broken on the day that somebody has a card."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--quick", "--device", "cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row.split("|")[1].strip() for row in done.stdout.splitlines() if row.startswith("| G")}
    assert rows == {"G1", "G2", "G3", "G4"}
    assert gpu.DRY_RUN in done.stdout
    written = ROOT / done.stdout.rsplit("written to ", 1)[1].strip()
    record = json.loads(written.read_text(encoding="utf-8"))
    verdicts = {line["row"]: line["verdict"] for line in record["lines"]}
    assert verdicts == {"G1": "-", "G2": "-", "G3": "skipped", "G4": "-"}
    written.unlink()


def test_a_failed_gate_fails_the_run(monkeypatch: pytest.MonkeyPatch, starter_path: Path) -> None:
    """Make and CI would go on after a wrong result."""
    assert starter_path.exists()
    module = importlib.import_module("benchmarks.__main__")
    monkeypatch.setattr(module, "write", lambda _about, _lines: module.HERE / "results" / "none.json")
    for wrong, code in (("", 0), ("not the same text", 1)):
        line = Line("C9", "wall", "s", 1, 1, wrong=wrong)
        monkeypatch.setitem(module.ROWS, "C9", lambda _bench, line=line: [line])
        assert main(["C9"]) == code


def test_an_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A row that is mistyped would be left out in silence."""
    with pytest.raises(SystemExit) as caught:
        main(["C99"])
    assert caught.value.code == 2
    assert "C10" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_cheap_rows_run(starter_path: Path) -> None:
    """`make bench` would be found broken on the day that somebody needs it."""
    assert starter_path.exists()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "C3", "C7", "C9", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row.split("|")[1].strip() for row in done.stdout.splitlines() if row.startswith("| C")} == {
        "C3",
        "C7",
        "C9",
    }
    written = ROOT / done.stdout.rsplit("written to ", 1)[1].strip()
    record = json.loads(written.read_text(encoding="utf-8"))
    assert record["versions"]["xllamacpp"]
    assert all(line["verdict"] != "FAILED" for line in record["lines"])
    written.unlink()
