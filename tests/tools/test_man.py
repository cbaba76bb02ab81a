"""Tests of the man pages, which tools/man.py writes."""

import shutil
import subprocess

import pytest

from hermes_cli import __version__, app, errors
from hermes_cli.options import FIELDS
from tools.man import ALIASES, FOLDER, escape, exit_codes, pages, release_date

PAGES = sorted(name for name in pages() if name.partition(".")[0] not in ALIASES)


def test_the_pages_are_up_to_date() -> None:
    """`python -m tools.man` writes them again."""
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == pages()


def test_there_is_a_page_for_each_command_and_each_name_of_the_program() -> None:
    """The page of another name includes the page of hermes."""
    expected = {"hermes", *ALIASES, *(f"hermes-{verb}" for verb in app.VERBS)}
    assert {name.removesuffix(".1") for name in pages()} == expected


def test_a_page_has_every_option_and_every_exit_code() -> None:
    """Hidden options are left out."""
    page = pages()["hermes-ask.1"].replace("\\-", "-")
    for name in FIELDS:
        assert f"\\fB--{name.replace('_', '-')}\\fR" in page
    for code in exit_codes():
        assert f"\\fB{code}\\fR" in page
    assert "--complete" not in pages()["hermes-completion.1"].replace("\\-", "-")


def test_the_exit_codes_are_those_of_the_exceptions() -> None:
    """Signals have the others."""
    classes = [errors.HermesError]
    for kind in classes:
        classes += kind.__subclasses__()
    codes = {str(kind.exit_code) for kind in classes if kind.__module__ == errors.__name__}
    assert set(exit_codes()) == codes | {"0", "128 + n"}


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        (".gguf", r"\&.gguf"),
        ("'x' `y`", r"\(aqx\(aq \(gay\(ga"),
        ("--top-p ~/a\\b", r"\-\-top\-p \(ti/a\eb"),
        ("é", r"\[u00E9]"),
    ],
)
def test_text_is_not_taken_for_a_request(text: str, escaped: str) -> None:
    """A line that begins with a dot would be one."""
    assert escape(text) == escaped


def test_the_date_is_that_of_the_release() -> None:
    """Otherwise two builds of one version would differ."""
    assert release_date(f"## Unreleased\n\n## {__version__} - 2026-12-24\n") == "2026-12-24"
    assert release_date(f"## [{__version__}] - 2026-12-24\n") == "2026-12-24"
    assert release_date("## Unreleased\n") == ""


def output(program: str, *arguments: str) -> str:
    """Run a program on a page, and return all that it prints."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout


@pytest.mark.parametrize("name", PAGES)
def test_groff_prints_no_warning(name: str) -> None:
    """Neither an unknown request nor a missing font."""
    assert output("groff", "-man", "-ww", "-z", "-Tutf8", str(FOLDER / name)) == ""


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_prints_no_warning(name: str) -> None:
    """Except that a version that is not released has no date."""
    lines = output("mandoc", "-T", "lint", "-W", "warning", str(FOLDER / name)).splitlines()
    assert [line for line in lines if "missing date" not in line] == []


def test_the_description_is_found_by_apropos() -> None:
    """`lexgrog` is the part of man-db that reads the NAME section."""
    assert '"hermes-ask - answer one prompt and exit"' in output("lexgrog", str(FOLDER / "hermes-ask.1"))


def test_no_page_names_a_folder_of_this_machine() -> None:
    """The same pages are made everywhere."""
    assert not any(str(FOLDER.parent) in text for text in pages().values())
