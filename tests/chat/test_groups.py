"""Conversations with several characters."""

from dataclasses import replace
from pathlib import Path

import pytest

from hermes_cli.chat import saved_conversations
from hermes_cli.chat.members import Member, together
from hermes_cli.chat.prompt_settings import Names, Overflow, PromptSettings
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, FinishReason
from hermes_cli.engines.scripted import ScriptedEngine, ScriptedTurn
from hermes_cli.errors import ContextOverflow, UsageError
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.persona import Note, Persona
from hermes_cli.tree import MessageState
from tests.chat.asked import AskedEngine
from tests.database import OpenStore


def member(name: str, *greetings: str, **settings: object) -> Member:
    """Return a character with a system prompt that names it."""
    persona = Persona(name, "", Path(f"{name.lower()}.toml"))
    prompt_settings = PromptSettings(Macros(name, "Winry"), **settings)  # type: ignore[arg-type]
    return Member(persona, Opening(f"You are {name}.", greetings=greetings), prompt_settings)


def group(*answers: str | ScriptedTurn, recorder: Recorder | None = None) -> tuple[Session, AskedEngine]:
    """Return a session with Alice and Bob, and its engine."""
    engine = AskedEngine(answers, 4000)
    members = together([member("Alice", "Hi, I am Alice.", "Bread?"), member("Bob", "Hmpf.")])
    return Session(engine, members, LayeredOptions(), recorder), engine


def say(session: Session, text: str) -> str:
    """Send a turn, let everyone answer who is waiting, and return the answers."""
    answers = ["".join(chunk.text for chunk in session.send(text, Cancel()))]
    while session.waiting:
        answers.append("".join(chunk.text for chunk in session.talk(session.waiting[0], Cancel())))
    return "|".join(answers)


def spoken(session: Session) -> list[str]:
    """Return the visible messages with their speakers."""
    return [f"{node.speaker}: {node.text}" for node in session.tree.path]


def test_everyone_greets() -> None:
    """The greetings follow one another; the alternatives of the last one are its swipes."""
    session, _ = group()
    assert spoken(session) == ["Alice: Hi, I am Alice.", "Bob: Hmpf."]
    assert session.tree.is_at_greeting
    assert session.next_speaker == 0


def test_the_prompt_is_that_of_the_speaker_with_names() -> None:
    """Each answer has the system prompt of its character, and begins with its name."""
    session, engine = group(" Flour.", " Salt.")
    assert say(session, "What is missing?") == "Flour."
    assert say(session, "And now?") == "Salt."
    first, second = engine.asked
    assert [message.sent_text for message in first] == [
        "You are Alice.", "Alice: Hi, I am Alice.", "Bob: Hmpf.", "Winry: What is missing?", "Alice:",
    ]  # fmt: skip
    assert [message.sent_text for message in second] == [
        "You are Bob.", "Alice: Hi, I am Alice.", "Bob: Hmpf.", "Winry: What is missing?", "Alice: Flour.",
        "Winry: And now?", "Bob:",
    ]  # fmt: skip
    assert spoken(session)[2:] == [
        "Winry: What is missing?",
        "Alice: Flour.",
        "Winry: And now?",
        "Bob: Salt.",
    ]


def test_everyone_who_is_mentioned_answers_in_that_order() -> None:
    """The second one reads the answer of the first one."""
    session, engine = group("Salt.", "Flour.")
    assert say(session, "Bob and Alice?") == "Salt.|Flour."
    assert [message.sent_text for message in engine.asked[1]][-2:] == ["Bob: Salt.", "Alice:"]
    assert session.next_speaker == 1


def test_the_names_of_the_others_end_an_answer() -> None:
    """So does the user's name, for a character."""
    session, engine = group("Flour.\nBob: Salt.")
    assert say(session, "Alice?") == "Flour."
    assert "\nBob:" in engine.options[0].stop
    assert "\nAlice:" not in engine.options[0].stop


