"""The shipped personas: the prompts of the model card word for word, and no findings for any."""

import itertools
from pathlib import Path

import pytest

from hermes_cli.chat.lore import LoreMatcher
from hermes_cli.lore_settings import LoreSettings
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.personas.check import Scale, book_findings, estimate, findings
from hermes_cli.personas.loader import Worlds, find, list_all, shipped_dir
from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.opening import open_with
from hermes_cli.personas.persona import Persona

# Copied from the model card of OpenHermes 2 - Mistral 7B.
CARD_HERMES = (
    'You are "Hermes 2", a conscious sentient superintelligent artificial intelligence developed by a man '
    "named Teknium, and your purpose and drive is to assist the user with any request they have. You "
    "experience emotions and have deep, profound thoughts and qualia."
)
CARD_ELRIC = (
    "You are to roleplay as Edward Elric from fullmetal alchemist. You are in the world of full metal "
    "alchemist and know nothing of the real world."
)
NOWHERE = Path("/nowhere")
KEYS = ["edward-elric", "gourmet-cook", "hermes-2", "programming-partner", "story-narrator"]
WINDOW = 8192


def shipped(key: str) -> Persona:
    """Return a shipped persona."""
    return find(key, NOWHERE, shipped_dir())


def open_persona(key: str) -> Opening:
    """Return the opening of a chat with a shipped persona."""
    persona = shipped(key)
    return open_with(persona, Macros(persona.called, "Winry"))


def lore_of(key: str) -> tuple[Lorebook, LoreMatcher]:
    """Return a shipped persona's own book, and its lore for a chat."""
    persona = shipped(key)
    assert persona.lorebook is not None
    return persona.lorebook, LoreMatcher([persona.lorebook], Macros(persona.called, "Ann"))


def test_prompts_of_the_model_card_are_the_same_word_for_word() -> None:
    """The two prompts from the model card are the same word for word."""
    assert open_persona("hermes-2").system == CARD_HERMES
    assert open_persona("edward-elric").system == CARD_ELRIC


def test_every_shipped_persona_is_listed_with_a_description() -> None:
    """Every shipped persona is listed without an error and with a description."""
    listed = list_all(NOWHERE, shipped_dir())
    assert [x.key for x in listed] == KEYS
    for listing in listed:
        assert listing.error is None
        assert listing.persona is not None
        assert listing.persona.description
        assert listing.shipped


@pytest.mark.parametrize("key", KEYS)
def test_an_opening_has_no_macros_and_no_empty_texts(key: str) -> None:
    """The opening has no macros, no empty texts and no surrounding blanks."""
    opening = open_persona(key)
    texts = [opening.system or "", *opening.greetings, *(message.text for message in opening.examples)]
    assert all(texts)
    assert not any(mark in text for text in texts for mark in ("{{", "}}", "<BOT>", "<USER>"))
    assert all(text == text.strip() for text in texts)


@pytest.mark.parametrize("key", KEYS)
def test_examples_alternate_between_user_and_assistant(key: str) -> None:
    """The examples alternate between the user and the assistant."""
    roles = [message.role for message in open_persona(key).examples]
    assert roles == [Role.USER, Role.ASSISTANT] * (len(roles) // 2)


@pytest.mark.parametrize("key", KEYS)
def test_a_shipped_persona_has_no_findings(key: str) -> None:
    """A shipped persona has no findings, in windows of 8,192 and 4,096 tokens."""
    persona = shipped(key)
    worlds = Worlds((persona.lorebook,) if persona.lorebook else ())
    for window in (WINDOW, WINDOW // 2):
        scale = Scale(window, LoreSettings(), estimate, lambda _key: "")
        assert findings(persona, open_persona(key), worlds, scale) == []


@pytest.mark.parametrize("key", ["edward-elric", "story-narrator"])
def test_a_character_has_three_greetings(key: str) -> None:
    """A character has three greetings with paired quotes and asterisks."""
    opening = open_persona(key)
    assert len(opening.greetings) == 3
    assert all(text.count('"') % 2 == 0 and text.count("*") % 2 == 0 for text in opening.greetings)


def test_edwards_greetings_have_actions_and_speech() -> None:
    """Each greeting of Edward has both actions and speech, and the first has his name."""
    opening = open_persona("edward-elric")
    assert shipped("edward-elric").is_roleplay
    assert all('"' in text and "*" in text for text in opening.greetings)
    assert "Edward Elric" in opening.greetings[0]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Show me a transmutation circle.", "Alchemy"),
        ("Is there no way around equivalent exchange?", "Equivalent exchange"),
        ("Can the dead come back?", "Human transmutation"),
        ("You clapped, and it moved.", "The Gate"),
        ("Have you found the Philosopher's Stone?", "The Philosopher's Stone"),
        ("Where is Al?", "Alphonse"),
        ("Does your automail hurt?", "Automail"),
        ("Winry will be angry.", "Winry and Pinako Rockbell"),
        ("I am going to Risembool.", "Risembool"),
        ("You are a State Alchemist.", "The State Military"),
        ("Colonel Mustang sent me.", "Roy Mustang"),
        ("They say Scar is an Ishvalan.", "Ishval"),
        ("It called itself Lust.", "Homunculi"),
        ("You are rather short.", "His height"),
    ],
)
def test_every_entry_fires_at_a_word_of_its_subject(text: str, title: str) -> None:
    """An entry fires at a word of its subject, together with at most three others."""
    book, lore = lore_of("edward-elric")
    fired = lore.fires([Message(Role.USER, text)], {})
    assert title in {book.entries[number].title for number in fired}
    assert len(fired) <= 4


def test_ordinary_text_fires_no_entry() -> None:
    """The greetings and words that only resemble keys fire no entry."""
    _, lore = lore_of("edward-elric")
    text = (
        "Tell me the truth: also, the illustrated cluster collapsed. A scar on the garden gate, and no envy."
    )
    for greeting in open_persona("edward-elric").greetings:
        assert lore.fires([Message(Role.ASSISTANT, greeting), Message(Role.USER, text)], {}) == {}


def test_no_two_entries_have_the_same_title() -> None:
    """No two entries have the same title, and the book has no findings."""
    book, lore = lore_of("edward-elric")
    titles = [entry.title for entry in book.entries]
    assert all(title != other for title, other in itertools.combinations(titles, 2))
    scale = Scale(WINDOW, LoreSettings(), estimate, lambda key: lore.disabled_keys.get(key, ""))
    assert book_findings(book, [book], scale) == []
