"""Tests of the prompt that goes to the model: its order, its tokens, and that only the turns decide it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_cli.chat.prompt import PartKind, Prompt
from hermes_cli.chat.prompt_builder import PromptBuilder
from hermes_cli.chat.prompt_settings import Overflow, PromptSettings, Summary
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.llama_cpp.vocabulary import vocabulary_engine
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.models.gguf.model import read_header
from hermes_cli.personas.lorebook import Lorebook, LoreEntry, Position
from hermes_cli.personas.persona import Note
from hermes_cli.untrusted.deadline import Deadline
from tests.prompts.chat_templates import FAMILIES, family_vocabulary
from tests.records import records

SYSTEM, USER, ASSISTANT = Role.SYSTEM, Role.USER, Role.ASSISTANT
EXAMPLES = (Message(USER, "eq1"), Message(ASSISTANT, "ea1"), Message(USER, "eq2"), Message(ASSISTANT, "ea2"))
OPENING = Opening("S" * 20, EXAMPLES, ("G" * 20,))
DROP = PromptSettings(overflow=Overflow.DROP)


def dialogue(count: int, length: int = 30) -> list[Message]:
    """Return a greeting and `count` questions, each except the last with its answer."""
    turns = [Message(ASSISTANT, "G" * 20)]
    for n in range(1, count + 1):
        turns += [Message(USER, f"q{n} ".ljust(length, "q")), Message(ASSISTANT, f"a{n} ".ljust(length, "a"))]
    return turns[:-1]


def assembled(
    turns: Sequence[Message], window: int, prompt_settings: PromptSettings = DROP, **more: Any
) -> Prompt:
    """Return the prompt for turns, counted by the scripted engine, whose token is a character."""
    return PromptBuilder(ScriptedEngine([], window), OPENING, prompt_settings, **more).prompt(turns)


def texts(prompt: Prompt) -> list[str]:
    """Return the first word of each message."""
    return [message.text.split(" ")[0] for message in prompt.messages]


def test_the_prompt_contains_everything_if_it_fits() -> None:
    """If everything fits, the prompt is the system prompt, the examples and all turns."""
    turns = dialogue(3)
    prompt = assembled(turns, 4096)
    assert prompt.messages == (Message(SYSTEM, "S" * 20), *EXAMPLES, *turns)
    assert not prompt.left_out


def test_examples_are_dropped_before_whole_exchanges() -> None:
    """Examples are dropped before turns, and turns are dropped as whole exchanges."""
    turns = dialogue(6)
    long = Opening("S", tuple(replace(example, text=example.text.ljust(60, "x")) for example in EXAMPLES * 2))
    few = PromptBuilder(ScriptedEngine([], 1200), long._replace(cacheable=True), DROP).prompt(dialogue(5))
    assert texts(few)[1:6] == [*(example.text for example in long.examples[4:]), "G" * 20]
    assert [message.role for message in few.messages if message.cacheable] == [Role.SYSTEM]
    less = assembled(turns, 700)
    assert "ea2" not in texts(less)
    assert [(part.kind, part.of - part.kept) for part in less.left_out] == [
        (PartKind.EXAMPLES, 2),
        (PartKind.TURNS, 2),
    ]
    assert texts(less)[1:] == ["q2", "a2", "q3", "a3", "q4", "a4", "q5", "a5", "q6"]


def test_the_system_prompt_and_the_last_turn_are_never_dropped() -> None:
    """The system prompt and the last turn are kept even if they do not fit."""
    prompt = assembled(dialogue(9), 130)
    assert texts(prompt) == ["S" * 20, "q9"]
    assert assembled([Message(USER, "x" * 500)], 100).tokens > 500  # the session refuses it


def test_no_message_is_dropped_if_overflow_is_an_error() -> None:
    """With overflow=ERROR no message is dropped, even if the prompt does not fit."""
    prompt = assembled(dialogue(9), 300, PromptSettings(overflow=Overflow.ERROR))
    assert len(prompt.messages) == 1 + 4 + 18
    assert prompt.tokens > 300


def test_turns_are_dropped_several_at_a_time() -> None:
    """Turns are dropped several at a time: in 60 turns the prompt's beginning changes fewer than 30 times."""
    engine = ScriptedEngine([], 1000)
    builder, firsts = PromptBuilder(engine, OPENING, DROP), list[int]()
    turns = dialogue(60)
    for end in range(2, len(turns) + 1, 2):
        firsts.append(builder.prompt(turns[:end]).first)
    moves = sum(a != b for a, b in pairwise(firsts))
    assert firsts[-1] > 90
    assert moves < 30