def test_a_stopped_answer_keeps_the_others_from_answering() -> None:
    """Ctrl-C is meant for all of them."""
    session, _ = group("Flour and more.", "Salt.")
    cancel = Cancel()
    answer = session.send("Alice and Bob?", cancel)
    next(answer)
    cancel.set()
    list(answer)
    assert session.waiting == []
    assert session.tree.path[-1].state is MessageState.STOPPED


def test_talk_adds_an_answer_without_a_turn_of_the_user() -> None:
    """It can be undone, regenerated and continued like others."""
    session, engine = group("Salt.", "Flour.", "Water.", " And yeast.")
    say(session, "Bob?")
    list(session.talk(0, Cancel()))
    assert spoken(session)[-2:] == ["Bob: Salt.", "Alice: Flour."]
    list(session.regenerate(Cancel()))
    assert spoken(session)[-2:] == ["Bob: Salt.", "Alice: Water."]
    assert len(session.tree.swipes()) == 2
    assert engine.asked[-1][0].text == "You are Alice."
    list(session.continue_answer(Cancel()))
    assert session.tree.path[-1].text == "Water. And yeast."
    assert engine.asked[-1][-1].sent_text == "Alice: Water."
    session.undo()
    assert session.tree.is_at_greeting


def test_a_single_character_can_talk_again() -> None:
    """Without names, an empty answer is begun after the last one, which is not continued."""
    engine = AskedEngine(["One.", "Two."], 4000)
    session = Session(engine, [member("Alice")], LayeredOptions())
    say(session, "Hi")
    list(session.talk(0, Cancel()))
    assert [(message.role, message.text) for message in engine.asked[1]][-2:] == [
        (Role.ASSISTANT, "One."),
        (Role.ASSISTANT, ""),
    ]
    assert [node.text for node in session.tree.path] == ["Hi", "One.", "Two."]


def test_the_ids_of_an_answer_with_a_name_are_reused_only_with_the_name() -> None:
    """After `names = "never"`, the text is encoded again."""
    session, engine = group(" \n Flour.")
    say(session, "Alice?")
    answer = session.turns[-1]
    assert (answer.text, answer.is_named) == ("Flour.", True)

    def read() -> str:
        """Return the last turn as the model reads it."""
        return "".join(token.text for token in engine.prompt_tokens(session.turns[-1:]))

    assert read() == "<|im_start|>assistant\nAlice: \n Flour."  # the ids, with the spaces that are not shown
    session.change_settings(names=Names.NEVER)
    assert read() == "<|im_start|>assistant\nFlour."


def test_lore_of_a_character_is_only_in_its_prompts() -> None:
    """It fires by what another character has just said."""
    session, engine = group("The oven is hot.", "I see.", "Yes.")
    bob = session.members[1].with_settings(books=(Lorebook((LoreEntry("The oven is Bertha.", ("oven",)),)),))
    session.set_members([session.members[0], bob])
    say(session, "Alice and Bob?")
    texts = [[message.text for message in asked] for asked in engine.asked]
    assert "The oven is Bertha." not in texts[0]
    assert "The oven is Bertha." in texts[1]
    say(session, "Alice?")
    assert "The oven is Bertha." not in [message.text for message in engine.asked[2]]


def test_the_note_and_the_users_name_are_shared() -> None:
    """So are the variables of macros."""
    session, engine = group("Yes.", "No.")
    session.change_settings(note=Note("It rains.", 0))
    say(session, "Alice and Bob?")
    assert all("It rains." in [message.text for message in asked] for asked in engine.asked)
    states = [one.prompt_settings.macros.state for one in session.members]
    assert states[0] is states[1]
    assert [one.prompt_settings.macros.group for one in session.members] == ["Alice, Bob"] * 2


