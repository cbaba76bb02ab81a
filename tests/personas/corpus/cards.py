"""Character cards as JSON: versions, quirks of programs, texts and macros."""

from typing import Any

from tests.personas.corpus.recipe import File, card, to_json
from tests.personas.formats.cards import V1

OWN_FIELDS: dict[str, Any] = {
    "avatar": "none",
    "chat": "Ada - 2023-01-01",
    "create_date": "2023-01-01",
    "fav": False,
}
UNKNOWN_MACROS = "{{foo}} {{bar::1}} {{calc: 1+1}} {{getglobalvar::x}}"
KNOWN_MACROS = (
    "{{char}} {{user}} <USER> <BOT> <START> {{random::a::b}} {{random:a,b}} {{pick::a::b}} {{roll:d6}} "
    "{{roll:2d6+1}} {{time}} {{date}} {{weekday}} {{isodate}} {{isotime}} "
    "{{// a comment}} {{newline}} {{trim}} {{noop}} "
    "{{setvar::x::1}}{{getvar::x}} {{lastMessage}} {{description}} {{scenario}} {{personality}} {{persona}} "
    "{{original}} {{idle_duration}}"
)
AGNAI = {
    "kind": "character",
    "name": "Ada",
    "description": "for the list",
    "greeting": "Yes?",
    "scenario": "London.",
    "sampleChat": "{{user}}: Hi",
    "persona": {"kind": "text", "attributes": {"text": ["A mathematician."]}},
    "alternateGreetings": ["No?"],
    "insert": {"prompt": "Tired.", "depth": 3},
    "characterBook": {
        "kind": "memory",
        "entries": [{"name": "Tea", "entry": "Black.", "keywords": ["tea"], "weight": 1, "enabled": True}],
    },
    "voice": {"service": "webspeech"},
}
AGNAI_ATTRIBUTES = {
    "kind": "character",
    "name": "Ada",
    "greeting": "Yes?",
    "persona": {"kind": "wpp", "attributes": {"mind": ["exact", "calm"], "age": ["28"]}},
}
RISU = {
    "viewScreen": "emotion",
    "bias": [],
    "customScripts": [],
    "sdData": [["always", "1girl"]],
    "additionalAssets": [],
    "largePortrait": True,
}
CHUB = {
    "chub": {"id": 1, "full_path": "a/ada", "related_lorebooks": []},
    "depth_prompt": {"prompt": "", "depth": 4},
}
OLD_PYGMALION = {
    "char_name": "Ada",
    "char_persona": "A mathematician.",
    "char_greeting": "Yes?",
    "world_scenario": "London.",
    "example_dialogue": "You: Hi\nAda: Hello.",
}
SILLYTAVERN = {
    **V1,
    "creatorcomment": "",
    "avatar": "none",
    "talkativeness": "0.5",
    "fav": False,
    "tags": [],
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": card()["data"] | {"extensions": {"talkativeness": "0.5", "fav": False, "world": ""}},
    "create_date": "2025-1-1 @10h 00m",
}
REGEX_SCRIPTS: dict[str, Any] = {
    "extensions": {
        "regex_scripts": [
            {"scriptName": "No stars", "findRegex": "/\\*/g", "replaceString": "", "placement": [2]},
            {"scriptName": "Slash", "findRegex": "a", "replaceString": "b", "placement": [3]},
        ]
    }
}
NOT_UNDER_DATA = "its fields are not under 'data', as its spec requires"