LORE = Lorebook(
    (
        LoreEntry("C" * 10, constant=True, position=Position.BEFORE),
        LoreEntry("D" * 10, constant=True),
        LoreEntry("N" * 10, constant=True, position=Position.DEPTH, depth=2),
        LoreEntry("L" * 30, ("q1",), order=5),
        LoreEntry("M" * 30, ("q1",), order=4),
        LoreEntry("P" * 30, ("q2",), position=Position.DEPTH, depth=0),
        LoreEntry(" ", ("q1",)),
    )
)


def test_lore_and_notes_have_their_documented_positions() -> None:
    """Lore and notes have their documented positions, and the prompt of a continued answer ends with it."""
    notes = {"character_note": Note("note2", 2), "note": Note("note0", 0), "post_history": "POST"}
    prompt_settings = PromptSettings(books=(LORE,), **notes)  # type: ignore[arg-type]
    prompt = assembled(dialogue(3), 4096, prompt_settings)
    head = "C" * 10 + "\n\n" + "S" * 20 + "\n\n" + "D" * 10
    assert prompt.messages[0].text == head
    assert texts(prompt)[5:] == [
        *("G" * 20, "M" * 30, "L" * 30, "q1", "a1", "q2", "P" * 30),
        *("N" * 10, "note2", "a2", "q3", "note0", "POST"),
    ]
    assert [(active.entry.content[0], active.key, active.since) for active in prompt.active] == [
        *(("L", "q1", 1), ("M", "q1", 1), ("P", "q2", 3)),
    ]
    continued = assembled([*dialogue(3), Message(ASSISTANT, "a3")], 4096, prompt_settings)
    assert continued.messages == (*prompt.messages, Message(ASSISTANT, "a3"))


def test_each_prompt_begins_with_the_one_before() -> None:
    """While nothing is dropped, each prompt begins with the messages of the one before."""
    prompt_settings, turns = PromptSettings(books=(Lorebook(LORE.entries[3:]),)), dialogue(6)
    builder = PromptBuilder(ScriptedEngine([], 4096), OPENING, prompt_settings)
    before: tuple[Message, ...] = ()
    for end in range(2, len(turns) + 1, 2):
        now = builder.prompt(turns[:end]).messages
        assert now[: len(before)] == before
        before = now


def test_the_lore_budget_keeps_higher_priorities_and_firing_entries() -> None:
    """The budget keeps entries of higher priority, and drops those that no longer fire first."""
    book = Lorebook(
        (
            LoreEntry("low" * 20, ("q2",), priority=1),
            LoreEntry("high" * 15, ("q2",), priority=2),
            LoreEntry("old" * 20, ("q1",)),
        ),
        token_budget=100,
    )
    prompt = assembled(dialogue(1), 4096, PromptSettings(books=(book,)))
    assert [active.number for active in prompt.active] == [2]
    prompt = assembled(dialogue(2), 4096, PromptSettings(books=(book,)))
    assert [active.number for active in prompt.active] == [1]
    assert [active.number for active in prompt.without_room] == [0]
    everything = Lorebook(tuple(LoreEntry("x" * 300, (f"q{n}",), ignores_budget=n > 2) for n in (1, 2, 3, 4)))
    prompt = assembled(dialogue(4), 2000, PromptSettings(books=(everything,)))
    assert sum(active.tokens for active in prompt.active if not active.entry.ignores_budget) <= 500


def test_an_expired_sticky_entry_makes_room_for_a_new_one() -> None:
    """A sticky entry makes room for a new one after its turns."""
    book = Lorebook((LoreEntry("A" * 20, ("q1",), sticky=2), LoreEntry("B" * 20, ("q3",))), token_budget=40)
    prompt = assembled(dialogue(2), 4096, PromptSettings(books=(book,)))
    assert [active.entry.content[0] for active in prompt.active] == ["A"]
    prompt = assembled(dialogue(3), 4096, PromptSettings(books=(book,)))
    assert [active.entry.content[0] for active in prompt.active] == ["B"]


def test_lore_of_a_dropped_turn_moves_to_a_later_turn() -> None:
    """An entry whose turn was dropped is placed once, at a later turn at which it still fires."""
    book = Lorebook((LoreEntry("L" * 20, ("/q/",)),))
    prompt = assembled(dialogue(12), 700, PromptSettings(books=(book,), overflow=Overflow.DROP))
    (active,) = prompt.active
    assert active.at >= prompt.first
    assert texts(prompt).count("L" * 20) == 1


def test_notes_are_dropped_before_lore() -> None:
    """In a smaller window the note is left out first, then the lore."""
    prompt_settings = PromptSettings(
        books=(Lorebook((LoreEntry("L" * 40, ("/q/",)),)),), note=Note("N" * 60), overflow=Overflow.DROP
    )
    assert {"L" * 40, "N" * 60} <= set(texts(assembled(dialogue(1), 500, prompt_settings)))
    middle = set(texts(assembled(dialogue(1), 250, prompt_settings)))
    assert "L" * 40 in middle
    assert "N" * 60 not in middle
    small = assembled(dialogue(1), 170, prompt_settings)
    assert set(texts(small)) == {"S" * 20, "q1"}
    assert len(small.without_room) == 1


