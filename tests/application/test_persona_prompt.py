"""`hermes personas prompt`: the prompts of hermes and those that SillyTavern sends for the same card.

The expected prompts were written by hand: those of SillyTavern from a reading of its public source (the order
in which it assembles a text completion, its presets for ChatML, its default settings for world info), those
of hermes from its documentation. `docs/sillytavern.md` lists the differences.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.config import Paths
from tests.run_hermes import Result, hermes

Env = Mapping[str, str]

KEEPER = {
    "name": "Mira",
    "system_prompt": "Play {{char}}.",
    "description": "{{char}} keeps the lighthouse.",
    "personality": "patient",
    "scenario": "{{user}} comes in from a storm.",
    "first_mes": 'The lamp turns. "Sit down, {{user}}."',
    "mes_example": "<START>\n{{user}}: Is it lonely?\n{{char}}: Only in fog.\n"
    "<START>\n{{user}}: How high is it?\n{{char}}: Forty metres.\nI counted.",
}
KEEPER_LIKE_SILLYTAVERN = """\
<|im_start|>system
Play Mira.
Mira keeps the lighthouse.
Mira's personality: patient
Scenario: Winry comes in from a storm.
Winry is a mechanic.<|im_end|>
<|im_start|>user
Winry: Is it lonely?<|im_end|>
<|im_start|>assistant
Only in fog.<|im_end|>
<|im_start|>user
Winry: How high is it?<|im_end|>
<|im_start|>assistant
Forty metres.
I counted.<|im_end|>
<|im_start|>assistant
The lamp turns. "Sit down, Winry."<|im_end|>
<|im_start|>user
Hello.<|im_end|>
<|im_start|>assistant
"""
KEEPER_BY_HERMES = """\
<|im_start|>system
Play Mira.

Mira keeps the lighthouse.

Personality: patient

Scenario: Winry comes in from a storm.

About Winry: Winry is a mechanic.<|im_end|>
<|im_start|>user
Is it lonely?<|im_end|>
<|im_start|>assistant
Only in fog.<|im_end|>
<|im_start|>user
How high is it?<|im_end|>
<|im_start|>assistant
Forty metres.
I counted.<|im_end|>
<|im_start|>assistant
The lamp turns. "Sit down, Winry."<|im_end|>
<|im_start|>user
Hello.<|im_end|>
<|im_start|>assistant
"""


def entry(content: str, *keys: str, **more: Any) -> dict[str, Any]:
    """Return an entry of a card's book."""
    extensions = {name: more.pop(name) for name in ("position", "depth", "role") if name in more}
    return {
        "keys": keys,
        "content": content,
        "enabled": True,
        "insertion_order": 100,
        "extensions": {"position": 1, **extensions},
        **more,
    }


CAPTAIN = {
    "name": "Vane",
    "system_prompt": "Play {{char}}.",
    "description": "{{char}} commands a ship.",
    "first_mes": "Ahoy.",
    "character_book": {
        "entries": [
            entry("The year is 1720.", constant=True, position=0),
            entry("The Gull lies at anchor in Nassau.", "gull"),
            entry("Nassau is a free port.", "nassau", insertion_order=50),
            entry("Soldiers watch the port.", "free port", position=4, depth=1, role=0),
            entry("A storm is coming.", "storm", position=0, insertion_order=5),
        ]
    },
}
CAPTAIN_LIKE_SILLYTAVERN = """\
# Turn 1

<|im_start|>system
Play Vane.
The year is 1720.
Vane commands a ship.
Nassau is a free port.
The Gull lies at anchor in Nassau.<|im_end|>
<|im_start|>assistant
Ahoy.<|im_end|>
<|im_start|>system
Soldiers watch the port.<|im_end|>
<|im_start|>user
Is the Gull yours?<|im_end|>
<|im_start|>assistant

# Turn 2

<|im_start|>system
Play Vane.
A storm is coming.
The year is 1720.
Vane commands a ship.<|im_end|>
<|im_start|>assistant
Ahoy.<|im_end|>
<|im_start|>user
Is the Gull yours?<|im_end|>
<|im_start|>assistant
(the first answer)<|im_end|>
<|im_start|>user
And in a storm?<|im_end|>
<|im_start|>assistant
"""
CAPTAIN_BY_HERMES = """\
# Turn 1

<|im_start|>system
Play Vane.

The year is 1720.

Vane commands a ship.<|im_end|>
<|im_start|>assistant
Ahoy.<|im_end|>
<|im_start|>system
Nassau is a free port.<|im_end|>
<|im_start|>system
The Gull lies at anchor in Nassau.<|im_end|>
<|im_start|>system
Soldiers watch the port.<|im_end|>
<|im_start|>user
Is the Gull yours?<|im_end|>
<|im_start|>assistant

# Turn 2

<|im_start|>system
Play Vane.

The year is 1720.

Vane commands a ship.<|im_end|>
<|im_start|>assistant
Ahoy.<|im_end|>
<|im_start|>system
Nassau is a free port.<|im_end|>
<|im_start|>system
The Gull lies at anchor in Nassau.<|im_end|>
<|im_start|>system
Soldiers watch the port.<|im_end|>
<|im_start|>user
Is the Gull yours?<|im_end|>
<|im_start|>assistant
(the first answer)<|im_end|>
<|im_start|>system
A storm is coming.<|im_end|>
<|im_start|>user
And in a storm?<|im_end|>
<|im_start|>assistant
"""

