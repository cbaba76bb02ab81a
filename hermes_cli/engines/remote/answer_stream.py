"""Reads the stream of an answer from a model server. Everything in it is checked."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.event_stream import StreamEvent
from hermes_cli.engines.remote.servers.api import AnswerPart, AnswerRequest, checked
from hermes_cli.errors import ServerError
from hermes_cli.untrusted import json_parser
from hermes_cli.untrusted.json_parser import JsonLimits
from hermes_cli.untrusted.source import Source

EVENT_LIMITS: Final = JsonLimits(2 << 20, brackets=10_000, commas=200_000)


def answer_parts(client: ServerClient, request: AnswerRequest, cancel: Cancel) -> Iterator[AnswerPart]:
    """Yield the parts of an answer. Closing the iterator closes the connection, which stops the answer.

    Raises ServerError if the stream is invalid, or ends before the model has ended the answer; also the
    errors of `ServerClient.post`, and RequestCancelled.
    """
    source = Source(f"the answer of {client.where}", ServerError, hint="see the server's log")
    is_finished = False
    events: Any = client.stream(request.url, request.body, request.new_decoder(), cancel)
    with closing(events):
        for event in events:
            part = request.read(checked(_parsed(event, source, client), client).table())
            is_finished = is_finished or part.finish is not None
            yield part
    if not is_finished:
        raise ServerError(f"{client.where} ended the answer too early", "try again, or see the server's log")


def _parsed(event: StreamEvent, source: Source, client: ServerClient) -> Any:
    """Return the JSON value of an event. Raises the error that it contains, if any."""
    body = json_parser.parse_text(event.data, source, EVENT_LIMITS)
    if isinstance(body, dict) and (body.get("error") or body.get("object") == "error"):
        raise client.error_in(body)
    return body
