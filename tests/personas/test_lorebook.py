"""Entries that several lorebooks have."""

from hermes_cli.personas.lorebook import Lorebook, LoreEntry, without_duplicates


def test_entries_with_the_same_content_occur_once() -> None:
    """The first of several equal entries is kept, with the keys of all of them."""
    card = Lorebook((LoreEntry("The  hall.\n", ("hall",)), LoreEntry("Trees.", ("tree",), enabled=False)))
    world = Lorebook((LoreEntry("The hall.", ("hall", "door")), LoreEntry("Trees.", ("tree",))), "Eldoria")
    other = Lorebook((LoreEntry("The hall.", ("hall",), secondary=("night",)), LoreEntry("", ("x",))))
    books = without_duplicates((card, world, world, other))
    assert [[(entry.content, entry.keys) for entry in book.entries] for book in books] == [
        [("The  hall.\n", ("hall", "door")), ("Trees.", ("tree",))],
        [("Trees.", ("tree",))],
        [("The hall.", ("hall",)), ("", ("x",))],
    ]
    assert without_duplicates((world,))[0] is world


def test_a_constant_copy_makes_the_entry_constant() -> None:
    """An entry that one of the lorebooks has as a constant one is constant."""
    by_key, constant = LoreEntry("a", ("k",)), LoreEntry("a", constant=True)
    (book,) = without_duplicates((Lorebook((by_key,)), Lorebook((constant,))))
    assert book.entries == (LoreEntry("a", ("k",), constant=True),)
