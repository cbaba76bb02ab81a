"""Tests of the benchmarks: what each measurement counts, and that a wrong result fails."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import measure
from benchmarks.__main__ import TORCH_ROWS, Rows, main
from benchmarks.measure import Bench, Child, Repeats
from benchmarks.report import Goal, Line, table
from benchmarks.rows import ask, command_startup, lookup_speculation, prefill_ahead, prefix_reuse

ROOT = Path(__file__).parents[1]


def child(text: bytes = b"", code: int = 0, stderr: bytes = b"") -> Child:
    """Return a process that has ended."""
    return Child(code, text, stderr, wall_s=1, cpu_s=1, max_rss=1 << 20, text_s=1)


def python(code: str) -> Child:
    """Run Python code as a measured child."""
    return measure.run_child([sys.executable, "-c", code], os.environ)


def test_a_childs_account_is_its_own() -> None:
    """The times and the output of a child process are its own."""
    idle = python("import time; time.sleep(0.3)")
    busy = python("import time\nwhile time.process_time() < 0.4: pass\nprint('done')")
    assert idle.wall_s >= 0.3
    assert idle.cpu_s < 0.25
    assert busy.cpu_s >= 0.4
    assert busy.stdout == b"done\n"


def test_the_memory_of_a_child_is_its_own() -> None:
    """The peak memory of a child is its own, although Linux keeps the parent's over the exec."""
    code = (
        "import os, sys; from benchmarks.measure import run_child;"
        "make = 'x = bytes(%d * 10**6); y = x[:-1]';"
        "rss = [run_child([sys.executable, '-c', make % n], os.environ).max_rss for n in (1, 200)];"
        "print(rss[1] - rss[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True)
    assert int(done.stdout) > 150_000_000


def test_the_memory_of_its_children_is_added() -> None:
    """Llama.cpp runs in a child process, which hermes does not wait for at its end."""
    child = "x = bytearray(100 * 10**6); import time; time.sleep(0.5)"
    alone = python("pass").max_rss
    parent = python(
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(0.8)"
    )
    assert parent.max_rss - alone > 100_000_000


def test_the_time_of_a_text_begins_with_its_first_piece() -> None:
    """The time of a text runs from its first piece to its end."""
    late = python("import time; time.sleep(2); print('a', flush=True); time.sleep(0.1); print('b')")
    assert 0.1 <= late.text_s < 2


def test_a_child_that_hangs_is_ended() -> None:
    """A child that runs past its limit is killed and reported as failed."""
    hung = measure.run_child([sys.executable, "-c", "import time; time.sleep(60)"], os.environ, limit_s=0.2)
    assert hung.code < 0
    assert measure.exit_fault([hung])


def test_sides_alternate() -> None:
    """The sides alternate, with one warm-up round that does not count."""
    order: list[str] = []
    sides = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    runs = measure.interleave(sides, 2, 0)
    assert order == ["a", "b"] * 3  # the first round warms up and does not count
    assert [len(given) for given in runs.results.values()] == [2, 2]
    assert len(runs.moments) == 4


def test_the_median_is_taken_of_each_side() -> None:
    """The median is computed per side, and the detail of a line keeps every value."""
    runs = Repeats({"a": [1.0, 100.0, 2.0], "b": [5.0, 4.0, 6.0]}, [])
    line = runs.line("decode", "s", float, ("a", "b"))
    assert (line.hermes, line.peer) == (2.0, 5.0)
    assert line.detail["a"] == [1.0, 100.0, 2.0]


def test_a_quiet_moment_is_not_waited_for_for_ever() -> None:
    """After its patience has run out, the moment is recorded with the machine's idle share."""
    moment = measure.quiet_moment(0, lambda _window: 0.1)
    assert (moment["idle"], moment["waited_s"]) == (0.1, 0)


@pytest.mark.parametrize(
    ("goal", "ratio", "met"),
    [
        (Goal("≥", 0.98), 0.97, False),
        (Goal("≥", 0.98), 0.98, True),
        (Goal("≤", 1.3), 1.31, False),
        (Goal("≤", 1.3), 1.3, True),
    ],
)
def test_a_goal_has_a_direction(goal: Goal, ratio: float, met: bool) -> None:  # noqa: FBT001 - a case's answer
    """A goal is a lower or an upper bound, and the bound itself meets it."""
    assert goal.met(ratio) is met


def test_speculation_that_changes_an_answer_fails() -> None:
    """The speed counts tokens over seconds; an answer with other ids than without speculation fails."""
    fast, slow = (
        {"ids": [[1, 2]], "tokens": 30, "s": seconds, "cpu_s": 2 * seconds} for seconds in (1.0, 3.0)
    )

    def verdicts(**changes: Any) -> list[tuple[float, str]]:
        values = {"lookup": {**fast, **changes}, "off": slow}
        children = {side: [replace(child(), value=value)] for side, value in values.items()}
        made = lookup_speculation.lines("copy", Repeats(children, []))
        return [(line.hermes, line.verdict) for line in made]

    assert verdicts() == [(30, "yes"), (pytest.approx(2000 / 30), "-")]
    assert [verdict for _, verdict in verdicts(ids=[[1, 3]])] == ["FAILED", "FAILED"]


def test_a_wrong_result_is_no_success() -> None:
    """A line with a wrong result has the verdict FAILED, whatever its figures."""
    line = Line("decode", "tok/s", 200, 100, Goal("≥", 0.98), "list of ids 1 is not the peer's")
    assert line.verdict == "FAILED"
    assert "FAILED" in table([line])


def test_the_gates_can_fail() -> None:
    """Each gate passes good results and reports wrong texts, exit codes and ids."""
    assert ask.gate([child(b"Hi.\n")] * 2, [child(b"Hi.")] * 2) == ""
    for hermes, peer in ((b"Hi!\n", b"Hi."), (b"Hi.", b"Hi."), (b"", b"Hi.")):
        assert ask.gate([child(hermes)], [child(peer)]) != ""
    assert ask.gate([child(b"Hi.\n", code=1)], [child(b"Hi.")]) != ""
    assert ask.gate([child(b"Hi.\n")], [child(b"Hi."), child(b"Ho.")]) != ""
    assert command_startup.gate("--version", [child(b"hermes 1.0\n")]) == ""
    assert command_startup.gate("--version", [child(b"Traceback")]) != ""
    assert measure.exit_fault([child(code=2)], code=2) == ""
    assert measure.difference("list of ids", [1, 2], [[1, 2], [1, 3]]) != ""


def turn(
    prompt: list[int],
    generated: list[int],
    *,
    cached: int,
    ended: bool = False,
    finish_reason: str = "length",
    looked_up: int | None = None,
) -> dict[str, Any]:
    """Return the record of one turn as `benchmarks.hermes.record` returns it."""
    return {
        "prompt": prompt,
        "generated": generated,
        "ended": ended,
        "finish_reason": "stop" if ended else finish_reason,
        "prefilled": len(prompt) - cached,
        "completion_tokens": len(generated) + ended,
        "looked_up": looked_up,
    }


def test_new_ids_are_counted_from_the_prompts_alone() -> None:
    """The numbers of new ids are computed from the prompts, without hermes' own counts."""
    talk = [
        turn([1, 2, 3], [4, 5], cached=0),
        turn([1, 2, 3, 4, 5, 6], [7, 8], cached=4, ended=True),  # 5 was sampled and never evaluated
        turn([1, 2, 3, 4, 5, 6, 7, 8, 9], [9], cached=8),
        turn([1, 2, 3, 4, 5, 6, 7, 8, 9], [9], cached=8),  # all in the cache: one is evaluated for its logits
        turn([1, 2, 9], [7, 8], cached=2, finish_reason="cancelled"),
        turn([1, 2, 9, 7, 8, 6], [9], cached=5),  # Ctrl-C came after 8 was evaluated, or before
    ]
    assert prefix_reuse.new_ids(talk) == [[3], [2], [1], [1], [1], [1, 2]]
    answers = [{"ids": turn_["generated"], "prefilled": 9} for turn_ in talk]
    first, *_ = prefix_reuse.lines(talk, dict.fromkeys(prefix_reuse.PEERS, answers))
    assert (first.hermes, first.peer, first.verdict) == (6, 6, "yes")


def test_a_turn_that_prefills_more_or_answers_otherwise_is_found() -> None:
    """Too many prefilled ids miss the goal, and ids other than the peer's fail unless they are a near tie."""
    talk = [turn([1, 2, 3], [4, 5], cached=0), turn([1, 2, 3, 4, 5, 6], [7], cached=0)]
    right = [{"ids": [4, 5], "prefilled": 3}, {"ids": [7], "prefilled": 6}]
    other = {"ids": [8], "prefilled": 6}
    peers = dict.fromkeys(prefix_reuse.PEERS, right)
    assert prefix_reuse.lines(talk, peers)[0].verdict == "no"
    assert (
        prefix_reuse.lines(talk, {**peers, prefix_reuse.GIVEN_IDS: [right[0], other]})[0].verdict == "FAILED"
    )
    for likely, verdict in (
        ([(8, -1.0), (7, -1.01)], "no"),
        ([(8, -1.0), (7, -2.0)], "FAILED"),
        ([(8, -1.0)], "FAILED"),
    ):
        whole = [right[0], {**other, "likely": [likely]}]
        assert prefix_reuse.lines(talk, {**peers, prefix_reuse.WITHOUT_REUSE: whole})[0].verdict == verdict


@pytest.mark.long
@pytest.mark.parametrize("tokens", [4, 300])
def test_the_ids_of_a_saved_answer_are_compared(starter_path: Path, tmp_path: Path, tokens: int) -> None:
    """The ids of decode's gate are equal, and an answer that ends before its last token fails."""
    bench = Bench(1, starter_path, tmp_path, 2)
    assert bool(ask.ids_fault(bench, "What is 2 + 2? Answer with one word.", tokens)) is (tokens == 300)


def test_without_torch_the_rows_say_so(starter_path: Path, tmp_path: Path) -> None:
    """Without torch the rows of transformers are reported as not measured, with the reason."""
    assert starter_path.exists()
    code = (
        "import pathlib, sys\n"
        "sys.modules['torch'] = None  # as where it is not installed\n"
        "from benchmarks.__main__ import main\n"
        "sys.exit(main(sys.argv[2:], results=pathlib.Path(sys.argv[1])))\n"
    )
    rows = [*sorted(TORCH_ROWS)]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *rows],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| not measured |") == 5
    assert done.stdout.count("not installed: torch") == 5
    assert len(written(tmp_path)["lines"]) == 5


