"""One file a row of the table; ROWS names them in the table's order."""

from benchmarks.measure import Bench, Line
from benchmarks.rows import c1, c1_busy, c2, c3, c3_transformers, c4, c7, c9, c10, c10_transformers

ROWS = {
    "C1": c1.measure,
    "C2": c2.measure,
    "C3": c3.measure,
    "C3-transformers": c3_transformers.measure,
    "C4": c4.measure,
    "C7": c7.measure,
    "C9": c9.measure,
    "C10": c10.measure,
    "C10-transformers": c10_transformers.measure,
}
EXTRA = {"C1-busy": c1_busy.measure}
"""Rows without a goal, which take minutes: measured where they are named."""

__all__ = ["EXTRA", "ROWS", "Bench", "Line"]
