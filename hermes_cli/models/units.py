"""Units of memory, in powers of two. `download.py` formats download sizes in powers of ten."""

MIB = 1 << 20
GIB = 1 << 30
KV_ELEMENT_BYTES = 2
"""Bytes per 16-bit element of K or V. `plan/memory.py` converts to other types."""


def gib(size: int) -> str:
    """Format a number of bytes in GiB with one decimal: `5.4`."""
    return f"{size / GIB:.1f}"