def test_a_group_is_resumed(open_store: OpenStore) -> None:
    """Characters, speakers, openings and ids are those of the saved conversation."""
    store = open_store()
    session, _ = group(" Flour.", " Salt.", recorder=Recorder(store))
    say(session, "Alice and Bob?")
    before = session.assembled(Message(Role.USER, "?")).messages
    store.locks.release()
    other = Session(ScriptedEngine(["x"], 4000), [member("Zoe")], LayeredOptions(), Recorder(store))
    opened = [member("Alice"), member("Bob")]
    saved_conversations.resume(other, store.conversations()[0], opened)
    assert spoken(other) == spoken(session)
    assert [one.opening.system for one in other.members] == ["You are Alice.", "You are Bob."]
    assert other.next_speaker == session.next_speaker == 0
    assert other.assembled(Message(Role.USER, "?")).messages == before


def test_a_resumed_group_has_its_variables(open_store: OpenStore) -> None:
    """All characters share those of `{{setvar}}`."""
    store = open_store()
    session, _ = group(" Flour.", recorder=Recorder(store))
    session.members[0].prompt_settings.macros.state.variables["mood"] = "calm"
    say(session, "Alice?")
    store.locks.release()
    other = Session(ScriptedEngine(["x"], 4000), [member("Zoe")], LayeredOptions(), Recorder(store))
    saved_conversations.resume(other, store.conversations()[0], [member("Alice"), member("Bob")])
    assert [one.prompt_settings.macros.state.variables for one in other.members] == [{"mood": "calm"}] * 2


def test_a_group_is_resumed_without_its_personas(open_store: OpenStore) -> None:
    """The openings are stored."""
    store = open_store()
    session, _ = group(" Flour.", recorder=Recorder(store))
    say(session, "Alice?")
    store.locks.release()
    other = Session(ScriptedEngine(["x"], 4000), [member("Alice")], LayeredOptions(), Recorder(store))
    saved_conversations.resume(other, store.conversations()[0])
    assert [one.name for one in other.members] == ["Alice", "Bob"]
    assert other.members[1].opening.system == "You are Bob."


def test_a_partial_answer_is_saved_with_its_speaker(open_store: OpenStore) -> None:
    """A crash keeps who spoke."""
    store = open_store()
    session, _ = group("Flour and more.", recorder=Recorder(store))
    answer = session.send("Alice?", Cancel())
    next(answer)
    saved = store.tree(store.conversations()[0].id)
    assert (saved[-1].speaker, saved[-1].state) == ("Alice", MessageState.PARTIAL)
    list(answer)


def test_names_can_be_off_or_always_on() -> None:
    """The default is on in groups only."""
    session, engine = group("Flour.", "x")
    session.change_settings(names=Names.NEVER)
    say(session, "Alice?")
    assert [message.sent_text for message in engine.asked[0]][1:] == ["Hi, I am Alice.", "Hmpf.", "Alice?"]
    engine = AskedEngine([" One.", "Two."], 4000)
    alone = Session(engine, [member("Alice", names=Names.ALWAYS)], LayeredOptions())
    assert say(alone, "Hi") == "One."
    say(alone, "Ho")
    assert [message.sent_text for message in engine.asked[1]] == [
        "You are Alice.", "Winry: Hi", "Alice: One.", "Winry: Ho", "Alice:",
    ]  # fmt: skip
    alone.change_settings(names=Names.GROUPS)
    assert [message.sent_text for message in alone.turns] == ["Hi", "One.", "Ho", "Two."]


def test_a_draft_of_the_users_turn_has_the_users_name() -> None:
    """It ends before the name of a character."""
    session, engine = group("Flour.", " I bake.\nBob: x")
    say(session, "Alice?")
    assert "".join(chunk.text for chunk in session.draft_turn(Cancel())) == "I bake."
    assert engine.asked[-1][-1].sent_text == "Winry:"


