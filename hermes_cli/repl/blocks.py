"""Blocks between triple quotes, as other chat programs have them: a text of several lines, sent as it is."""

MARK = '"""'


def is_open(text: str) -> bool:
    """Whether a block has begun that is not closed."""
    text = text.rstrip()
    return text.startswith(MARK) and not (len(text) >= 2 * len(MARK) and text.endswith(MARK))


def content(text: str) -> str | None:
    """Return what stands in a block, or None where the text is none."""
    if not text.startswith(MARK) or is_open(text):
        return None
    return text.rstrip()[len(MARK) : -len(MARK)].strip("\n")
