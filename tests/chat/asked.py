"""A scripted engine that records what it was asked."""

from collections.abc import Iterator, Sequence

from hermes_cli.engines.base import Cancel, Chunk
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.messages import Message
from hermes_cli.options import GenerationOptions


class AskedEngine(ScriptedEngine):
    """A scripted engine with the messages and the options of each answer."""

    asked: list[list[Message]]
    options: list[GenerationOptions]

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Record the request, and answer as the script says."""
        if not hasattr(self, "asked"):
            self.asked, self.options = [], []
        self.asked.append(list(messages))
        self.options.append(options)
        return super().stream(messages, options, cancel)
