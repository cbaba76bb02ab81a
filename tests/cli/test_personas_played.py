"""A character card of another program: imported, played for ten turns by the starter, and exported again."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import tavern_card

Env = Mapping[str, str]
GREETING = "*{{char}} smiles at {{user}}.* You are safe here."
CARD = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Seraphina",
        "description": "{{char}} guards the glade of Eldoria.",
        "personality": "kind",
        "scenario": "{{user}} wakes up in the glade.",
        "first_mes": GREETING,
        "mes_example": "<START>\n{{user}}: Who are you?\n{{char}}: I guard this glade.",
        "creator_notes": "Never to be said.",
        "system_prompt": "{{original}} Keep it short.",
        "post_history_instructions": "Stay kind.",
        "alternate_greetings": ["Good morning, {{user}}.", "Again?"],
        "character_book": {
            "name": "Eldoria",
            "entries": [
                {
                    "keys": ["forest"],
                    "content": "The forest is called Eldoria.",
                    "extensions": {"theirs": {"kept": [1, None, 2.5]}},
                    "enabled": True,
                    "insertion_order": 10,
                }
            ],
            "extensions": {},
        },
        "tags": ["fantasy"],
        "creator": "somebody",
        "character_version": "1.0",
        "extensions": {"theirs": {"also": "kept"}},
    },
}


def hermes(*arguments: str, env: Env, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as a shell does."""
    command = [sys.executable, "-m", "hermes_cli", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, env={**os.environ, **env}, check=False
    )


@pytest.mark.long
def test_an_imported_card_is_played_and_exported_without_loss(starter_home: Env, tmp_path: Path) -> None:
    """The prompt has the card's greeting, lore and notes, and its export equals the original."""
    card, exported_card = tmp_path / "seraphina.png", tmp_path / "back.png"
    parsed = tavern_card.parse_card(CARD)
    card.write_bytes(tavern_card.write_png_card(parsed))
    assert hermes("personas", "import", str(card), env=starter_home).returncode == 0
    turns = [f"Turn {n}: tell me of the {'forest' if n == 4 else 'glade'}." for n in range(1, 11)]
    flags = ("-p", "seraphina", "--user", "Ann", "--max-tokens", "24", "--seed", "1")
    lines = "".join(f"{line}\n" for line in ["/swipe 2", *turns, "/lore", "/context", "/show prompt"])
    played = hermes("chat", *flags, env=starter_home, stdin=lines)
    assert played.returncode == 0, played.stderr
    prompt = played.stderr[played.stderr.index("<|im_start|>system") :]
    assert "Keep it short.\n\nSeraphina guards the glade of Eldoria." in prompt
    assert "assistant\nGood morning, Ann.<|im_end|>" in prompt
    assert prompt.count("<|im_start|>user\nTurn") == 10
    assert "system\nThe forest is called Eldoria.<|im_end|>\n<|im_start|>user\nTurn 4" in prompt
    assert prompt.index("Stay kind.") > prompt.index("Turn 10")
    assert "Never to be said" not in played.stderr
    assert "forest  by forest  since your turn 4" in played.stderr
    asked = hermes("ask", "-p", str(card), "--max-tokens", "8", "Hello?", env=starter_home)
    assert asked.returncode == 0
    exported = hermes(
        "personas", "export", "seraphina", "--format", "png", "-o", str(exported_card), env=starter_home
    )
    assert exported.returncode == 0, exported.stderr
    assert tavern_card.parse_png_card(exported_card.read_bytes()) == parsed
