"""What counts as text that can be said to a model: UTF-8 without NUL. Nothing is stripped or normalised."""

from hermes_cli.errors import UsageError


def decode(data: bytes, where: str) -> str:
    """Return the bytes as text. Raises UsageError with the place of the first that are no UTF-8, or NUL."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{where} is not UTF-8 text: byte {error.start + 1:,} is 0x{data[error.start]:02x}",
            "convert it first, as with: iconv -f latin1 -t utf-8",
        ) from None
    return check_text(text, where)


def check_text(text: str, where: str) -> str:
    """Return the text. Raises UsageError where it holds NUL or bytes that were no UTF-8."""
    if "\0" in text:
        raise UsageError(f"{where} holds a NUL at character {text.index(chr(0)) + 1:,}: that is no text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{where} is not UTF-8 text", "check the terminal's encoding") from None
    return text