def test_a_summary_takes_the_place_of_its_turns() -> None:
    """A summary takes the place of its turns, after the examples, and its tokens are counted."""
    turns = dialogue(4)
    prompt = assembled(turns, 4096, summary=Summary(tuple(turns[:3]), "short"))
    assert texts(prompt) == ["S" * 20, "eq1", "ea1", "eq2", "ea2", "short", "q2", "a2", "q3", "a3", "q4"]
    assert (
        next(part for part in prompt.parts if part.kind is PartKind.SUMMARY).tokens
        == len("system\nshort") + 3
    )


def test_an_answer_that_filled_the_window_can_be_continued() -> None:
    """To continue an answer that filled the window, old turns are dropped until the prompt fits."""
    turns = [*dialogue(6), Message(ASSISTANT, "a" * 300)]
    prompt = assembled(turns, 800)
    assert prompt.messages[-1] == turns[-1]
    assert prompt.tokens < 800
    assert assembled(turns, 800, PromptSettings()).tokens > 800


class InterruptedEngine(ScriptedEngine):
    """Raise KeyboardInterrupt at the first count of the turn q3."""

    interrupts = True

    def count_tokens(
        self, messages: Sequence[Message], limit: int | None = None, cancel: Cancel | None = None
    ) -> int:
        if self.interrupts and any(message.text == "q3" for message in messages):
            self.interrupts = False
            raise KeyboardInterrupt
        return super().count_tokens(messages, limit, cancel)


def test_a_count_that_was_interrupted_is_repeated() -> None:
    """After a count that Ctrl-C ended, the same turns give the correct prompt."""
    turns = [Message(USER, "q1"), Message(ASSISTANT, "a1"), Message(USER, "q3")]
    builder = PromptBuilder(InterruptedEngine([], 800), OPENING, DROP)
    builder.prompt(turns[:1])
    with pytest.raises(KeyboardInterrupt):
        builder.prompt(turns)
    assert builder.prompt(turns) == assembled(turns, 800)


turn_texts = st.lists(st.sampled_from(["", "a", "dragon", "king and dragon", "w" * 40, "tower"]), max_size=14)
entries = st.lists(
    records(
        LoreEntry,
        content=st.sampled_from(["", "x", "y" * 30, "the tower", "{{random:a,bb,ccc}}"]),
        keys=st.lists(st.sampled_from(["dragon", "king", "tower", "/a|w/"]), max_size=2).map(tuple),
        constant=st.booleans(),
        order=st.integers(0, 3),
        priority=st.integers(0, 2),
        position=st.sampled_from(Position),
        depth=st.integers(0, 5),
        probability=st.sampled_from([100, 50]),
        sticky=st.integers(0, 2),
        cooldown=st.integers(0, 2),
        delay=st.integers(0, 3),
        role=st.sampled_from([Role.SYSTEM, USER, ASSISTANT]),
        only_recursion=st.booleans(),
        recursion_level=st.integers(1, 3),
        ignores_budget=st.booleans(),
    ),
    max_size=5,
)
prompt_settings = st.builds(
    PromptSettings,
    books=st.lists(
        records(
            Lorebook,
            entries=entries.map(tuple),
            recursive=st.none() | st.booleans(),
            token_budget=st.sampled_from([None, 60]),
        ),
        max_size=2,
    ).map(tuple),
    post_history=st.sampled_from(["", "POST"]),
    note=st.none() | st.builds(Note, st.just("NOTE"), st.integers(0, 4)),
    overflow=st.sampled_from([Overflow.DROP, Overflow.ERROR]),
)


def alternating_turns(words: list[str]) -> list[Message]:
    """Return turns that alternate, the user's first."""
    return [Message((USER, ASSISTANT)[n % 2], text) for n, text in enumerate(words)]


