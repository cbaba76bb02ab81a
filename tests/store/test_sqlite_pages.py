"""Tests of reading the rows of a database file without SQLite, against files that SQLite wrote."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermes_cli.store import sqlite_pages
from tests.database import raw_database

LEAF = b"\x0d\x00\x00\x00\x40"
"""The beginning of the leaf page of a table, with 64 rows."""
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.binary(max_size=40),
    st.integers(1000, 30_000).map(lambda n: "long " * (n // 5)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([512, 1024, 4096, 65_536]),
    st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), VALUES, VALUES, VALUES), max_size=30),
)
def test_every_row_is_read_as_sqlite_wrote_it(
    tmp_path: Path, size: int, rows: list[tuple[int, object, object, object]]
) -> None:
    """Every row that SQLite wrote is read with the same values, for every page size."""
    path = tmp_path / "a.db"
    path.unlink(missing_ok=True)
    with raw_database(path) as database:
        database.execute(f"PRAGMA page_size = {size}")
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c)")
        database.executemany("INSERT OR REPLACE INTO t VALUES (?, ?, ?, ?)", rows)
        expected = database.execute("SELECT * FROM t").fetchall()
    database.close()
    read = [(n, *values[1:]) for n, values in sqlite_pages.rows(path.read_bytes()) if len(values) == 4]
    assert sorted(signed(row) for row in read) == sorted(signed(row) for row in expected)


def signed(row: tuple[object, ...]) -> tuple[str, ...]:
    """Return a row as sortable strings; the id is read without its sign."""
    number = row[0]
    assert isinstance(number, int)
    return tuple(map(repr, (number % 2**64, *row[1:])))


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database of three pages: the first, and two with a row each that SQLite wrote."""
    path = tmp_path_factory.mktemp("pages") / "a.db"
    with raw_database(path) as database:
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
        database.execute("CREATE TABLE u (id INTEGER PRIMARY KEY, a)")
        database.execute("INSERT INTO t VALUES (7, 'first')")
        database.execute("INSERT INTO u VALUES (8, 'second')")
    database.close()
    return path.read_bytes()


@settings(max_examples=150, deadline=None)
@given(junk=st.lists(st.binary(max_size=600), max_size=4), torn=st.binary(max_size=4095))
def test_random_pages_do_not_hide_the_rows_of_the_others(
    intact: bytes, junk: list[bytes], torn: bytes
) -> None:
    """Random and torn pages raise no error, and the rows of the other pages are found."""
    size = 4096
    random_pages = b"".join(
        (start + page).ljust(size, page[-1:] or b"\xff") for page in junk for start in (b"", LEAF)
    )
    read = [
        (number, values[-1:])
        for number, values in sqlite_pages.rows(intact[:size] + random_pages + intact[size:] + torn)
    ]
    assert (7, ["first"]) in read
    assert (8, ["second"]) in read


def test_a_row_with_an_impossible_length_is_skipped() -> None:
    """A row with a length that no file has is skipped."""
    size = 4096
    row = bytes([0xFF] * 8 + [0x7F]) + bytes([1])  # a length that no file has
    page = b"\x0d\x00\x00\x00\x01\x00\x00\x00" + (100).to_bytes(2, "big")
    assert list(sqlite_pages.rows(page.ljust(100, b"\0") + row.ljust(size - 100, b"\0"))) == []


@pytest.mark.parametrize("data", [b"", b"\0" * 99, b"SQLite format 3\0"])
def test_a_file_without_pages_has_no_rows(data: bytes) -> None:
    """A file without pages has no rows and raises no error."""
    assert list(sqlite_pages.rows(data)) == []