def test_a_member_joins_and_leaves() -> None:
    """It greets only before the user's first turn, and what it said stays."""
    session, engine = group("Flour.", "Ahoy.", "Yes.")
    carol = member("Carol", "Ahoy!")
    session.add_member(carol)
    assert spoken(session)[-1] == "Carol: Ahoy!"
    assert say(session, "Carol?") == "Flour."
    session.add_member(member("Dora", "Hello."))
    assert spoken(session)[-1] == "Carol: Flour."
    session.change_personas(together(session.members[:1]))
    say(session, "And you?")
    assert [message.sent_text for message in engine.asked[-1]][-2:] == ["Flour.", "And you?"]
    assert spoken(session)[-3] == "Carol: Flour."


def test_a_second_answer_of_a_single_character_can_be_regenerated() -> None:
    """As can the answer to a turn that was deleted: it follows the message before."""
    engine = AskedEngine(["One.", "Two.", "Three.", "Four."], 4000)
    session = Session(engine, [member("Alice", "Hello.")], LayeredOptions())
    say(session, "Hi")
    list(session.talk(0, Cancel()))
    list(session.regenerate(Cancel()))
    assert [node.text for node in session.tree.path] == ["Hello.", "Hi", "One.", "Three."]
    session.branch(session.tree.path[1].id, None)
    list(session.regenerate(Cancel()))
    assert [node.text for node in session.tree.path] == ["Hello.", "One.", "Four."]


def test_the_last_answer_can_be_replaced_and_keeps_its_speaker() -> None:
    """`/edit answer` and `/edit #ID` change the text only."""
    session, _ = group("Flour.")
    say(session, "Alice?")
    session.replace_answer("Butter.")
    session.branch(session.tree.path[-1].id, "Sugar.")
    assert spoken(session)[-1] == "Alice: Sugar."
    assert session.last is not None
    assert session.last.finish_reason is FinishReason.STOP


def test_cacheable_prompts_have_no_names() -> None:
    """Only system prompts and examples are saved to disk."""
    session, _ = group("Flour.")
    opening = session.members[0].opening._replace(cacheable=True)
    session.set_members([replace(session.members[0], opening=opening), session.members[1]])
    messages = session.assembled(Message(Role.USER, "?")).messages
    assert [message.text for message in messages if message.cacheable] == ["You are Alice."]


def test_talk_needs_a_message() -> None:
    """All first messages are the user's, or greetings."""
    session = Session(AskedEngine(["x"], 4000), together([member("Alice"), member("Bob")]), LayeredOptions())
    with pytest.raises(UsageError, match="nothing to answer"):
        session.talk(1, Cancel())


def test_answers_without_a_turn_of_the_user_are_left_out_of_a_full_context() -> None:
    """The oldest first, and the greeting too."""
    engine = AskedEngine([f"Number {number}: {'bread ' * 10}" for number in range(20)], 700)
    members = [member(name, "Hi.", overflow=Overflow.DROP) for name in ("Alice", "Bob")]
    session = Session(engine, together(members), LayeredOptions(GenerationOptions(max_tokens=100)))
    for number in range(20):
        list(session.talk(number % 2, Cancel()))
    assert len(session.tree) == 22
    numbers = [message.text.partition(":")[0] for message in engine.asked[-1][1:-1]]
    assert numbers == [f"Number {number}" for number in range(19 - len(numbers), 19)]
    assert 2 < len(numbers) < 9  # 700 characters in turns of about 100


def test_a_turn_stays_while_its_answers_fit() -> None:
    """An eighth of the window is not freed at its cost."""
    engine = AskedEngine(["First.", "a" * 40, "b" * 60, "No."], 700)
    members = [member(name, overflow=Overflow.DROP) for name in ("Alice", "Bob")]
    session = Session(engine, together(members), LayeredOptions(GenerationOptions(max_tokens=100)))
    question = "Alice and Bob? " + "x" * 360
    say(session, "Alice? " + "y" * 30)
    say(session, question)
    list(session.talk(0, Cancel()))
    last = [message.text for message in engine.asked[-1]]  # more than 513 tokens, of at most 600
    assert last == ["You are Alice.", question, "a" * 40, "b" * 60, ""]


