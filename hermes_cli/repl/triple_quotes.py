"""Blocks between triple quotes, as in other chat programs: texts of several lines that are sent verbatim."""

MARK = '"""'


def is_open(text: str) -> bool:
    """Return whether a block has begun and is not closed yet."""
    text = text.rstrip()
    return text.startswith(MARK) and not (len(text) >= 2 * len(MARK) and text.endswith(MARK))


def content(text: str) -> str | None:
    """Return the text inside a block, or None if the text is not a complete block."""
    if not text.startswith(MARK) or is_open(text):
        return None
    return text.rstrip()[len(MARK) : -len(MARK)].strip("\n")
