"""Styles, one for each meaning, in the terminal's own sixteen colors.

The user's own palette is readable on a dark and on a light background alike, so the background is not
detected. White, black and their bright variants are not used: one of them is always the background.
"""

from typing import Final

from pygments.token import Comment, Generic, Keyword, Name, Number, Operator, String, Token
from rich.style import Style

PLAIN: Final = Style.null()
EMPHASIS: Final = Style(italic=True)
STRONG: Final = Style(bold=True)
STRUCK: Final = Style(strike=True)
CODE: Final = Style(color="cyan")
TARGET: Final = Style(dim=True)
SPEECH: Final = Style(color="green")
MARK: Final = Style(dim=True)
"""Bullets, quote bars, fences and rules, which should not draw attention."""
HEADINGS: Final = (
    Style(bold=True, underline=True),
    Style(bold=True),
    Style(bold=True, italic=True),
)
"""By level; the last one is also for all deeper levels."""

SYNTAX: Final = {
    Token: PLAIN,
    Comment: Style(dim=True, italic=True),
    Comment.Preproc: Style(color="magenta"),
    Keyword: Style(color="blue", bold=True),
    Keyword.Type: Style(color="cyan"),
    Keyword.Constant: Style(color="magenta"),
    Operator.Word: Style(color="blue", bold=True),
    Name.Builtin: Style(color="cyan"),
    Name.Function: Style(bold=True),
    Name.Class: Style(bold=True),
    Name.Decorator: Style(color="magenta"),
    Name.Tag: Style(color="blue", bold=True),
    Name.Attribute: Style(color="cyan"),
    Number: Style(color="magenta"),
    String: Style(color="green"),
    Generic.Deleted: Style(color="red"),
    Generic.Inserted: Style(color="green"),
    Generic.Heading: Style(bold=True),
    Generic.Subheading: Style(bold=True),
}
"""Styles of code by Pygments' token types; a type that is not listed has that of its nearest ancestor."""