FILES = (
    File("v1.json", to_json(V1), "v1", "Ada"),
    File(
        "v2-regex-scripts.json",
        to_json(card(**REGEX_SCRIPTS)),
        "v2",
        "Ada",
        remarks=(
            (
                "2 regex scripts change the text of messages; regex_scripts = false in the config file, "
                "or /regex off, turns them off"
            ),
            "regex scripts for slash commands or reasoning only are kept but not used",
        ),
    ),
    File("v1-indented.json", to_json(V1, indent=4), "v1", "Ada"),
    File("v1-own-fields.json", to_json({**V1, **OWN_FIELDS}), "v1", "Ada"),
    File(
        "v1-only-two-keys.json",
        to_json({"name": "Ada", "description": "A mathematician."}),
        "v1",
        "Ada",
        greetings=0,
    ),
    File("v1-nulls.json", to_json({**V1, "scenario": None, "mes_example": None}), "v1", "Ada"),
    File(
        "v1-wrong-types.json",
        to_json({**V1, "scenario": ["London"], "personality": 4}),
        "v1",
        "Ada",
        ("'scenario' is a list, not a string; ignored",),
        has=("4",),
    ),
    File(
        "v1-no-name.json",
        to_json(V1 | {"name": ""}),
        "v1",
        "v1-no-name",
        ("it has no name; its file name is used",),
    ),
    File("v1-name-of-lines.json", to_json(V1 | {"name": " Ada\n Lovelace "}), "v1", "Ada Lovelace"),
    File("v2.json", to_json(card()), "v2", "Ada"),
    File("v2-ascii.json", to_json(card(name="Zoë"), ascii_only=True), "v2", "Zoë"),
    File("v2-bom.json", b"\xef\xbb\xbf" + to_json(card()), "v2", "Ada"),
    File("v2-crlf-file.json", to_json(card(), indent=2).replace(b"\n", b"\r\n"), "v2", "Ada"),
    File(
        "v2-crlf-texts.json",
        to_json(card(description="one\r\ntwo\rthree")),
        "v2",
        "Ada",
        has=("one\ntwo\nthree",),
    ),
    File(
        "v2-unwrapped.json",
        to_json({"data": V1}),
        "v2",
        "Ada",
        ("it has no 'spec'; it is read as chara_card_v2",),
    ),
    File(
        "v2-flat.json",
        to_json({**V1, "spec": "chara_card_v2", "spec_version": "2.0"}),
        "v2",
        "Ada",
        (NOT_UNDER_DATA,),
    ),
    File("v3.json", to_json(card(3, group_only_greetings=[])), "v3", "Ada"),
    File(
        "v3-flat.json",
        to_json({**V1, "spec": "chara_card_v3", "spec_version": "3.0"}),
        "v3",
        "Ada",
        (NOT_UNDER_DATA,),
    ),
    File("v3-nickname.json", to_json(card(3, nickname="Countess")), "v3", "Ada", has=("Countess",)),
    File(
        "v3-notes-in-languages.json",
        to_json(card(3, creator_notes_multilingual={"en": "Be patient.", "de": "Geduld."})),
        "v3",
        "Ada",
        has=("Be patient.",),
    ),
    File(
        "v3-newer.json",
        to_json(card(3) | {"spec_version": "3.5"}),
        "v3",
        "Ada",
        ("its spec_version 3.5 is newer than 3.0, which hermes supports",),
    ),
    File(
        "v4.json",
        to_json(card() | {"spec": "chara_card_v4"}),
        "v3",
        "Ada",
        ("its spec is 'chara_card_v4', which hermes does not support; it is read as chara_card_v3",),
    ),
    File(
        "v3-group-greetings.json",
        to_json(card(3, group_only_greetings=["All of you!"])),
        "v3",
        "Ada",
        ("kept but not used: group_only_greetings",),
    ),
    File("names-russian.json", to_json(card(name="Анна Каренина")), "v2", "Анна Каренина"),
    File("names-chinese.json", to_json(card(name="白棠")), "v2", "白棠"),
    File("names-arabic.json", to_json(card(name="شهرزاد")), "v2", "شهرزاد"),
    File("names-emoji.json", to_json(card(name="🐉 Dragon")), "v2", "🐉 Dragon"),
    File("greetings-none.json", to_json(card(first_mes="")), "v2", "Ada", greetings=0),
    File(
        "greetings-only-others.json",
        to_json(card(first_mes=" ", alternate_greetings=["a", "b"])),
        "v2",
        "Ada",
        greetings=2,
    ),
    File(
        "greetings-twenty.json",
        to_json(card(alternate_greetings=[f"hi {n}" for n in range(20)])),
        "v2",
        "Ada",
        greetings=21,
    ),
    File(
        "greetings-one-string.json",
        to_json(card(alternate_greetings="Well, well, well.")),
        "v2",
        "Ada",
        greetings=2,
    ),
    File("greetings-null.json", to_json(card(alternate_greetings=None)), "v2", "Ada"),
    File(
        "greetings-with-null.json",
        to_json(card(alternate_greetings=["a", None])),
        "v2",
        "Ada",
        ("'alternate_greetings' has values that are not strings; ignored",),
        greetings=2,
    ),
    File("macros-known.json", to_json(card(description=KNOWN_MACROS)), "v2", "Ada"),
    File(
        "macros-unknown.json",
        to_json(card(description=UNKNOWN_MACROS)),
        "v2",
        "Ada",
        ("unknown macros are left in the texts: {{bar}}, {{calc}}, {{foo}}, {{getglobalvar}}",),
    ),
    File(
        "hidden-text.json",
        to_json(card(description="A\u200b\u2060 mathematician.\u202e")),
        "v2",
        "Ada",
        ("its texts have 2 invisible and 1 direction-changing characters",),
    ),
    File(
        "nul.json",
        to_json(card(description="a\0b")),
        "v2",
        "Ada",
        ("NUL characters are removed",),
        has=("ab",),
    ),
    File(
        "depth-prompt.json",
        to_json(card(extensions={"depth_prompt": {"prompt": "Tired.", "depth": "2", "role": "system"}})),
        "v2",
        "Ada",
        has=("Tired.",),
    ),
    File(
        "depth-prompt-role.json",
        to_json(card(extensions={"depth_prompt": {"prompt": "Tired.", "depth": 4, "role": "user"}})),
        "v2",
        "Ada",
        ("the role of its note is user; hermes sends it as system",),
        has=("Tired.",),
    ),
    File(
        "world-link.json",
        to_json(card(extensions={"world": "Eldoria", "fav": True})),
        "v2",
        "Ada",
        has=("Eldoria",),
    ),
    File("sillytavern.json", to_json(SILLYTAVERN), "v2", "Ada"),
    File(
        "chub.json",
        to_json(card(creator="anon", tags=["Female"], extensions=CHUB)),
        "v2",
        "Ada",
        ("kept but not used: extensions.chub",),
    ),
    File(
        "risuai.json",
        to_json(card(3, extensions={"risuai": RISU})),
        "v3",
        "Ada",
        ("kept but not used: extensions.risuai",),
    ),
    File("pygmalion-old.json", to_json(OLD_PYGMALION), "webui", "Ada", has=("A mathematician.", "London.")),
    File(
        "pygmalion-and-v1.json",
        to_json({**V1, **OLD_PYGMALION}),
        "v1",
        "Ada",
        ("kept but not used: char_name, char_persona, char_greeting, world_scenario, example_dialogue",),
    ),
    File(
        "agnai.json",
        to_json(AGNAI),
        "agnai",
        "Ada",
        ("'voice' is left out: hermes does not use it",),
        greetings=2,
        entries=1,
        has=("A mathematician.", "London.", "{{user}}: Hi", "Tired.", "Black."),
    ),
    File(
        "agnai-attributes.json",
        to_json(AGNAI_ATTRIBUTES),
        "agnai",
        "Ada",
        has=("mind: exact, calm\nage: 28",),
    ),
    File(
        "empty.json",
        to_json({"data": dict.fromkeys(V1, "")}),
        "v2",
        "empty",
        (
            "it has no name; its file name is used",
            "it does not describe the character",
            "it has no 'spec'; it is read as chara_card_v2",
        ),
        greetings=0,
    ),
)
