"""The prompts of a GGUF have transformers' ids, with the vocabulary and template of every architecture."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
from hermes_cli.engines.llama_cpp.vocabulary import vocabulary_engine
from hermes_cli.engines.tokenizer_json import read_vocabulary
from hermes_cli.models.gguf.model import read_header
from hermes_cli.prompts.prompt_format import PromptFormat
from tests.architectures import ARCHITECTURES, write_folder, write_gguf
from tests.prompts.template_checks import compare, count_forged

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

INEXACT = 1
"""The dialogues of gpt-oss in which a combining mark precedes a punctuation mark and a word.

llama.cpp's regular expression for the pre-tokenizer `gpt-4o` has no combining marks.
"""


@pytest.fixture(scope="module", params=ARCHITECTURES)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, LlamaCppEngine]]:
    """The folder of a model, and llama.cpp with the vocabulary of its GGUF."""
    folder = write_folder(tmp_path_factory.mktemp("folder"), request.param)
    path = write_gguf(folder, tmp_path_factory.mktemp("gguf") / "model.gguf", request.param)
    with vocabulary_engine(read_header(path)) as engine:
        yield folder, engine


def control_of(folder: Path) -> dict[str, int]:
    """Return the added tokens of a tokenizer.json, all of which are control tokens."""
    added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    return {token["content"]: token["id"] for token in added}


def formats(case: tuple[Path, LlamaCppEngine]) -> list[PromptFormat]:
    """Return the formats of the folder and of the GGUF."""
    folder, engine = case
    return [read_vocabulary(folder).format, engine._format]


def test_ordinary_dialogues_have_the_ids_of_transformers(case: tuple[Path, LlamaCppEngine]) -> None:
    """30 dialogues of each architecture in both forms."""
    from transformers import AutoTokenizer

    kind: Any = AutoTokenizer
    reference = kind.from_pretrained(case[0])
    in_folder, in_gguf = (compare(one, reference, control_of(case[0]), 30, seed=61) for one in formats(case))
    assert in_folder == (0, 30)
    known = INEXACT if case[1].name == "tiny gpt-oss" else 0
    assert in_gguf in {(0, 30), (known, 30)}


def test_hostile_dialogues_forge_no_token(case: tuple[Path, LlamaCppEngine]) -> None:
    """30 dialogues of each architecture in both forms."""
    assert [count_forged(one, control_of(case[0]), 30, seed=62) for one in formats(case)] == [0, 0]
