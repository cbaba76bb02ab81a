"""Small real models, loaded once for all tests of this engine."""

from pathlib import Path
from typing import Any, Self

import pytest
import torch
from transformers import AutoModelForCausalLM

from hermes_cli.engines.tokenizer_json import Vocabulary, read_vocabulary
from hermes_cli.engines.transformers.cuda_graphs import Capture
from hermes_cli.engines.transformers.decode import Decoder
from hermes_cli.engines.transformers.engine import TransformersEngine
from tests.weights import starter_folder, tiny_mistral_folder

CPU = torch.device("cpu")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Limit torch to one thread: faster for a tiny model, and much faster if the other processor is busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mistral_folder() -> Path:
    """A tiny random Mistral under OpenHermes 2's vocabulary, with a sliding window of 64 tokens."""
    return tiny_mistral_folder()


@pytest.fixture(scope="session")
def mistral(mistral_folder: Path) -> Any:
    """The tiny Mistral in float32, as transformers itself loads it."""
    loader: Any = AutoModelForCausalLM
    return loader.from_pretrained(mistral_folder, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def mistral_vocabulary(mistral_folder: Path) -> Vocabulary:
    """OpenHermes 2's vocabulary."""
    return read_vocabulary(mistral_folder)


@pytest.fixture(scope="session")
def starter_weights(starter_path: Path) -> Path:
    """The starter as a folder of Hugging Face weights in bfloat16."""
    return starter_folder(starter_path)


@pytest.fixture(scope="session")
def mistral_engine(mistral: Any, mistral_vocabulary: Vocabulary) -> TransformersEngine:
    """An engine over the tiny Mistral, with a context window of 1,024 tokens."""
    return engine_over(mistral, mistral_vocabulary)


def engine_over(
    model: Any,
    vocabulary: Vocabulary,
    context_size: int = 1024,
    capture: Capture | None = None,
    *,
    lookup: bool = False,
) -> TransformersEngine:
    """Return an engine with an empty KV cache over a loaded model."""
    decoder = Decoder(model, CPU, context_size, capture)
    return TransformersEngine(decoder, vocabulary, name="tiny", context_size=context_size, lookup=lookup)


class Failure:
    """Raise `error` in the middle of the model: in `layer`, `times` times, after `spared` calls."""

    def __init__(self, model: Any, layer: int, error: BaseException, times: int = 1, spared: int = 0) -> None:
        self.left, self.spared = times, spared
        self.error = error
        self._hook = model.get_decoder().layers[layer].register_forward_pre_hook(self._raise_error)

    def _raise_error(self, *_: Any) -> None:
        self.spared -= 1
        if self.spared < 0 < self.left:
            self.left -= 1
            raise self.error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()
