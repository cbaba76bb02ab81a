"""The lore of a turn costs a bounded amount, whatever a stranger's lorebook contains."""

import random
import sys
import time
import tracemalloc
from collections.abc import Sequence

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.chat.key_index import KeyIndex, ScannedText, fold
from hermes_cli.chat.lore import LoreMatcher
from hermes_cli.chat.prompt_builder import PromptBuilder
from hermes_cli.chat.prompt_settings import Overflow, PromptSettings
from hermes_cli.lore_settings import LoreSettings
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.personas.macros import Macros
from hermes_cli.untrusted.deadline import EARLIER_TURN_S, Deadline

MACROS = Macros("Ed", "Ann", 7)
LATIN = set("aAbBkK\u212asS\u017fß\u1e9eiI\u0130\u0131éÉ_1")
LETTERS = st.sampled_from([*sorted(LATIN), *"\u03a3\u03c3\u03c2 -龍"])


class _Counter:
    """Counts words as tokens, and the counted texts."""

    context_size = 8192

    def __init__(self) -> None:
        self.texts = 0

    def count_tokens(self, messages: Sequence[Message]) -> int:
        self.texts += 1
        return sum(3 + len(message.text) // 4 for message in messages)


def words(count: int) -> list[str]:
    """Return random words of five to twelve letters."""
    rng = random.Random(3)
    return ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(5, 12))) for _ in range(count)]


def simple_search(key: str, text: str, *, case: bool, whole: bool) -> bool:
    """Return whether a plain key occurs, by a search for this key alone."""
    word = key.strip()
    pattern = regex.compile(
        regex.escape(word, literal_spaces=True), regex.V0 | (0 if case else regex.IGNORECASE)
    )
    for found in pattern.finditer(text, overlapped=True) if word else ():
        around = text[max(0, found.start() - 1) : found.start()], text[found.end() : found.end() + 1]
        if not whole or " " in word or not any(set(side) & LATIN for side in around):
            return True
    return False


@given(
    st.lists(st.tuples(st.text(LETTERS, max_size=6), st.booleans(), st.booleans()), max_size=8),
    st.text(LETTERS, max_size=60),
)
def test_the_index_fires_the_same_entries_as_a_search_for_each_key(
    keys: list[tuple[str, bool, bool]], text: str
) -> None:
    """With any keys, case and whole words, the same entries fire as by a simple search for each key."""
    entries = [LoreEntry("x", (key,), case_sensitive=case, whole_words=whole) for key, case, whole in keys]
    book = Lorebook(tuple(entries), recursive=False)
    fires = LoreMatcher([book], MACROS, LoreSettings(names=False)).fires([Message(Role.USER, text)], {})
    expected = {
        number: key
        for number, (key, case, whole) in enumerate(keys)
        if simple_search(key, text, case=case, whole=whole)
    }
    assert fires == expected


def test_letters_that_differ_only_in_case_are_folded_to_the_same() -> None:
    """Any two letters that `regex` matches regardless of case are the same after folding."""
    cased = [
        c
        for c in map(chr, range(sys.maxunicode + 1))
        if c.lower() != c or c.upper() != c or c.casefold() != c
    ]
    text = "".join(cased)
    assert len(fold(text)) == len(text)
    for character in cased:
        for other in regex.findall(regex.escape(character), text, regex.V0 | regex.IGNORECASE):
            assert fold(character) == fold(other), (character, other)


