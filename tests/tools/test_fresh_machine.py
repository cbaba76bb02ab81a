"""Tests of the settings that a fresh machine gets from this one, and of the table of results."""

from pathlib import Path

import pytest

from tools.fresh_machine import PUBLIC_MIRROR, Run, hint_line, local_places, mirror, pip_conf, table

SETTINGS = (
    "global.constraint='/etc/constraints.txt'\n"
    "global.index-url='https://pypi.example/simple/'\n"
    "global.find-links='{folder}'\n"
    "global.extra-index-url='file://{folder}/simple'\n"
    ":env:.timeout='180'\n"
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sources.list", "# a comment\ndeb [signed-by=/k.gpg] http://mirror.example/debian trixie main\n"),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\n"),
    ],
)
def test_debian_uses_the_package_mirror_of_this_machine(tmp_path: Path, name: str, text: str) -> None:
    """Both forms of apt's source lists are read; another system uses the public mirror."""
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)
    system = tmp_path / "os-release"
    system.write_text("NAME=Debian\nID=debian\n")
    assert mirror(tmp_path, system) == "http://mirror.example/debian"
    system.write_text("ID=ubuntu\nID_LIKE=debian\n")
    assert mirror(tmp_path, system) == PUBLIC_MIRROR


def test_pip_conf_has_the_settings_of_this_machine(tmp_path: Path) -> None:
    """Settings from environment variables are not written into the file."""
    text = SETTINGS.format(folder=tmp_path)
    assert pip_conf(text) == (
        "[global]\nconstraint = /etc/constraints.txt\nindex-url = https://pypi.example/simple/\n"
        f"find-links = {tmp_path}\nextra-index-url = file://{tmp_path}/simple\n"
    )
    (tmp_path / "simple").mkdir()
    assert local_places(text) == [tmp_path]


def test_the_output_is_summarized_by_its_most_important_line() -> None:
    """It is an error, the summary of the tests, or the last line of the answer."""
    failed = "Making .venv …\nhermes: this system lacks x\n        run: y\nmake: *** [chat] Error 1\n"
    assert hint_line(failed, 2) == "this system lacks x"
    assert hint_line("....\n12 passed in 3 s\nLeft out: 4 tests.\n", 0) == "12 passed in 3 s"
    assert hint_line("hermes 0.1.0\n\nParis.\n", 0) == "Paris."
    assert hint_line("", 1) == ""


def test_a_pipe_character_in_a_command_is_escaped_in_the_table() -> None:
    """A bare | would end the cell."""
    row = table([Run("trixie", "3.13.5", "root", "echo | make", 0, 61.7, "Paris.", "")]).splitlines()[2]
    assert row == r"| trixie | 3.13.5 | root | `echo \| make` | 0 | 62 | Paris. |"
