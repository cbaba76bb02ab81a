"""The model to open: one on this machine with its plan, one on a server, or a script."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.engines.unsupported_option import UnsupportedOption
from hermes_cli.models.selected_model import SelectedModel
from hermes_cli.options import LayeredOptions

if TYPE_CHECKING:  # each is imported only for its kind of model
    from hermes_cli.engines.remote.engine import RemoteEngine
    from hermes_cli.models.plan.planner import Plan


@dataclass(slots=True)
class ModelChoice:
    """The model to open: `plan` is set for a model here, `server` for one on a server, `script` for a script.

    `plan` is replaced if memory runs out and a smaller plan is used. `can_use_gpu` is true if llama.cpp
    supports a GPU of this machine, even if the plan uses none. `is_for_group` is true if several characters
    answer: each has its own system prompt, so that the engine keeps their KV caches. `context_size` is the
    requested context window on a server, and `connection` its engine, if it is open.
    """

    selected: SelectedModel
    plan: "Plan | None" = None
    script: Path | None = None
    server: ServerAddress | None = None
    context_size: int | None = None
    connection: "RemoteEngine | None" = None
    can_use_gpu: bool = False
    is_for_group: bool = False

    @property
    def summary(self) -> str:
        """The model and its plan in one line."""
        if self.server is not None:
            return self._server_summary
        return self.plan.summary if self.plan else f"scripted · {self.script}"

    @property
    def _server_summary(self) -> str:
        assert self.server is not None  # noqa: S101 - see `summary`
        parts = [self.server.model, self.server.label]
        if self.connection is not None:
            engine = self.connection
            parts = [engine.name, f"{engine.server_name} at {self.server.base_url}", engine.level_text]
            parts.append(f"context {engine.context_size}")
        return " · ".join(parts)

    @property
    def is_starter(self) -> bool:
        """Whether the model is the starter."""
        if self.selected.model is None:
            return False
        from hermes_cli.models.local import ModelSource

        return self.selected.model.source is ModelSource.STARTER

    @property
    def headline(self) -> str:
        """The model, its precision, device and context size."""
        return f"{self.plan.headline} · context {self.plan.context_size}" if self.plan else self.summary

    def check_options(self, layered: LayeredOptions) -> None:
        """Raise UsageError if the engine that runs the model does not support an option that is set."""
        try:
            if self.connection is not None:
                self.connection.check_options(layered.options)
            elif self.script is not None:
                from hermes_cli.engines.stream_filters import reject_ban

                reject_ban(layered.options, "the scripted engine")
        except UnsupportedOption as error:
            raise error.from_source(layered.source(error.option)) from None

    @property
    def options_left_to_server(self) -> list[str]:
        """The options that the server decides, because it does not have them."""
        return self.connection.options_left_to_server if self.connection is not None else []

    @property
    def server_argument(self) -> str:
        """The argument of -m for a model on a server, or "" for another one."""
        return f"{self.server.argument}:{self.server.model}" if self.server is not None else ""

    @property
    def precision(self) -> str:
        """The precision of the weights, for display, or "" if it is unknown."""
        return self.plan.precision if self.plan else ""

    @property
    def reason(self) -> str:
        """The reasons for the model and for its plan."""
        return f"{self.selected.reason}; {self.plan.reason}" if self.plan else self.selected.reason
