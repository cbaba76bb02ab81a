"""Cards with lorebooks, and worlds as several programs write them."""

from typing import Any

from tests.personas.corpus.recipe import File, book, card, to_json, with_entry, with_extensions
from torture.mutants import SILLYTAVERN_ENTRY

DECORATORS = "@@depth 2\n@@role user\n@@probability 30\n@@@activate\nThe engine weaves."
SETTINGS = (
    "the lorebook's settings are not used, as in SillyTavern: scan_depth 50, token_budget 2048, "
    "recursive_scanning false; a table [lorebook] in the imported file sets them"
)
ST_ENTRY: dict[str, Any] = {
    **SILLYTAVERN_ENTRY,
    "uid": 0,
    "key": ["dragon", "/wyrms?/i"],
    "keysecondary": ["fire"],
    "comment": "Dragons",
    "content": "Dragons sleep.",
    **dict.fromkeys(("scanDepth", "caseSensitive", "matchWholeWords", "useGroupScoring", "role")),
}
NOVELAI = {
    "lorebookVersion": 5,
    "entries": [
        {
            "text": "Dragons sleep.",
            "displayName": "Dragons",
            "keys": ["dragon", "/wyrms?/i"],
            "searchRange": 1000,
            "enabled": True,
            "forceActivation": False,
            "contextConfig": {"prefix": "", "suffix": "\n", "tokenBudget": 1, "budgetPriority": 400},
            "loreBiasGroups": [],
            "category": "",
            "id": "1",
        }
    ],
    "settings": {"orderByKeyLocations": False},
    "categories": [],
}
AGNAI = {
    "kind": "memory",
    "name": "Bestiary",
    "description": "",
    "entries": [
        {
            "name": "Dragons",
            "entry": "Dragons sleep.",
            "keywords": ["dragon", "wyrm"],
            "priority": 3,
            "weight": 7,
            "enabled": True,
        }
    ],
}
RISU_ENTRY: dict[str, Any] = {
    "key": "dragon, wyrm",
    "secondkey": "",
    "insertorder": 100,
    "comment": "Dragons",
    "content": "Dragons sleep.",
    "mode": "normal",
    "alwaysActive": False,
    "selective": False,
}
HAS = ("Dragons sleep.",)


def world(**fields: Any) -> bytes:
    """Return a world of SillyTavern with one entry."""
    return to_json({"entries": {"0": ST_ENTRY | fields}})


def risu(*entries: dict[str, Any]) -> bytes:
    """Return a lorebook of RisuAI."""
    return to_json({"type": "risu", "ver": 1, "data": list(entries)})