def written(folder: Path) -> dict[str, Any]:
    """Return the one record that a run wrote."""
    (path,) = folder.glob("*.json")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def given(lines: list[Line], _: Bench) -> list[Line]:
    """A row that measures nothing."""
    return lines


def test_a_failed_gate_fails_the_run(starter_path: Path, tmp_path: Path) -> None:
    """A wrong result gives exit code 1 and is in the record."""
    assert starter_path.exists()
    for wrong, code in (("", 0), ("not the same text", 1)):
        lines = [Line("wall", "s", 1, 1, wrong=wrong)]
        assert main(["ask-cold"], {"ask-cold": partial(given, lines)}, tmp_path / str(code)) == code
        assert written(tmp_path / str(code))["lines"][0]["wrong"] == wrong


def test_a_row_that_breaks_off_ends_no_other(starter_path: Path, tmp_path: Path) -> None:
    """A row that raises an error is recorded as FAILED, and the other rows are measured."""
    assert starter_path.exists()

    def broken(_: Bench) -> list[Line]:
        raise RuntimeError("the bare engine: exit code 1")

    rows: Rows = {"decode": broken, "ask-cold": partial(given, [Line("wall", "s", 1, 1)])}
    assert main(["decode", "ask-cold"], rows, tmp_path) == 1
    assert [line["verdict"] for line in written(tmp_path)["lines"]] == ["FAILED", "-"]


