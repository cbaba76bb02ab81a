"""The error for an option that an engine does not have. Its hint says how to remove the value."""

from typing import Final

from hermes_cli.config import ENV_PREFIX
from hermes_cli.errors import UsageError

_OTHERWISE: Final = "or use a model on this machine"


class UnsupportedOption(UsageError):  # noqa: N818 - the name states the problem
    """An option is set that the engine does not have. `engine` and `option` are their names."""

    def __init__(self, engine: str, option: str) -> None:
        super().__init__(f"{engine} does not support '{option}'", f"unset '{option}', {_OTHERWISE}")
        self.engine = engine
        self.option = option

    def from_source(self, source: str) -> UsageError:
        """Return the error for a value from `source`, one of LayeredOptions. Its hint removes the value."""
        if source == "command line":
            flag = f"--{self.option.replace('_', '-')}"
            return UsageError(f"{self.engine} does not support {flag}", f"omit {flag}, {_OTHERWISE}")
        hints = {
            "config file": f"remove it with 'hermes config unset {self.option}', {_OTHERWISE}",
            "/set": f"restore its default with '/set {self.option} default', {_OTHERWISE}",
            "environment": f"unset {ENV_PREFIX}{self.option.upper()}, {_OTHERWISE}",
        }
        return UsageError(f"{self.message} ({source})", hints.get(source, "use a model on this machine"))
