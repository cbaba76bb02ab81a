"""Describes how a model on a server is used: its context window, and what the server supports."""

from typing import TYPE_CHECKING, Any, NamedTuple

from hermes_cli.application.runtime import Runtime
from hermes_cli.application.servers import tokenizer_opener, with_model
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.errors import HermesError
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.screen.columns import columns
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line

if TYPE_CHECKING:  # imported only if a server is used
    from hermes_cli.engines.remote.engine import RemoteEngine


class ServerPlan(NamedTuple):
    """A model on a server. `version` is that of the server, or empty if it does not report one."""

    address: ServerAddress
    engine: "RemoteEngine"
    version: str

    def as_object(self) -> dict[str, Any]:
        """Return the plan for JSON."""
        engine = self.engine
        return {
            "server": engine.server_name,
            "version": self.version,
            "url": self.address.base_url,
            "model": engine.name,
            "context": engine.context_size,
            "max_context": engine.max_context_size,
            "level": int(engine.level),
            "exact_token_counts": not engine.estimates_tokens,
            "tokenizer": engine.tokenizer,
            "tokenizer_problem": engine.tokenizer_problem,
            "continues_messages": not engine.cannot_continue,
        }

    def text(self) -> str:
        """Return the plan in rows, and what the level means in a sentence under them."""
        from hermes_cli.engines.remote.levels import MEANINGS

        engine = self.engine
        rows = [
            ("server", f"{engine.server_name} {self.version}".strip(), self.address.base_url),
            ("model", engine.name),
            ("context", f"{engine.context_size:,} tokens{_context_remark(engine)}"),
            ("level", f"{int(engine.level)} of 3: {engine.level_text}"),
            *([("tokenizer", f"not used: {problem}")] if (problem := engine.tokenizer_problem) else []),
            ("/continue", f"no: {engine.cannot_continue}" if engine.cannot_continue else "yes"),
        ]
        cleaned = [tuple(sanitize_line(cell, LONG_LINE) for cell in row) for row in rows]
        return f"{columns(cleaned)}\n\n{MEANINGS[engine.level]}"


def plan_server(runtime: Runtime, address: ServerAddress, request: PlanRequest) -> ServerPlan:
    """Connect to a server, and return the plan for its model. Nothing is generated.

    Raises the errors of `with_model`, of `open_engine` and of `open_tokenizer`.
    """
    from hermes_cli.engines.remote.connection import open_engine

    address = with_model(runtime, address)
    engine = open_engine(
        address,
        runtime.environ,
        context_size=request.context_size,
        open_tokenizer=tokenizer_opener(runtime, address),
    )
    return ServerPlan(address, engine, _version(engine))


def _context_remark(engine: "RemoteEngine") -> str:
    """Return how the context window can be made larger, or an empty string."""
    model = engine.model
    at_most, fixed = model.max_context_size, model.context_size
    if fixed is not None and engine.context_size < fixed:
        return f"; the server has {fixed:,}"
    if fixed is None and at_most is None:
        return "; the server does not report it: set it with --context"
    if at_most is None or at_most <= engine.context_size:
        return ""
    place = "with --context" if fixed is None else "on the server"
    return f"; the model supports {at_most:,}, set {place}"


def _version(engine: "RemoteEngine") -> str:
    try:
        return engine.server_version()
    except HermesError:  # the plan does not depend on it
        return ""
