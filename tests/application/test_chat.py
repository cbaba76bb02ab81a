"""What the REPL learns about the current model."""

import io
from collections.abc import Mapping

import pytest

from hermes_cli.application.chat import ReplHost
from hermes_cli.application.flags import Flags
from hermes_cli.application.model_choice import ModelChoice
from hermes_cli.application.runtime import Runtime
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.models.selected_model import SelectedModel
from hermes_cli.screen.terminal import Terminal


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("/models/OpenHermes-2-Mistral-7B-GGUF/openhermes-2.Q4_K_M.gguf", "openhermes-2.Q4_K_M.gguf"),
        ("models/openhermes-2.gguf", "openhermes-2.gguf"),
        ("/models/openhermes-2-awq", "openhermes-2-awq"),
        ("../openhermes-2-awq", "openhermes-2-awq"),
        ("teknium/OpenHermes-2-Mistral-7B", "teknium/OpenHermes-2-Mistral-7B"),
    ],
)
def test_the_toolbar_shows_the_last_part_of_a_path(home: Mapping[str, str], model: str, shown: str) -> None:
    """The name of a model on the hub is no path."""
    terminal = Terminal(io.BytesIO(), io.BytesIO(), io.StringIO(), False, False, False)  # noqa: FBT003 - see tests/run_hermes.py
    server = ServerAddress("http://gpu-box:8080/v1", "work", model=model)
    choice = ModelChoice(SelectedModel(model, "it was requested"), server=server)
    assert ReplHost(Runtime(terminal, home), Flags(), choice).model_line() == f"{shown} · work"