def hostile(name: str) -> list[LoreEntry]:  # noqa: C901, PLR0911 - one for each name
    """Return the entries of a lorebook that is expensive to search."""
    match name:
        case "keys":
            keys = words(190_000)
            return [LoreEntry("x", tuple(keys[n * 19 : n * 19 + 19])) for n in range(9_999)]
        case "keys that begin alike":
            return [LoreEntry("x", tuple(f"{'a' * 900}{n}b{m}" for m in range(9))) for n in range(9_999)]
        case "whole words":
            return [LoreEntry("x", (f"a{n}",), whole_words=True) for n in range(9_999)]
        case "expressions":
            return [LoreEntry("x", tuple(f"/(x+x+)+y{n}{m}/" for m in range(4))) for n in range(9_999)]
        case "recursion":
            sources = [LoreEntry("word " * 400, ("a",)) for _ in range(1000)]
            return sources + [LoreEntry("x", (f"/wor{n}d/", f"w{n}ord")) for n in range(1000)]
        case "recursion that fires":
            sources = [LoreEntry("word " * 200, ("a",)) for _ in range(2000)]
            return sources + [LoreEntry("x", ("wor",)) for _ in range(2000)]
        case "macros in keys":
            keys = ["{{char}}<user>{{random:a,b}}" * 9 + str(n) for n in range(40_000)]
            return [LoreEntry("x", tuple(keys[n * 4 : n * 4 + 4])) for n in range(9_999)]
        case "recursion with secondary keys":
            sources = [LoreEntry(f"w{n} " * 50, (f"w{n - 1}",)) for n in range(1, 40)]
            waiting = [LoreEntry("x", ("word",), secondary=("y1", "y2", "/y+z/")) for _ in range(9_000)]
            return [LoreEntry("w0", ("word",)), *sources, *waiting]
        case "recursion levels":
            return [
                LoreEntry("word", ("word",), only_recursion=True, recursion_level=n) for n in range(1, 9_999)
            ]
        case "recursion to other characters":
            names = tuple(f"name {n}" for n in range(100))
            return [LoreEntry("word", ("word",), characters=names) for n in range(9_999)]
        case "scan depths":
            return [LoreEntry("x", ("zzz",), scan_depth=n) for n in range(9_999)]
    return [LoreEntry("x {{roll:999d9}}" * 100, constant=True) for _ in range(500)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("keys", "keys that begin alike", "whole words", "expressions", "scan depths", "constant"),
        *("recursion", "recursion that fires", "macros in keys", "recursion with secondary keys"),
        *("recursion levels", "recursion to other characters"),
    ],
)
def test_a_hostile_lorebook_is_searched_for_about_a_second(name: str) -> None:
    """The first turn with a hostile lorebook takes less than 2 s of CPU time, with the index of its keys."""
    books = (Lorebook(tuple(hostile(name)), recursive=name.startswith("recursion")),)
    turns = [Message(Role.USER, "a" * 999 + " word x a1 a2 "), Message(Role.ASSISTANT, "b " * 5000)] * 20
    began = time.thread_time()
    builder = PromptBuilder(_Counter(), Opening(None), PromptSettings(MACROS, books))
    builder.prompt(turns[:-1])
    assert time.thread_time() - began < 2 + EARLIER_TURN_S * 20, builder.deadline.report


def test_the_deadline_ends_the_search_and_is_reported() -> None:
    """After the deadline no key is searched, and the report says so."""
    keys = tuple(words(100))
    lore = LoreMatcher([Lorebook((LoreEntry("x", keys),))], MACROS)
    deadline = Deadline(-1)
    assert lore.fires([Message(Role.USER, " ".join(keys))], {}, deadline) == {}
    assert deadline.report == "lorebook: not searched after -1 s"


def test_keys_that_do_not_occur_are_not_searched_one_by_one() -> None:
    """Of 10,000 keys, only those whose first letters are in the text are searched."""
    text = ScannedText("The dragon sleeps.")
    keys = [*words(10_000), "dragon", "Drag", "dragnet", "The", " "]
    assert [keys[place] for place in KeyIndex(keys).places(text, Deadline())] == ["dragon", "Drag", "The"]


def test_only_the_most_important_entries_are_counted_in_tokens() -> None:
    """Of 3,000 entries that fire, 500 are counted in tokens, and the report says so."""
    entries = [LoreEntry(f"text {n}", ("a",), priority=n) for n in range(3000)]
    counter = _Counter()
    builder = PromptBuilder(counter, Opening(None), PromptSettings(MACROS, (Lorebook(tuple(entries)),)))
    prompt = builder.prompt([Message(Role.USER, "a")])
    assert counter.texts < 600
    assert prompt.active[0].entry.priority == 2999
    assert prompt.skipped == "lore entries: left out 2,500 of 3,000 that fire"


