"""Memory sizes in powers of two. Download sizes are in powers of ten, in `download.py`."""

MIB = 1 << 20
GIB = 1 << 30
KV_ELEMENT_BYTES = 2
"""K and V are 16-bit floats, unless the weights are computed in 32 bits."""


def gib(size: int) -> str:
    """Return a number of bytes in GiB, with one decimal: `5.4`."""
    return f"{size / GIB:.1f}"
