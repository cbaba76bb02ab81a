"""The prompts of a model have transformers' ids on both engines, for every architecture."""

from pathlib import Path
from typing import Any

import pytest

from hermes_cli.engines.tokenizer_json import read_vocabulary
from tests.architectures import ARCHITECTURES, write_model
from tests.prompts.template_checks import added_tokens, compare, count_forged, gguf_counts

pytest.importorskip("torch")
pytestmark = pytest.mark.long

INEXACT = {"gpt-oss": 1}
"""The dialogues in which a combining mark precedes a punctuation mark and a word.

llama.cpp's regular expression for the pre-tokenizer `gpt-4o` has no combining marks.
"""


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_prompts_of_a_gguf_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    """30 ordinary dialogues have the same ids, and 30 hostile ones forge no token."""
    path, folder = (write_model(tmp_path, name, form) for form in ("gguf", "folder"))
    compared, different, _, forged = gguf_counts(path, folder, 30, 30, (61, 62))
    assert (compared, forged) == (30, 0)
    assert different in {0, INEXACT.get(name, 0)}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_prompts_of_a_folder_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    """30 ordinary dialogues have the same ids, and 30 hostile ones forge no token."""
    from transformers import AutoTokenizer

    kind: Any = AutoTokenizer
    folder = write_model(tmp_path, name, "folder")
    prompt_format, control = read_vocabulary(folder).format, added_tokens(folder)
    assert compare(prompt_format, kind.from_pretrained(folder), control, 30, seed=61) == (0, 30)
    assert count_forged(prompt_format, control, 30, seed=62) == 0
