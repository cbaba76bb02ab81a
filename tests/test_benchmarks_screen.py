"""Tests of the benchmark rows of the screen: their texts, their counts and their gates."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.live import Live

from benchmarks import streaming
from benchmarks.answer_text import answers, blocks, tokens
from benchmarks.measure import Bench, Repeats
from benchmarks.peers import rich_screens
from benchmarks.rows import chat_startup, render_cost
from benchmarks.rows.chat_startup import FirstKey
from benchmarks.streaming import Clock, Show, Sink

pytestmark = pytest.mark.slow

SMALL = (150, 300, 600)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """The context of a row: one repeat, no waiting for a quiet moment, and no model."""
    (tmp_path / "home").mkdir()
    return Bench(1, tmp_path, tmp_path, 1, 0)


def shown(show: Show, text: str) -> tuple[str, int]:
    """Return what a side writes while a text arrives, and how often it repaints."""
    sink, looks, _ = streaming.show_tokens(show, tokens(text))
    return sink.getvalue().decode(), looks


def account(cpu_s: float, count: int = 1000, repaints: int = 100, fault: str = "") -> dict[str, Any]:
    """Return the record of one text."""
    record = {"tokens": count, "cpu_s": cpu_s, "repaints": repaints, "written": 1200, "picture": 1000}
    return {**record, "digest": "a", "fault": fault}


# The text


def test_every_length_is_measured_on_the_same_words() -> None:
    """All lengths are cut from the same text, and another seed gives another text."""
    (whole,) = answers(4000, 4000)
    for size in (500, 2000):
        parts = answers(4000, size)
        assert "".join(parts) == whole
        assert all(0.5 * size < len(tokens(part)) < 1.5 * size for part in parts)
    assert answers(4000, 4000, seed=2) != [whole]


def test_the_text_is_what_models_write() -> None:
    """The text has every kind of Markdown that models write, and no paragraph twice."""
    whole = "".join(blocks(4000))
    for mark in (
        "\n## ",
        "**",
        " *",
        " `",
        "](https://",
        "\n- ",
        "\n  - ",
        "\n1. ",
        "\n```python",
        "\n> ",
        "| --- |",
    ):
        assert mark in whole
    tables = sum(block.startswith("| ") for block in blocks(4000))
    assert len(whole) / 6000 < tables < len(whole) / 3000
    paragraphs = [block for block in blocks(16_000) if len(block) > 80]
    assert len({*paragraphs}) == len(paragraphs)  # so a cache of painted paragraphs does not help


def test_tokens_are_the_text() -> None:
    """The tokens of a text join to that text and have 3 to 5 characters on average."""
    for text in answers(2000, 500):
        pieces = tokens(text)
        assert "".join(pieces) == text
        assert 3 < len(text) / len(pieces) < 5


# The account


def test_the_looks_are_the_simulated_clocks() -> None:
    """The number of repaints depends on the simulated clock only: every 50 ms, and 250 ms for Rich."""
    text = answers(300, 300)[0]
    count = len(tokens(text))
    first, looks = shown(render_cost.show, text)
    assert (first, looks) == shown(render_cost.show, text)
    assert 0.6 * count / 3 < looks <= count / 3 + 2  # a token each 20 ms, a repaint each 50
    assert shown(rich_screens.show_live, text)[1] == pytest.approx(count / 13, abs=2)  # each 250


def test_the_account_is_of_the_streaming_alone() -> None:
    """The CPU time includes the painting, and neither waiting nor making the text."""

    def busy(_sink: Sink, clock: Clock, arriving: Iterator[str]) -> int:
        end = time.process_time() + 0.2
        assert [clock.now for _ in arriving] == [0, 0.02, 0.04]
        while time.process_time() < end:
            pass
        return 1

    def idle(_sink: Sink, _clock: Clock, _arriving: Iterator[str]) -> int:
        time.sleep(0.2)
        return 1

    assert streaming.show_tokens(busy, "abc")[2] >= 0.2
    assert streaming.show_tokens(idle, "abc")[2] < 0.1


def test_aiders_method_prints_a_line_once_and_looks_less_often_where_it_is_slow() -> None:
    """The method of aider shows the rows of the final picture, and repaints less often if it is slow."""
    text = answers(400, 400)[0]
    written, looks = shown(rich_screens.show_tail, text)
    picture = Sink()
    rich_screens.picture(picture, text)
    stands, whole = (
        ["".join(cell.data for cell in row).strip() for row in streaming.cells(output)]
        for output in (written, picture.getvalue().decode())
    )
    assert [row for row in stands if row] == [row for row in whole if row]
    assert looks <= len(tokens(text)) / 3 + 3
    one = rich_screens.Tail(Live(console=rich_screens.console(Sink()), auto_refresh=False))
    assert 0.05 <= one.repaint("One line.") < one.repaint(text * 30) <= 2


@pytest.mark.parametrize("show", [rich_screens.show_live, rich_screens.show_tail, render_cost.show])
def test_a_side_shows_every_word(show: Show) -> None:
    """Each side shows every word of the text, and the check reports a missing word."""
    text = answers(300, 300)[0]
    last = shown(show, text)[0]
    if show is render_cost.show:  # a word may arrive in two pieces: read the final screen
        last = "\n".join("".join(cell.data for cell in row) for row in streaming.cells(last))
    assert streaming.missing_words(text, last) == ""
    assert "words are missing" in streaming.missing_words(text + " unsaid", last)


# The gates


def test_a_screen_that_is_another_one_is_found() -> None:
    """A screen with another text, style or number of rows is reported; the way to it is not compared."""
    good = "one\r\n\x1b[1mtwo\x1b[m\r\n" + "row\r\n" * 60
    assert streaming.screen_difference(good, good) == ""
    assert (
        streaming.screen_difference("on\r\x1b[Jone\r\n" + good[5:], good) == ""
    )  # intermediate states do not count
    assert "row 1 is 'ome'" in streaming.screen_difference(good.replace("one", "ome"), good)
    assert "row 2" in streaming.screen_difference(good.replace("\x1b[1m", "\x1b[3m"), good)
    assert "another style" in streaming.screen_difference(good.replace("\x1b[1m", ""), good)
    assert "61 rows instead of 62" in streaming.screen_difference(good[:-5], good)


def test_the_gate_looks_at_what_was_written(bench: Bench) -> None:
    """The gate accepts what was written, and reports changed bytes and a changed stream."""
    texts = answers(200, 100)
    records = bench.call(render_cost.stream_hermes, texts=texts).value
    assert [record["tokens"] for record in records] == [len(tokens(text)) for text in texts]
    assert render_cost.gate([records, records]) == ""
    assert "same bytes" in render_cost.gate([records, [account(1) for _ in records]])
    assert render_cost.gate([records, [{**record, "fault": "row 1"} for record in records]]) == "row 1"
    sink, whole = streaming.show_tokens(render_cost.show, tokens(texts[1]))[0], Sink()
    render_cost.picture(whole, texts[1])
    written, picture = sink.getvalue().decode(), whole.getvalue().decode()
    assert streaming.screen_fault(texts[1], written, picture, exact=True) == ""
    changed = written.replace("e", "a", 1)
    assert "instead of" in streaming.screen_fault(texts[1], changed, picture, exact=True)
    lost = streaming.screen_fault(f"{texts[1]} unsaid", written, picture, exact=True)
    assert "words are missing" in lost


def test_a_side_that_breaks_is_no_result(bench: Bench) -> None:
    """A side that cannot start raises an error."""
    with pytest.raises(RuntimeError, match="No module named"):
        bench.call("benchmarks.peers.none:stream", texts=["x"])


def test_a_peer_is_beside_the_same_answers() -> None:
    """Each line compares the same answers, and fails if either side is wrong."""
    results: dict[str, Any] = {f"hermes {size}": [[account(1.0)]] * 3 for size in ("0.15k", "0.3k", "0.6k")}
    results |= {peer: [[account(1.0)]] * 3 for peer in render_cost.PEERS}
    results["hermes 0.3k"] = [[account(0.015), account(8.0)]] * 3
    results["hermes 0.6k"] = [[account(1.3)]] * 3
    beside = {line.measure: line for line in render_cost.lines(Repeats(results, []), SMALL)}
    assert beside["CPU per token, 0.6k beside 0.15k"].verdict == "no"
    assert beside["CPU per token, 0.6k beside 0.15k"].ratio == pytest.approx(1.3)
    assert beside["CPU per token, 0.3k beside 0.15k"].ratio == pytest.approx(4.0075)
    live = "rich Live(Markdown)"
    assert beside["CPU per token, 0.3k, beside aider's method"].ratio == pytest.approx(0.015)
    assert beside[f"CPU per repaint, 0.3k, beside {live}"].verdict == "yes"
    for side in ("hermes 0.3k", live):
        wrong: Any = [[account(1.0, fault="row 1 is 'a' instead of 'b'")]] * 3
        lines = render_cost.lines(Repeats({**results, side: wrong}, []), SMALL)
        found = {line.measure: line for line in lines}[f"CPU per repaint, 0.3k, beside {live}"]
        assert found.verdict == "FAILED"


def test_the_bytes_are_beside_the_picture_s() -> None:
    """The line compares the written bytes with those of the final picture."""
    line = render_cost.bytes_line("hermes 4k", [account(1), account(1)])
    assert (line.hermes, line.peer, line.verdict) == (2400 / 1024, 2000 / 1024, "yes")
    assert render_cost.bytes_line("hermes 4k", [account(1, fault="row 1")]).verdict == "FAILED"


@pytest.mark.long
def test_the_rows_of_the_stream_run(bench: Bench) -> None:
    """The rows render-cost and terminal-bytes run on small texts without a wrong result."""
    for row in (render_cost.measure, render_cost.measure_bytes):
        lines = row(bench, SMALL)
        assert [line.wrong for line in lines if line.wrong] == []
        assert all(line.hermes > 0 and line.peer > 0 for line in lines)
    written = {line.measure: line.ratio for line in lines}
    assert written["bytes beside the final picture's, hermes 0.3k"] > 1
    assert written["bytes beside the final picture's, rich Live(Markdown)"] > 4


# The first key

TAKES = """
import subprocess, sys, termios, time, tty
tty.setraw(0, termios.TCSANOW)
print(end='\\r\\n> ' + sys.stdin.read(1), flush=True)
"""
BURN = "import time\nwhile time.process_time() < {}: pass\n"


def python(code: str) -> FirstKey:
    """Start Python code on a pty."""
    return chat_startup.first_key([sys.executable, "-c", code], {"TERM": "xterm-256color"})


def test_the_cost_of_a_start_ends_with_the_first_key() -> None:
    """The times end with the echo of the first key, and the CPU time includes child processes."""
    taken = python(BURN.format(0.3) + TAKES + BURN.format(9))
    assert 0.3 <= taken.cpu_s < 3
    assert not taken.while_loading
    idle = python("import time; time.sleep(0.5)" + TAKES + "time.sleep(9)")
    assert idle.cpu_s < 0.4
    assert 0.5 <= idle.wall_s < 9
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN.format(0.5)!r}])"
    assert python(child + TAKES + "time.sleep(9)").cpu_s >= 0.5


def test_loading_is_what_the_toolbar_says_when_the_key_is_there() -> None:
    """A start is counted as loading only if the toolbar below the prompt shows it, not a line above."""
    says = "print(end={!r}, flush=True); time.sleep(9)"
    below = python(TAKES + says.format("\r\nloading the starter"))
    above = python("print('loading the starter')" + TAKES + says.format("\r\nstarter"))
    assert (below.while_loading, above.while_loading) == (True, False)
    assert chat_startup.gate([below]) == ""
    assert "start 2" in chat_startup.gate([below, above])


def test_a_program_that_takes_no_key_is_no_result() -> None:
    """A program that never takes the key raises an error."""
    with pytest.raises(RuntimeError, match="never accepted the key"):
        python("print('> ')")


def test_the_bare_prompt_takes_a_key() -> None:
    """The bare prompt of the peer takes the key and has a CPU time."""
    taken = chat_startup.first_key(
        [sys.executable, "-c", chat_startup.BARE_PROMPT], {"TERM": "xterm-256color"}
    )
    assert 0 < taken.cpu_s < 9


@pytest.mark.long
def test_the_row_of_the_first_key_runs(bench: Bench, starter_path: Path) -> None:
    """The row runs with the starter without a wrong result."""
    models = bench.scratch / "home" / "data" / "models"
    models.mkdir(parents=True)
    (models / starter_path.name).symlink_to(starter_path)
    for line in chat_startup.measure(bench):
        assert line.wrong == ""
        assert line.peer > 0
        assert line.hermes > 0


@pytest.mark.slow
def test_the_row_of_a_chat_with_a_server_runs(bench: Bench) -> None:
    """The key is accepted while hermes still connects to the server."""
    for line in chat_startup.measure_server(bench):
        assert line.wrong == ""
        assert line.peer > 0
        assert line.hermes > 0
