"""Turns the error responses of model servers into errors of hermes. Their text is untrusted."""

import json
import re
from typing import Any, Final

from hermes_cli.errors import (
    ContextOverflow,
    HermesError,
    KeyRefused,
    ServerBusy,
    ServerError,
    ServerUnavailable,
)

MAX_MESSAGE: Final = 300


_BUSY: Final = {429, 503}
_REFUSED: Final = {401, 403}
_NOT_FOUND: Final = 404
_TOO_LONG: Final = re.compile(
    r"exceed_context_size_error|exceeds? the (?:available )?context (?:size|length)|"
    r"context_length_exceeded|maximum context length is",
    re.IGNORECASE,
)
"""The messages of llama-server and Ollama, of OpenAI, and of vLLM."""
_NUMBERS: Final = (
    re.compile(r"request \((?P<prompt>\d{1,9}) tokens\).{0,60}\((?P<context>\d{1,9}) tokens\)"),
    re.compile(
        r"maximum context length is (?P<context>\d{1,9}) tokens.{0,120}?"
        r"\((?P<prompt>\d{1,9}) (?:tokens )?(?:in|from) the (?:messages|input|prompt)"
    ),
    re.compile(
        r"maximum context length is (?P<context>\d{1,9}) tokens.{0,120}?"
        r"(?:contains|has|resulted in|requested) (?:at least )?(?P<prompt>\d{1,9})"
    ),
)


class EndpointMissing(ServerUnavailable):
    """The server has no such endpoint or model."""


class StatusError(ServerError):
    """The server answered with the status of an error that has no other class."""


def one_line(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return text from a server as one line of printable characters, at most `limit` of them."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def message_in(body: Any) -> str:
    """Return the message in the parsed body of an error response, or "" if it has none.

    Servers write {"error": {"message": …}}, {"error": "…"}, {"message": …} or {"detail": …}. Ollama repeats
    the JSON text of its own server in "error".
    """
    for _ in range(4):
        if isinstance(body, str):
            inner = _parsed(body) if body.lstrip().startswith("{") and len(body) < 1 << 16 else None
            if inner is None:
                return one_line(body)
            body = inner
        elif isinstance(body, list) and body:
            body = body[0]
        elif isinstance(body, dict):
            body = next((body[key] for key in ("error", "message", "detail", "msg") if body.get(key)), "")
        else:
            return ""
    return one_line(body) if isinstance(body, str) else ""


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def error_for(status: int, body: Any, where: str, *, has_key: bool) -> HermesError:
    """Return the error for a response with this status and parsed body, which may be text.

    `where` is the server's name, and `has_key` whether a key was sent.
    """
    message = message_in(body)
    said = f": {message}" if message else f" (status {status})"
    if overflow := overflow_in(body, message):
        return overflow
    if status in _REFUSED:
        hint = "check the key" if has_key else "name the key's source in [servers.NAME], such as key_env"
        verb = "refused the key" if has_key else "requires a key"
        return KeyRefused(f"{where} {verb}{said}", hint)
    if status in _BUSY:
        return ServerBusy(f"{where} is busy{said}", "try again later")
    if status == _NOT_FOUND:
        return EndpointMissing(
            f"{where} does not have this{said}", "'hermes models list --servers' lists models"
        )
    return StatusError(f"{where} failed{said}", "try again, or see the server's log")


def overflow_in(body: Any, message: str) -> HermesError | None:
    """Return the error for a prompt that is too long for the context window, if the server reports that."""
    details = body.get("error") if isinstance(body, dict) else None
    details = _parsed(details) if isinstance(details, str) else details
    details = details.get("error", details) if isinstance(details, dict) else {}
    if not isinstance(details, dict):
        details = {}
    kind = " ".join(str(details.get(key, "")) for key in ("type", "code"))
    if not _TOO_LONG.search(f"{message} {kind[:100]}"):
        return None
    prompt, context = _count(details.get("n_prompt_tokens")), _count(details.get("n_ctx"))
    if prompt and context:
        return ContextOverflow(prompt, context)
    for pattern in _NUMBERS:
        if found := pattern.search(message):
            return ContextOverflow(int(found["prompt"]), int(found["context"]))
    return UncountedOverflow(message)


def _count(value: Any) -> int:
    """Return a plausible number of tokens, or 0."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31
    return int(value) if is_count else 0


class UncountedOverflow(ContextOverflow):
    """The prompt does not fit the context window; the server does not report the numbers of tokens."""

    def __init__(self, message: str) -> None:
        super().__init__(0, 0)
        self.message = f"the prompt does not fit the context window of the server: {message}"
        self.args = (self.message,)