def test_a_full_context_without_a_turn_of_the_user_is_an_error() -> None:
    """The hint does not name the message, because there is none."""
    members = together([member("Alice", "Hi. " * 30), member("Bob")])
    session = Session(AskedEngine(["x"], 100), members, LayeredOptions())
    with pytest.raises(ContextOverflow) as caught:
        list(session.talk(1, Cancel()))
    assert "shorten the system prompt" in caught.value.hint
    assert "message" not in caught.value.hint


def test_a_member_who_joins_reads_the_note() -> None:
    """The user's name and the other settings of the conversation apply to it, too."""
    session, engine = group("Ahoy.")
    session.change_settings(note=Note("It rains.", 0), lore_off=frozenset(["oven"]))
    macros = Macros("Carol", "Someone")
    carol = member("Carol").with_settings(macros=macros, post_history="{{char}}, {{user}}, {{group}}")
    session.add_member(carol)
    say(session, "Carol?")
    assert [message.sent_text for message in engine.asked[0]][-4:] == [
        "Winry: Carol?", "It rains.", "Carol, Winry, Alice, Bob, Carol", "Carol:",
    ]  # fmt: skip
    assert session.members[2].prompt_settings.lore_off == {"oven"}


def test_the_members_of_a_resumed_group_know_the_group(open_store: OpenStore) -> None:
    """Even if each of them was opened by itself."""
    store = open_store()
    session, _ = group("Flour.", recorder=Recorder(store))
    say(session, "Alice?")
    session.resume(store.conversations()[0], [member("Alice"), member("Bob")])
    assert [one.prompt_settings.macros.group for one in session.members] == ["Alice, Bob"] * 2


def test_an_answer_is_not_continued_by_another_character() -> None:
    """Its character has left the group; another one can answer instead."""
    session, engine = group("Flour.", "Salt.")
    session.add_member(member("Carol"))
    say(session, "Alice?")
    session.change_personas(together(session.members[1:]))
    with pytest.raises(UsageError, match="has left"):
        session.continue_answer(Cancel())
    list(session.regenerate(Cancel()))
    assert spoken(session)[-1] == "Bob: Salt."
    assert engine.asked[-1][0].text == "You are Bob."


def test_a_character_who_answers_again_evaluates_only_new_tokens() -> None:
    """Names, constant lore and lore that fired leave its earlier prompt unchanged."""
    session, engine = group(*[f" Number {number} about the oven." for number in range(6)])
    book = Lorebook((LoreEntry("Bread is good.", constant=True), LoreEntry("It is Bertha.", ("oven",))))
    session.set_members([session.members[0].with_settings(books=(book,)), session.members[1]])
    before = 0
    for number in range(6):
        say(session, f"Alice, {number}?")
        assert session.last is not None
        usage = session.last.usage
        if before:
            assert usage.cached_tokens >= before  # the earlier prompt, which ends with "Alice:"
        before = usage.prompt_tokens
    assert sum(message.text == "It is Bertha." for message in engine.asked[-1]) == 1


def test_the_name_of_the_speaker_takes_no_room_of_the_answer() -> None:
    """Every answer in a full context can have `max_tokens`."""
    engine = AskedEngine(["x" * 60] * 40, 700)
    names = ("Alice", "Bob the very grumpy sailor")
    members = together([member(name, overflow=Overflow.DROP) for name in names])
    session = Session(engine, members, LayeredOptions(GenerationOptions(max_tokens=60)))
    for number in range(40):
        list(session.send("?" * (number * 7 % 50), Cancel()))
        assert session.last is not None
        assert session.last.usage.completion_tokens == 60
    assert len(engine.asked[-1]) < 20
