"""The user's request for a prompt format: the value of --chat-template, or --raw."""

import os
from pathlib import Path
from typing import Final, NamedTuple

from hermes_cli.errors import ConfigError
from hermes_cli.untrusted import source
from hermes_cli.untrusted.source import Source

FLAG: Final = "--chat-template"
CHATML: Final = "chatml"
"""The name that requests ChatML."""
PLAIN_TEMPLATE: Final = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
MAX_FILE: Final = 192 << 10
"""Bytes of a template file. JinjaTemplate reads a quarter of it in characters."""


class TemplateRequest(NamedTuple):
    """The user's choice of a prompt format: a name, or a file, whose text is `source`.

    `origin` is the flag or the setting that makes the choice.
    """

    name: str
    origin: str = FLAG
    source: str | None = None


RAW: Final = TemplateRequest("plain text", "--raw", PLAIN_TEMPLATE)
"""The request of `hermes ask --raw`."""
ANY_MODEL: Final = TemplateRequest(CHATML)
"""A request that every model can meet."""


def read_request(text: str, origin: str = FLAG) -> TemplateRequest:
    """Return the choice in a value of --chat-template. If it is a file, read it.

    A text without a slash that is not the name of a file names a template of the model. Raises ConfigError if
    a file is missing, cannot be read, is empty or larger than MAX_FILE, or is not UTF-8.
    """
    if text == CHATML:
        return TemplateRequest(text, origin)
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - leaves the name of an unknown user unchanged
    if os.sep not in text and not os.path.isfile(path):  # noqa: PTH113 - accepts any text
        return TemplateRequest(text, origin)
    file = Source(f"{origin}: {text}", ConfigError)
    template = source.read_text(path, MAX_FILE, file).removeprefix(source.BOM)
    if not template.strip():
        raise file.error("is empty")
    return TemplateRequest(text, origin, template)