def test_an_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown row ends with exit code 2 and a list of the rows."""
    with pytest.raises(SystemExit) as caught:
        main(["C99"])
    assert caught.value.code == 2
    assert "peak-memory" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_cheap_rows_run(starter_path: Path, tmp_path: Path) -> None:
    """The quick forms of three rows pass and write a record with versions."""
    assert starter_path.exists()
    rows = ["prefix-reuse", "command-startup", "ask-cold"]
    assert main([*rows, "--quick"], results=tmp_path) == 0
    record = written(tmp_path)
    assert {line["row"] for line in record["lines"]} == {*rows} == set(record["seconds"])
    assert record["versions"]["xllamacpp"]


def test_an_id_of_the_card_that_is_evaluated_after_enter_is_found() -> None:
    """After Enter, only the ids of the user's turn may be evaluated, and all sides must agree."""
    prompt = [1, 7, 8, 2, 1, 5, 6, 2, 1, 9]  # 1 begins a turn: the card's, the user's, the answer's
    ours = {"prompt": prompt, "generated": [4], "prefilled": 5, "first_s": 0.1}
    peer = {"generated": [4], "prefilled": 10, "first_s": 1.0}

    def fault(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
        return prefill_ahead.gate(Repeats({"hermes": [mine], "llama.cpp": [theirs]}, []), len(prompt))

    assert fault(ours, peer) == ""
    assert "6 ids were evaluated" in fault({**ours, "prefilled": 6}, peer)
    assert "first ids" in fault(ours, {**peer, "generated": [3]})
