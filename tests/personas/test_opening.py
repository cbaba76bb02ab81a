"""The opening of a chat with a character: the system prompt, the examples and the greetings."""

from pathlib import Path

import pytest

from hermes_cli.messages import Message, Role
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.opening import macros_of, open_with
from hermes_cli.personas.persona import Example, Note, Persona
from hermes_cli.untrusted.deadline import Deadline

SERAPHINA = Persona(
    name="Seraphina",
    system="",
    source=Path("seraphina.toml"),
    nickname="Sera",
    character="{{char}} guards the glade.",
    personality="kind",
    scenario="{{user}} wakes up.",
    greetings=("*{{char}} smiles.*", "Good morning, {{user}}."),
)
MACROS = Macros(SERAPHINA.called, "Ann")
USER, ASSISTANT = Role.USER, Role.ASSISTANT


def example_turns(dialogue: str) -> list[tuple[str, str]]:
    """Return the turns of an example dialogue as pairs of role and text."""
    opening = open_with(SERAPHINA._replace(dialogue=dialogue), MACROS)
    return [(message.role.value, message.text) for message in opening.examples]


def test_a_card_without_a_system_prompt_gets_the_default_one() -> None:
    """A card without a system prompt gets the default one, followed by its fields."""
    opening = open_with(SERAPHINA, MACROS, "A knight.")
    prompt, *rest = (opening.system or "").split("\n\n")
    assert prompt.startswith("You are Sera. Write Sera's next reply in this conversation with Ann.")
    assert rest == [
        "Sera guards the glade.",
        "Personality: kind",
        "Scenario: Ann wakes up.",
        "About Ann: A knight.",
    ]
    assert opening.greetings == ("*Sera smiles.*", "Good morning, Ann.")


def test_a_cards_prompt_replaces_or_includes_the_default_one() -> None:
    """A card's prompt replaces the default one, or includes it with `{{original}}`."""
    replaced = open_with(SERAPHINA._replace(system="Rhyme."), MACROS)
    included = open_with(SERAPHINA._replace(system="{{original}} Rhyme."), MACROS)
    assert (replaced.system or "").startswith("Rhyme.\n\nSera guards")
    assert (included.system or "").startswith("You are Sera.")
    assert " Rhyme.\n\nSera guards" in (included.system or "")


def test_an_assistant_gets_its_own_prompt_alone() -> None:
    """An assistant gets its own prompt alone, and a text file's prompt is unchanged."""
    helper = Persona("Helper", "Help {{user}}.", Path("x.toml"))
    assert open_with(helper, MACROS, "A knight.").before == (Message(Role.SYSTEM, "Help Ann."),)
    plain = Persona("Plain", "As {{it}} <user> stands", Path("x.txt"), verbatim=True)
    assert open_with(plain, MACROS).system == "As {{it}} <user> stands"


def test_creators_notes_and_description_are_not_in_the_prompt() -> None:
    """The creator's notes and the description are not in the prompt."""
    noted = SERAPHINA._replace(creator_notes="Best at temperature 1", description="A guardian")
    assert open_with(noted, MACROS) == open_with(SERAPHINA, MACROS)


@pytest.mark.parametrize(
    ("dialogue", "turns"),
    [
        (
            "<START>\n{{user}}: Who?\n{{char}}: Me.\nIndeed.\n<start>\n{{char}}: *waves*",
            [("user", "Who?"), ("assistant", "Me.\nIndeed."), ("assistant", "*waves*")],
        ),
        ("<USER>: a\n<BOT>: b", [("user", "a"), ("assistant", "b")]),
        ("Ann: a\nSeraphina: b\nSera: c", [("user", "a"), ("assistant", "b\nc")]),
        ("Just how she speaks.", [("assistant", "Just how she speaks.")]),
        ("Night.\n{{char}}: b, {{user}}", [("assistant", "Night.\nb, Ann")]),
        ("<START>\n<START>\n", []),
        ("{{char}}: a: b\nelse: c", [("assistant", "a: b\nelse: c")]),
    ],
)
def test_example_dialogue_becomes_turns(dialogue: str, turns: list[tuple[str, str]]) -> None:
    """An example dialogue is split into turns of the user and the character."""
    assert example_turns(dialogue) == turns


def test_example_pairs_follow_the_example_dialogue() -> None:
    """The example pairs follow the example dialogue."""
    both = SERAPHINA._replace(dialogue="{{char}}: a", examples=(Example("q {{char}}", "w {{user}}"),))
    assert open_with(both, MACROS).examples == (
        Message(ASSISTANT, "a"),
        Message(USER, "q Sera"),
        Message(ASSISTANT, "w Ann"),
    )


def test_greetings_are_limited() -> None:
    """Of 240,000 greetings, 1,000 are kept, and the report says so."""
    deadline = Deadline()
    opening = open_with(SERAPHINA._replace(greetings=("x",) * 240_000), MACROS, deadline=deadline)
    assert len(opening.greetings) == 1000
    assert deadline.report == "greetings: left out 239,000 of 240,000"


def test_the_texts_of_a_persona_are_macros() -> None:
    """Each text is a macro, with its own macros expanded; a verbatim persona has none."""
    persona = Persona(
        *("Ed", "", Path("ed.toml")),
        character="{{char}} is short.",
        personality="loud",
        scenario="with {{user}}",
        dialogue="{{char}}: Hm.",
        note=Note("tired"),
        creator_notes="mine",
    )
    text = "{{persona}}|{{description}}|{{personality}}|{{scenario}}|{{mesExamples}}"
    macros = macros_of(persona, "Ann", about_user="{{user}} is tall.")
    assert macros.fill(text) == "Ann is tall.|Ed is short.|loud|with Ann|Ed: Hm."
    assert macros.fill("{{charDepthPrompt}}, {{creatorNotes}}") == "tired, mine"
    verbatim = macros_of(persona._replace(verbatim=True), "Ann")
    assert verbatim.fill(text) == text