ORACLE = {
    "name": "Pythia",
    "system_prompt": "Be {{char}}.",
    "description": "{{char}} sees.",
    "first_mes": "You came.",
    "post_history_instructions": "{{original}}Answer in riddles.",
    "extensions": {"depth_prompt": {"prompt": "The veil is thin.", "depth": 2, "role": "system"}},
    "character_book": {
        "entries": [
            entry("The first fact.", constant=True),
            entry("The second fact.", constant=True),
            entry("Candles burn.", constant=True, position=4, depth=2, role=0),
        ]
    },
}
ORACLE_LIKE_SILLYTAVERN = """\
<|im_start|>system
Be Pythia.
Pythia sees.
The second fact.
The first fact.
Winry is a mechanic.<|im_end|>
<|im_start|>system
The veil is thin.
Candles burn.<|im_end|>
<|im_start|>assistant
You came.<|im_end|>
<|im_start|>user
Hello.<|im_end|>
<|im_start|>user
Answer in riddles.<|im_end|>
<|im_start|>assistant
"""
ORACLE_BY_HERMES = """\
<|im_start|>system
Be Pythia.

Pythia sees.

About Winry: Winry is a mechanic.

The first fact.

The second fact.<|im_end|>
<|im_start|>system
Candles burn.<|im_end|>
<|im_start|>system
The veil is thin.<|im_end|>
<|im_start|>assistant
You came.<|im_end|>
<|im_start|>user
Hello.<|im_end|>
<|im_start|>system
Answer in riddles.<|im_end|>
<|im_start|>assistant
"""


@pytest.fixture
def winry(home: Env) -> Env:
    """A home whose user has a name and a description."""
    path = Paths.from_environment(home).config_file
    path.parent.mkdir(parents=True)
    path.write_text('[user]\nname = "Winry"\ndescription = "{{user}} is a mechanic."\n')
    return home


def card(folder: Path, data: Mapping[str, Any]) -> str:
    """Write a character card, and return its path."""
    path = folder / "card.json"
    path.write_text(json.dumps({"spec": "chara_card_v2", "spec_version": "2.0", "data": data}))
    return str(path)


def prompts(env: Env, *arguments: str) -> str:
    """Return what `personas prompt` prints."""
    result: Result = hermes("personas", "prompt", *arguments, env=env)
    assert (result.code, result.stderr) == (0, "")
    return result.stdout.decode()


def first(env: Env, *arguments: str) -> str:
    """Return the prompt of the first turn, after the message "Hello."."""
    heading, prompt = prompts(env, *arguments, "Hello.").split("\n\n# Turn 2\n")[0].split("\n\n", 1)
    assert heading == "# Turn 1"
    return f"{prompt}\n"


@pytest.mark.parametrize(
    ("data", "expected", "like_sillytavern"),
    [
        (KEEPER, KEEPER_BY_HERMES, KEEPER_LIKE_SILLYTAVERN),
        (ORACLE, ORACLE_BY_HERMES, ORACLE_LIKE_SILLYTAVERN),
    ],
    ids=["keeper", "oracle"],
)
def test_the_first_prompt_of_a_card(
    data: Mapping[str, Any], expected: str, like_sillytavern: str, winry: Env, tmp_path: Path
) -> None:
    """Every line is the expected one, in both programs."""
    path = card(tmp_path, data)
    assert first(winry, path) == expected
    assert first(winry, path, "--like", "sillytavern") == like_sillytavern


def test_the_two_prompts_of_a_card_with_lore(home: Env, tmp_path: Path) -> None:
    """In SillyTavern, lore of an earlier turn leaves the prompt; in hermes it stays where it was inserted."""
    arguments = (card(tmp_path, CAPTAIN), "Is the Gull yours?", "And in a storm?")
    assert prompts(home, *arguments) == CAPTAIN_BY_HERMES
    assert prompts(home, *arguments, "--like", "sillytavern") == CAPTAIN_LIKE_SILLYTAVERN


def test_a_prompt_like_that_of_an_unknown_program(home: Env) -> None:
    """The known programs are named."""
    result = hermes("personas", "prompt", "edward-elric", "--like", "kobold", env=home)
    assert (result.code, result.stdout) == (2, b"")
    assert "--like takes hermes or sillytavern, not 'kobold'" in result.stderr


def test_more_than_two_messages_are_refused(home: Env) -> None:
    """A message without quotes is not cut silently."""
    result = hermes("personas", "prompt", "edward-elric", "Who", "are", "you?", env=home)
    assert (result.code, result.stdout) == (2, b"")
    assert "put each message in quotes" in result.stderr


def test_what_does_not_fit_is_reported(home: Env) -> None:
    """The token counts are estimates, so the remark says so."""
    result = hermes("personas", "prompt", "edward-elric", "--context", "512", env=home)
    assert "examples: " in result.stderr
    assert "left out, with estimated token counts" in result.stderr
