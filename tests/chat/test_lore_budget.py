"""The share of the context window that lore may fill, and the messages of the entries."""

from typing import Any

from hermes_cli.chat.lore import LoreMatcher
from hermes_cli.chat.lore_budget import LoreBudget
from hermes_cli.chat.lore_scan import ALWAYS
from hermes_cli.lore_settings import LoreSettings
from hermes_cli.messages import Message, Role
from hermes_cli.personas.lorebook import Lorebook, LoreEntry, Position
from hermes_cli.personas.macros import Macros
from hermes_cli.untrusted.deadline import Deadline

WINDOW = 1000
TURNS = [Message(Role.USER, "a")]


def budget(*books: Lorebook, settings: LoreSettings | None = None) -> LoreBudget:
    """Return the budget of a window of 1,000 tokens, one a character."""
    lore = LoreMatcher(books, Macros("Ed", "Ann"), settings or LoreSettings())
    return LoreBudget(lore, WINDOW, lambda message: len(message.text))


def kept(budget: LoreBudget) -> list[int]:
    """Return the numbers of the entries that fit if all of them fire."""
    fires = dict.fromkeys(range(len(budget.lore.entries)), "a")
    wanted = budget.activate_all(fires, TURNS, 0, Deadline())
    return sorted(active.number for active in budget.within_budget((), wanted)[0])


def always(budget: LoreBudget, system: str = "") -> list[int]:
    """Return the numbers of the constant entries that fit."""
    return sorted(active.number for active in budget.always(system, Deadline())[0])


def entries(*sizes: int, constant: bool = False) -> tuple[LoreEntry, ...]:
    """Return entries with texts of these sizes, the most important one first."""
    return tuple(
        LoreEntry("x" * size, ("a",), constant=constant, priority=-number)
        for number, size in enumerate(sizes)
    )


def test_the_entries_that_fire_share_a_quarter_of_the_window() -> None:
    """A quarter of the window is the default; the settings and a lorebook change it."""
    assert kept(budget(Lorebook(entries(200, 51, 50)))) == [0, 2]
    assert kept(budget(Lorebook(entries(200, 51)), settings=LoreSettings(share=26))) == [0, 1]
    assert kept(budget(Lorebook(entries(200, 51), share=26))) == [0, 1]
    assert kept(budget(Lorebook(entries(200, 51), share=26, token_budget=250))) == [0]
    assert kept(budget(Lorebook(entries(1)), settings=LoreSettings(share=0))) == []


def test_a_share_of_one_book_is_not_one_of_another() -> None:
    """A lorebook without a share of its own keeps the default one."""
    books = Lorebook(entries(100, 100), share=40), Lorebook(entries(200, 100))
    assert kept(budget(*books)) == [0, 1, 2]


def test_constant_entries_have_a_budget_of_their_own() -> None:
    """Constant entries may fill half of the window, in addition to the entries that fire."""
    constant = Lorebook(entries(300, 200, 1, constant=True))
    assert always(budget(constant)) == [0, 1]
    assert always(budget(constant, settings=LoreSettings(constant_share=30))) == [0]
    assert always(budget(Lorebook(entries(300, 200, constant=True), token_budget=300))) == [0]
    both = budget(Lorebook((*entries(500, constant=True), *entries(250))))
    assert always(both) == [0]
    wanted = both.activate_all({1: "a"}, TURNS, 0, Deadline())
    assert both.within_budget((), wanted)[0] == wanted


def test_the_system_prompt_and_constant_entries_leave_room_for_the_turns() -> None:
    """Even an entry that ignores the budget is left out if the turns would have no room."""
    large = Lorebook((LoreEntry("x" * 700, constant=True, ignores_budget=True), *entries(60, constant=True)))
    assert always(budget(large)) == [0]
    assert always(budget(large), "s" * 100) == [1]
    _, dropped, _ = budget(large).always("s" * 100, Deadline())
    assert [(active.number, active.key) for active in dropped] == [(0, ALWAYS)]


def test_an_entry_in_the_chat_has_its_role() -> None:
    """An entry at a depth has its role; an assistant's one is never the end of the prompt."""
    at_depth: dict[str, Any] = {"position": Position.DEPTH, "depth": 0}
    book = Lorebook(
        (LoreEntry("x", role=Role.ASSISTANT, **at_depth), LoreEntry("x", role=Role.USER, **at_depth))
    )
    said, asked = budget(book).activate_all({0: "a", 1: "a"}, TURNS, 0, Deadline())
    assert (said.message.role, said.at) == (Role.ASSISTANT, 0)
    assert (asked.message.role, asked.at) == (Role.USER, 1)
    (described,) = budget(Lorebook((LoreEntry("x", role=Role.USER),))).activate_all(
        {0: "a"}, TURNS, 0, Deadline()
    )
    assert described.message.role is Role.SYSTEM
