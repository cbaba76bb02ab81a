"""The styles of rendered Markdown and code, in the terminal's sixteen colors.

The user's palette is readable on the terminal's background, so the background is not detected. White, black
and their bright variants are not used, because one of them is usually the background.
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
"""Indexed by level; the last one also applies to deeper levels."""

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
"""Styles of code by Pygments token type; a type that is not listed has its nearest ancestor's style."""