def test_the_clock_of_a_deadline_runs_only_inside_it() -> None:
    """The time outside `with deadline:` does not count, and nested blocks count once."""
    now = [0.0]
    deadline = Deadline(2, clock=lambda: now[0])
    now[0] = 5
    with deadline, deadline:
        now[0] += 1.5
        assert not deadline.is_over
    now[0] += 5
    assert not deadline.is_over
    with deadline:
        now[0] += 1
    assert deadline.is_over


def test_a_large_world_is_searched_at_the_first_turn() -> None:
    """The index of 20,000 keys and its search take a fraction of the deadline, and little memory."""
    keys = words(20_000)
    lore = LoreMatcher([Lorebook(tuple(LoreEntry("x", (key,)) for key in keys))], MACROS)
    deadline = Deadline()
    tracemalloc.start()
    assert 777 in lore.fires([Message(Role.USER, keys[777])], {}, deadline)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not deadline.report
    assert peak < 20 << 20


def test_after_the_deadline_a_turn_looks_at_no_entry() -> None:
    """At the turns of a resumed chat that are searched after the deadline, nothing is computed."""
    lore = LoreMatcher([Lorebook((LoreEntry("x", ("a",)),))], MACROS)
    assert lore.fires([Message(Role.USER, "a")], {}, Deadline(-1)) == {}
    assert "index" not in vars(lore)


def test_a_resumed_chat_is_searched_completely() -> None:
    """With an ordinary world of 200 entries, nothing is skipped in 1,000 turns that are all new.

    The deadline is over at first, and each of the 499 earlier turns of the user adds 10 ms.
    """
    keys = words(600)
    entries = [LoreEntry("Some lore. " * 40, tuple(keys[n * 3 : n * 3 + 3])) for n in range(200)]
    rng = random.Random(1)
    turns = [
        Message(role, "He looked around, and said nothing. " * 20 + " ".join(rng.choices(keys, k=2)))
        for role in [Role.USER, Role.ASSISTANT] * 500
    ]
    books = (Lorebook(tuple(entries), recursive=True),)
    prompt_settings = PromptSettings(MACROS, books, overflow=Overflow.DROP)
    builder = PromptBuilder(_Counter(), Opening(None), prompt_settings, deadline=Deadline(-1))
    prompt = builder.prompt(turns[:-1])
    assert not prompt.skipped
    assert prompt.active


def test_only_the_last_examples_are_counted_in_tokens() -> None:
    """Of 4,000 examples of 1,000 characters, the first 3,700 are left out, and the report says so."""
    counter = _Counter()
    examples = tuple(Message(Role.USER, f"{n:04}".ljust(1000)) for n in range(4000))
    builder = PromptBuilder(counter, Opening("s", examples), PromptSettings(MACROS, overflow=Overflow.DROP))
    prompt = builder.prompt([Message(Role.USER, "a")])
    assert counter.texts < 320
    assert prompt.messages[-2].text.startswith("3999")
    assert prompt.skipped == "examples: left out 3,700 of 4,000 messages"


def test_constant_entries_do_not_count_a_long_system_prompt_again_and_again() -> None:
    """A system prompt of 100,000 characters is counted a few times, not once for each of 400 entries."""
    counted = list[int]()

    class Counter(_Counter):
        context_size = 1_000_000

        def count_tokens(self, messages: Sequence[Message]) -> int:
            counted.append(sum(len(message.text) for message in messages))
            return super().count_tokens(messages)

    entries = tuple(LoreEntry(f"entry {n}", constant=True) for n in range(400))
    builder = PromptBuilder(Counter(), Opening("s" * 100_000), PromptSettings(MACROS, (Lorebook(entries),)))
    prompt = builder.prompt([Message(Role.USER, "a")])
    assert sum(part.tokens for part in prompt.parts) == prompt.tokens
    assert sum(length > 100_000 for length in counted) < 5
