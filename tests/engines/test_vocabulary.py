"""Tests of a model's vocabulary without its weights."""

from pathlib import Path

import pytest

from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
from hermes_cli.engines.llama_cpp.settings import LlamaSettings
from hermes_cli.engines.llama_cpp.vocabulary import vocabulary_engine, write_vocabulary
from hermes_cli.messages import Message, Role
from hermes_cli.models.gguf.model import read_header
from tests.dialogues import hostile, ordinary
from tests.gguf_models import write_openhermes_gguf


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece"])
def test_the_vocabulary_engine_gives_the_prompt_tokens_of_the_model(
    kind: str, starter_path: Path, tmp_path: Path
) -> None:
    """The vocabulary engine gives the same prompt tokens as the model."""
    path = starter_path if kind == "byte-level" else write_openhermes_gguf(tmp_path / "tiny.gguf")
    header = read_header(path)
    dialogues = [*ordinary(30, seed=5), *hostile(30, seed=6), [Message(Role.USER, "ü\r\n\n  😀\t")]]
    model = LlamaCppEngine(header, LlamaSettings(str(path), context_size=256, threads=2), name="model")
    try:
        expected = [model.prompt_tokens(messages) for messages in dialogues]
    finally:
        model.close()
    with vocabulary_engine(header) as engine:
        assert [engine.prompt_tokens(messages) for messages in dialogues] == expected


def test_a_vocabulary_file_has_no_weights(starter_path: Path, tmp_path: Path) -> None:
    """A vocabulary file has less than a tenth of the model's size and the same fingerprint."""
    write_vocabulary(read_header(starter_path), tmp_path / "v.gguf")
    assert (tmp_path / "v.gguf").stat().st_size < starter_path.stat().st_size / 10
    assert read_header(tmp_path / "v.gguf").fingerprint == read_header(starter_path).fingerprint