CARDS = (
    File("book.json", to_json(card(character_book=book({}, {}))), "v2", "Ada", entries=2),
    File("book-empty.json", to_json(card(character_book=book())), "v2", "Ada"),
    File("book-null.json", to_json(card(character_book=None)), "v2", "Ada"),
    File(
        "book-settings-of-a-site.json",
        to_json(card(character_book=book({}, scan_depth=50, token_budget=2048, recursive_scanning=False))),
        "v2",
        "Ada",
        (SETTINGS,),
        entries=1,
    ),
    File(
        "book-table-of-entries.json",
        to_json(card(character_book={"entries": {"0": book({})["entries"][0]}})),
        "v2",
        "Ada",
        entries=1,
    ),
    File(
        "book-keys-as-text.json",
        to_json(with_entry(keys="tea, milk , sugar")),
        "v2",
        "Ada",
        entries=1,
        has=("milk",),
    ),
    File(
        "book-numbers-as-text.json",
        to_json(with_entry(insertion_order="7", extensions={"depth": "3", "probability": "50"})),
        "v2",
        "Ada",
        entries=1,
    ),
    File(
        "book-decorators.json",
        to_json(card(3, character_book=book({"content": DECORATORS}))),
        "v3",
        "Ada",
        ("the decorator @@probability is left out",),
        entries=1,
        has=("The engine weaves.",),
    ),
    File("book-delay-number.json", to_json(with_extensions(delay_until_recursion=2)), "v2", "Ada", entries=1),
    File(
        "book-match-flags.json",
        to_json(
            with_extensions(match_persona_description=True, match_scenario=True, match_creator_notes=False)
        ),
        "v2",
        "Ada",
        entries=1,
    ),
    File("book-role.json", to_json(with_extensions(position=4, depth=1, role=2)), "v2", "Ada", entries=1),
    File(
        "book-around-the-note.json",
        to_json(with_extensions(position=2)),
        "v2",
        "Ada",
        ("entries around the author's note are placed 4 turns from the end",),
        entries=1,
    ),
    File(
        "book-around-the-examples.json",
        to_json(with_extensions(position=6)),
        "v2",
        "Ada",
        ("entries around the examples are placed after the character's description",),
        entries=1,
    ),
    File(
        "book-outlet.json",
        to_json(with_extensions(position=7)),
        "v2",
        "Ada",
        ("entries in an outlet are disabled: hermes does not support outlets",),
        entries=1,
    ),
    File(
        "book-filter.json",
        to_json(with_extensions(character_filter={"isExclude": True, "names": ["bob"], "tags": []})),
        "v2",
        "Ada",
        entries=1,
        has=("bob",),
    ),
    File(
        "book-filter-by-tag.json",
        to_json(with_extensions(character_filter={"isExclude": False, "names": [], "tags": ["1"]})),
        "v2",
        "Ada",
        ("entries are limited to characters with a tag; hermes uses them for all characters",),
        entries=1,
    ),
    File(
        "book-groups.json",
        to_json(
            with_extensions(
                group="weather, mood", group_weight=30, group_override=True, use_group_scoring=True
            )
        ),
        "v2",
        "Ada",
        entries=1,
        has=("weather", "mood"),
    ),
    File(
        "book-unused.json",
        to_json(with_extensions(vectorized=True, triggers=["swipe"], automation_id="a")),
        "v2",
        "Ada",
        (
            "entries have 'vectorized', which hermes does not use",
            "entries have 'triggers', which hermes does not use",
            "entries have 'automation_id', which hermes does not use",
        ),
        entries=1,
    ),
    File(
        "book-regex.json",
        to_json(card(3, character_book=book({"keys": ["dra+gon"], "use_regex": True}))),
        "v3",
        "Ada",
        entries=1,
        has=("/dra+gon/",),
    ),
)

WORLDS = (
    File("world.json", world(), "world", "world", greetings=0, entries=1, has=(*HAS, "/wyrms?/i")),
    File("world-named.json", to_json({"name": "Eldoria", "entries": {}}), "world", "Eldoria", greetings=0),
    File(
        "world-list.json",
        to_json({"entries": [ST_ENTRY]}),
        "world",
        "world-list",
        greetings=0,
        entries=1,
        has=HAS,
    ),
    File(
        "world-disabled.json", world(disable=True), "world", "world-disabled", greetings=0, entries=1, has=HAS
    ),
    File(
        "world-vectors.json",
        world(vectorized=True),
        "world",
        "world-vectors",
        ("entries have 'vectorized', which hermes does not use",),
        greetings=0,
        entries=1,
        has=HAS,
    ),
    File(
        "world-original-data.json",
        to_json({"entries": {"0": ST_ENTRY}, "originalData": {"entries": []}}),
        "world",
        "world-original-data",
        greetings=0,
        entries=1,
        has=HAS,
    ),
    File(
        "world-v3.json",
        to_json({"spec": "lorebook_v3", "data": book({"content": HAS[0]}, name="Bestiary")}),
        "world",
        "Bestiary",
        greetings=0,
        entries=1,
        has=HAS,
    ),
    File(
        "novelai.lorebook",
        to_json(NOVELAI),
        "world",
        "novelai",
        ("settings of NovelAI's entries are left out: searchRange, contextConfig",),
        greetings=0,
        entries=1,
        has=(*HAS, "Dragons", "/wyrms?/i"),
    ),
    File(
        "agnai-memory.json",
        to_json(AGNAI),
        "world",
        "Bestiary",
        greetings=0,
        entries=1,
        has=(*HAS, "Dragons", "wyrm"),
    ),
    File(
        "risuai-lorebook.json",
        risu(RISU_ENTRY),
        "world",
        "risuai-lorebook",
        greetings=0,
        entries=1,
        has=(*HAS, "Dragons", "wyrm"),
    ),
    File(
        "risuai-folders.json",
        risu(
            {**RISU_ENTRY, "mode": "folder", "content": ""},
            RISU_ENTRY | {"secondkey": "fire", "selective": True},
        ),
        "world",
        "risuai-folders",
        ("a folder of entries is left out; its entries are used",),
        greetings=0,
        entries=1,
        has=(*HAS, "fire"),
    ),
)
