"""The model to chat with, and the reason for it."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # not imported for a model on a server
    from hermes_cli.models.local import InstalledModel


class SelectedModel(NamedTuple):
    """The selected model. `reason` is a clause such as "it was requested".

    `model` is None for a script, for a model on a server, and for the starter if it must be downloaded first:
    call `starter.fetch`, then `selection.resolve` again.
    """

    name: str
    reason: str
    model: "InstalledModel | None" = None
