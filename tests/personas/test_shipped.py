"""The shipped personas: the prompts of the model card word for word, and no findings for any."""

import itertools
from pathlib import Path

import pytest

from hermes_cli.chat.lore import LoreMatcher
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


def opening(key: str) -> Opening:
    """Return the opening of a chat with a shipped persona."""
    persona = shipped(key)
    return open_with(persona, Macros(persona.called, "Winry"))


def lore_of(key: str) -> tuple[Lorebook, LoreMatcher]:
    """Return a shipped persona's own book, and its lore for a chat."""
    persona = shipped(key)
    assert persona.lorebook is not None
    return persona.lorebook, LoreMatcher([persona.lorebook], Macros(persona.called, "Winry"))


def test_the_cards_prompts_are_the_cards_word_for_word() -> None:
    """The two prompts from the model card are the same word for word."""
    assert opening("hermes-2").system == CARD_HERMES
    assert opening("edward-elric").system == CARD_ELRIC


def test_all_are_there_and_whole() -> None:
    """Every shipped persona is listed without an error and with a description."""
    listed = list_all(NOWHERE, shipped_dir())
    assert [x.key for x in listed] == KEYS
    for listing in listed:
        assert listing.error is None
        assert listing.persona is not None
        assert listing.persona.description
        assert listing.shipped


@pytest.mark.parametrize("key", KEYS)
def test_no_placeholder_is_left(key: str) -> None:
    """The opening has no macros, no empty texts and no surrounding blanks."""
    begun = opening(key)
    texts = [begun.system or "", *begun.greetings, *(message.text for message in begun.examples)]
    assert all(texts)
    assert not any(mark in text for text in texts for mark in ("{{", "}}", "<BOT>", "<USER>"))
    assert all(text == text.strip() for text in texts)


@pytest.mark.parametrize("key", KEYS)
def test_examples_go_in_turns(key: str) -> None:
    """The examples alternate between the user and the assistant."""
    roles = [message.role for message in opening(key).examples]
    assert roles == [Role.USER, Role.ASSISTANT] * (len(roles) // 2)


@pytest.mark.parametrize("key", KEYS)
def test_there_is_nothing_to_find_fault_with(key: str) -> None:
    """A shipped persona has no findings, in windows of 8,192 and 4,096 tokens."""
    persona = shipped(key)
    worlds = Worlds((persona.lorebook,) if persona.lorebook else ())
    for window in (WINDOW, WINDOW // 2):
        scale = Scale(window, window // 4, estimate, lambda _key: "")
        assert findings(persona, opening(key), worlds, scale) == []


@pytest.mark.parametrize("key", ["edward-elric", "story-narrator"])
def test_characters_have_three_beginnings(key: str) -> None:
    """A character has three greetings with paired quotes and asterisks."""
    begun = opening(key)
    assert len(begun.greetings) == 3
    assert all(text.count('"') % 2 == 0 and text.count("*") % 2 == 0 for text in begun.greetings)


def test_edwards_texts_tell_deeds_from_speech() -> None:
    """Each greeting of Edward has both actions and speech, and the first has his name."""
    begun = opening("edward-elric")
    assert shipped("edward-elric").acts
    assert all('"' in text and "*" in text for text in begun.greetings)
    assert "Edward Elric" in begun.greetings[0]


@pytest.mark.parametrize(
    ("said", "title"),
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
def test_every_entry_fires_at_its_word(said: str, title: str) -> None:
    """An entry fires at a word of its subject, together with at most three others."""
    book, lore = lore_of("edward-elric")
    fired = lore.fires([Message(Role.USER, said)], {})
    assert title in {book.entries[number].title for number in fired}
    assert len(fired) <= 4


def test_ordinary_talk_costs_nothing() -> None:
    """The greetings and words that only resemble keys fire no entry."""
    _, lore = lore_of("edward-elric")
    said = (
        "Tell me the truth: also, the illustrated cluster collapsed. A scar on the garden gate, and no envy."
    )
    for greeting in opening("edward-elric").greetings:
        assert lore.fires([Message(Role.ASSISTANT, greeting), Message(Role.USER, said)], {}) == {}


def test_no_two_entries_are_called_the_same() -> None:
    """No two entries have the same title, and the book has no findings."""
    book, lore = lore_of("edward-elric")
    titles = [entry.title for entry in book.entries]
    assert all(one != other for one, other in itertools.combinations(titles, 2))
    scale = Scale(WINDOW, WINDOW // 4, estimate, lambda key: lore.disabled_keys.get(key, ""))
    assert book_findings(book, [book], scale) == []
