"""Tests of the file of typed lines: prompt_toolkit's format, from which entries can be removed."""

import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prompt_toolkit.history import FileHistory

from hermes_cli.store import input_history

LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1, max_size=30)


def read(path: Path) -> list[str]:
    """Return the entries as prompt_toolkit reads them, oldest first."""
    return list(reversed(list(FileHistory(str(path)).load_history_strings())))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=8), st.data())
def test_forget_removes_the_given_entries_only(tmp_path: Path, texts: list[str], data: st.DataObject) -> None:
    """`forget` removes the given entries, and all others stay as they were."""
    path = tmp_path / "history"
    path.unlink(missing_ok=True)
    input_history.make(path)
    for text in texts:
        input_history.add(path, text)
    assert read(path) == texts
    removed = set(data.draw(st.lists(st.sampled_from(texts)))) if texts else set()
    input_history.forget(path, removed)
    assert read(path) == [text for text in texts if text not in removed]


def test_entries_of_prompt_toolkit_can_be_removed(tmp_path: Path) -> None:
    """Entries that prompt_toolkit wrote can be removed, and their text is not in the file."""
    path = tmp_path / "history"
    FileHistory(str(path)).store_string("first\nof two lines")
    FileHistory(str(path)).store_string("second")
    input_history.add(path, "third")
    input_history.forget(path, {"first\nof two lines"})
    assert read(path) == ["second", "third"]
    assert b"of two lines" not in path.read_bytes()


def test_the_history_file_is_private(tmp_path: Path) -> None:
    """The file has mode 0600 and its folder 0700."""
    path = tmp_path / "state" / "history"
    input_history.make(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_concurrent_additions_and_removals_lose_no_entry(tmp_path: Path) -> None:
    """Entries that two processes add while a third one removes others are all kept whole."""
    path = tmp_path / "history"
    input_history.make(path)
    program = (
        "import sys; from pathlib import Path; from hermes_cli.store import input_history\n"
        "for n in range(200): input_history.add(Path(sys.argv[1]), f'{sys.argv[2]} {n}\\nmore of it')"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(path), name], cwd=Path(__file__).parents[2])
        for name in ("a", "b")
    ]
    while any(writer.poll() is None for writer in writers):
        input_history.forget(path, {"nothing of it"})
    entries = read(path)
    for name in ("a", "b"):
        assert [text for text in entries if text.startswith(name)] == [
            f"{name} {n}\nmore of it" for n in range(200)
        ]
