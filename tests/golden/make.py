"""Writes the golden ChatML ids beside this file: `python -m tests.golden.make STARTER.gguf`.

The ids come from transformers; no code of hermes computes them. Each file names the sha256 of the vocabulary
that its ids belong to.
"""

import json
import sys
from pathlib import Path

from hermes_cli.messages import Message, Role
from tests.dialogues import ordinary
from tests.vocab import Reference, fingerprint, mistral_tokenizer_json, starter_tokenizer_json

BY_HAND = [
    [Message(Role.SYSTEM, "You are a helpful assistant.")],
    [Message(Role.USER, "Hello!")],
    [Message(Role.USER, "")],
    [Message(Role.USER, "Name three colours."), Message(Role.ASSISTANT, "Red, ")],
    [
        Message(Role.SYSTEM, "Be brief."),
        Message(Role.USER, " a\n"),
        Message(Role.ASSISTANT, "b "),
        Message(Role.USER, "c"),
    ],
]


def golden(tokenizer_json: str) -> dict[str, object]:
    """Return the content of the golden file of a vocabulary."""
    reference = Reference(tokenizer_json)
    dialogues = BY_HAND + list(ordinary(20, seed=1))
    return {
        "vocabulary_sha256": fingerprint(tokenizer_json),
        "dialogues": [
            {"messages": [[m.role, m.text] for m in messages], "ids": reference.ids(messages)}
            for messages in dialogues
        ],
    }


def main() -> None:
    """Write both files."""
    texts = {"mistral": mistral_tokenizer_json(), "starter": starter_tokenizer_json(Path(sys.argv[1]))}
    for name, text in texts.items():
        path = Path(__file__).with_name(f"{name}.json")
        path.write_text(json.dumps(golden(text), ensure_ascii=True, indent=None) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
