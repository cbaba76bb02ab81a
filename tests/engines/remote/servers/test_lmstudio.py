"""Tests of LM Studio's API on its fake."""

import pytest

from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.servers.api import RemoteModel
from hermes_cli.errors import UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions
from tests.engines.remote.clients import api_of, chat, client_of
from tests.engines.remote.fakes.lmstudio import FakeLMStudio


def test_only_models_that_generate_text_are_listed() -> None:
    """A loaded one has its context window."""
    with FakeLMStudio() as fake:
        models = api_of(fake, "lmstudio").models(client_of(fake), Cancel())
    assert models == [RemoteModel("hermes", 1024, 32768, is_loaded=True)]


def test_every_option_has_lm_studios_name() -> None:
    """The defaults of the others have no effect there."""
    with FakeLMStudio() as fake:
        chat(fake, "lmstudio", options=GenerationOptions(0.7, 0.9, 20, max_tokens=5, seed=3))
        body = fake.requests[-1].body
    sampling = {
        name: body[name] for name in body if name not in {"model", "messages", "stream", "stream_options"}
    }
    assert sampling == {
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 20,
        "repeat_penalty": 1.1,
        "max_tokens": 5,
        "seed": 3,
    }


@pytest.mark.parametrize(
    "options",
    [
        GenerationOptions(min_p=0.2),
        GenerationOptions(repetition_range=9),
        GenerationOptions(xtc_probability=1),
    ],
)
def test_an_option_that_lm_studio_does_not_have_is_refused(options: GenerationOptions) -> None:
    """One that is off is not: it has no effect."""
    with FakeLMStudio() as fake:
        with pytest.raises(UsageError, match="LM Studio does not support"):
            chat(fake, "lmstudio", options=options)
        assert chat(fake, "lmstudio", options=GenerationOptions(min_p=0, dry_base=3, max_tokens=3))


def test_a_prompt_that_is_cut_has_fewer_tokens() -> None:
    """The status is 200, so that only the count tells it."""
    with FakeLMStudio() as fake:
        parts = chat(fake, "lmstudio", (Message(Role.USER, "word " * 500),))
    assert next(part.usage for part in parts if part.usage).prompt_tokens == 1023
