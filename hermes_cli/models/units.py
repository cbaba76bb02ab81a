"""Memory sizes in powers of two. Download sizes are in powers of ten, in `download.py`."""

MIB = 1 << 20
GIB = 1 << 30


def gib(size: int) -> str:
    """Return a number of bytes in GiB, with one decimal: `5.4`."""
    return f"{size / GIB:.1f}"