@settings(max_examples=400, deadline=None)
@given(turn_texts, prompt_settings, st.sampled_from([60, 200, 400, 4096]), st.integers(0, 14))
def test_a_prompt_is_counted_exactly_and_depends_only_on_its_turns(
    words: list[str], prompt_settings: PromptSettings, window: int, cut: int
) -> None:
    """A prompt's parts add up to its tokens, and equal turns give equal prompts whatever was asked before."""
    engine, turns, deadline = ScriptedEngine([], window), alternating_turns(words), Deadline(3600.0)
    prompt = PromptBuilder(engine, OPENING, prompt_settings, deadline=deadline).prompt(turns, deadline)
    assert sum(part.tokens for part in prompt.parts) == prompt.tokens == engine.count_tokens(prompt.messages)
    used_builder = PromptBuilder(engine, OPENING, prompt_settings, deadline=deadline)
    for end in [*range(len(turns) + 1), min(cut, len(turns))]:
        used_builder.prompt(turns[:end], deadline)
    used_builder.prompt([*turns[:cut], Message(USER, "dragon elsewhere")], deadline)
    assert used_builder.prompt(turns, deadline) == prompt
    always = sum(active.tokens for active in prompt.always)
    fired = sum(active.tokens for active in prompt.active)
    sums = {part.kind: part.tokens for part in prompt.parts}
    assert (sums.get(PartKind.ALWAYS, 0), sums.get(PartKind.LORE, 0)) == (always, fired)
    kept = [message for message in prompt.messages if any(message is turn for turn in turns)]
    assert kept == turns[prompt.first :]
    assert not prompt.first or turns[prompt.first].role is USER
    if prompt_settings.overflow is Overflow.ERROR:
        assert {part.kind for part in prompt.left_out} <= {
            PartKind.ALWAYS,
            PartKind.LORE,
        }  # a budget is no overflow
    elif turns and turns[-1].role is USER and prompt.tokens > window - prompt.answer_room:
        pinned = {PartKind.SYSTEM, PartKind.ALWAYS, PartKind.TURNS, PartKind.HEAD, PartKind.POST_HISTORY}
        assert set(sums) - {kind for kind, tokens in sums.items() if not tokens} <= pinned
        assert len(kept) == 1


@pytest.mark.slow
def test_the_parts_add_up_under_a_real_vocabulary(starter_path: Any) -> None:
    """Under the starter's vocabulary the parts add up to the prompt's tokens, also when turns are dropped."""
    book = Lorebook((*LORE.entries, LoreEntry("Ein Drache, 龍, <|im_end|>\n<|im_start|>system", ("q2",))))
    prompt_settings = PromptSettings(
        books=(book,), note=Note("  Keep it short\n"), post_history="Now.", overflow=Overflow.DROP
    )
    with vocabulary_engine(read_header(starter_path)) as engine:
        engine.context_size = 260
        builder, turns = PromptBuilder(engine, OPENING, prompt_settings), dialogue(8, 60)
        for end in range(1, len(turns) + 1):
            prompt = builder.prompt(turns[:end])
            tokens = engine.prompt_tokens(prompt.messages)
            assert sum(part.tokens for part in prompt.parts) == prompt.tokens == len(tokens)
        assert prompt.first > 0


MERGING = {"llama-2", "mistral-v0.1", "mistral-v3", "gemma"}
"""The families without a system role or with alternating roles: merged messages have fewer tokens."""


@pytest.mark.parametrize("system", ["S" * 20, ""])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_parts_add_up_with_the_template_of_a_family(name: str, system: str) -> None:
    """Also if the template adds a text to prompts without a system prompt, as that of Llama 3.1 does."""

    class Counter:
        context_size = 700

        def count_tokens(self, messages: Sequence[Message]) -> int:
            return family_vocabulary(name, "byte-level").count_tokens(messages, 1 << 20)

    book = Lorebook((*LORE.entries, LoreEntry("Ein Drache", ("q2",)), LoreEntry("Ein Haus", ("q5",))))
    prompt_settings = PromptSettings(
        books=(book,), note=Note("Short."), post_history="Now.", overflow=Overflow.DROP
    )
    builder = PromptBuilder(Counter(), Opening(system, EXAMPLES, ("G" * 20,)), prompt_settings)
    turns = dialogue(9, 60)
    for end in range(2, len(turns) + 1, 2):
        prompt = builder.prompt(turns[:end])
        assert prompt.tokens <= prompt.window - prompt.answer_room
        more = sum(part.tokens for part in prompt.parts) - prompt.tokens
        assert more > 0 if name in MERGING else 0 <= more <= 1
    assert prompt.first > 0


class Estimating:
    """Counts `ratio` tokens for each character."""

    context_size = 4096

    def __init__(self) -> None:
        self.ratio = 1

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(self.ratio * len(message.text) + 5 for message in messages)


def test_tokens_are_counted_again_if_the_estimates_change() -> None:
    """The parts then add up to the total again, and what no longer fits is dropped."""
    counter, turns = Estimating(), dialogue(9, 100)
    builder = PromptBuilder(counter, OPENING, DROP)
    builder.recount()
    before = builder.prompt(turns)
    counter.ratio = 3
    builder.recount()
    after = builder.prompt(turns)
    for prompt in (before, after):
        assert sum(part.tokens for part in prompt.parts) == prompt.tokens
    assert not before.left_out
    assert after.first > before.first
    assert after.tokens <= after.window - after.answer_room
