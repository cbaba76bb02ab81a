"""`hermes ps`: the loaded models, of which there are none between two commands."""

from hermes_cli.application.runtime import Runtime
from hermes_cli.cli.command import command, new_app

app = new_app()


@command(app)
def ps(runtime: Runtime) -> None:
    """Explain which models are loaded."""
    runtime.terminal.plain(
        "No model stays loaded: each hermes process loads its own and frees it at exit.\n"
        "'hermes models list' shows the installed models, and /model in a chat the one in use."
    )
