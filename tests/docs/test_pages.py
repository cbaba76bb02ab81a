"""Tests of the documentation's pages: generated tables, links, lengths, and what a page must list."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hermes_cli.application.findings import CODES
from hermes_cli.config import CHOICES, PLAIN_SETTINGS, Settings
from tests.docs.pages import PAGES, ROOT, anchors, blocks, links, name
from tools.docs import DOCS, generated, replaced

LONGEST_README = 9_000
LONGEST_PAGE = 250


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    """No link of a page is dead."""
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)} links to {path}"
        assert not anchor or anchor in anchors(target), f"{name(page)} links to {path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_is_too_long(page: Path) -> None:
    """A page has at most 250 lines, and the README 9,000 characters."""
    text = page.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_PAGE
    assert page.name != "README.md" or len(text) <= LONGEST_README


def test_the_index_links_every_page() -> None:
    """The pages of docs/ can be reached from its index."""
    linked = {path for path, _ in links(DOCS / "index.md")}
    assert linked == {path.name for path in DOCS.glob("*.md")} - {"index.md"}


@pytest.mark.parametrize("page", ["prompt.md", "settings.md"])
def test_the_generated_tables_are_current(page: str) -> None:
    """`make docs` would change nothing."""
    assert (DOCS / page).read_text(encoding="utf-8") == generated()[page], "run: make docs"


def test_a_page_without_a_place_for_its_table_is_an_error() -> None:
    """A renamed comment is noticed."""
    page = "<!-- options: written -->\nold\n<!-- end of options -->"
    assert replaced(page, "options", "| new |") == (
        "<!-- options: written -->\n\n| new |\n\n<!-- end of options -->"
    )
    with pytest.raises(ValueError, match="0 places"):
        replaced(page, "commands", "| new |")


def test_the_settings_page_lists_every_setting() -> None:
    """Its config file has every setting, the default of each choice, and the page names each variable."""
    page = DOCS / "settings.md"
    text = page.read_text(encoding="utf-8")
    (block,) = (block for block in blocks(page, "toml") if block.startswith("model ="))
    shown = tomllib.loads(block)
    assert {*shown} == {*PLAIN_SETTINGS, "lore", "options", "servers", "users"}
    defaults = Settings()
    for setting in PLAIN_SETTINGS:
        assert f"`OPENHERMES_{setting.upper()}`" in text
        if setting in CHOICES and (default := getattr(defaults, setting)) is not None:
            assert shown[setting] == default


def test_every_finding_of_doctor_has_a_section() -> None:
    """The page on troubleshooting explains each finding under its name."""
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    _, findings, _ = re.split(r"^## (?:Findings|Other problems)$", text, flags=re.MULTILINE)
    assert re.findall(r"^### (.*)$", findings, re.MULTILINE) == [*CODES]


def test_the_commands_of_make_exist() -> None:
    """Every target of make that a page names is one of the Makefile."""
    targets = {*re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)}
    for page in PAGES:
        named = {*re.findall(r"`make ([a-z][a-z-]+)", page.read_text(), re.MULTILINE)}
        assert named <= targets, name(page)


@pytest.mark.slow
def test_the_site_builds_without_other_servers(tmp_path: Path) -> None:
    """Every page is built, no link is dead, and the pages load nothing from another server."""
    pytest.importorskip("zensical")
    for name_of_source in ("docs", "zensical.toml"):
        (tmp_path / name_of_source).symlink_to(ROOT / name_of_source)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"No issues found" in done.stdout + done.stderr) == (0, True), done
    for page in (tmp_path / "site").glob("*.html"):
        loaded = re.findall(
            r'<(?:script|link|img|source)[^>]+(?:src|href|srcset)="?(https?:[^" >]+)', page.read_text()
        )
        assert not loaded, page.name
