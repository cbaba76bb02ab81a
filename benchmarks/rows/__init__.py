"""The rows of the table, one file each; ROWS has them in the order of the table."""

from benchmarks.rows import (
    c1,
    c1_busy,
    c2,
    c3,
    c3_transformers,
    c4,
    c5,
    c6,
    c7,
    c8,
    c9,
    c10,
    c10_transformers,
    l1,
    l2,
    s1,
)

ROWS = {
    "C1": c1.measure,
    "C2": c2.measure,
    "C3": c3.measure,
    "C3-transformers": c3_transformers.measure,
    "C4": c4.measure,
    "C5": c5.measure,
    "C6": c6.measure,
    "C7": c7.measure,
    "C8": c8.measure,
    "C9": c9.measure,
    "C10": c10.measure,
    "C10-transformers": c10_transformers.measure,
    "L1": l1.measure,
    "L2": l2.measure,
    "S1": s1.measure,
    "C1-busy": c1_busy.measure,
}
DEFAULT = [row for row in ROWS if row != "C1-busy"]
"""The rows that are measured if none is named. C1-busy has no goal and takes minutes."""
