"""Hypothesis strategies for any persona and any lorebook that a file can hold."""

from pathlib import Path
from types import MappingProxyType

from hypothesis import strategies as st

from hermes_cli.messages import Role
from hermes_cli.personas.lorebook import PERSONA_TEXTS, Logic, Lorebook, LoreEntry, Position
from hermes_cli.personas.persona import Example, Note, Persona
from hermes_cli.personas.regex_script import FindMacros, RegexScript, Target
from tests.records import records

SOURCE = Path("somebody.toml")

_letters = st.characters(codec="utf-8", exclude_characters="\0\r")  # CR becomes LF
_hostile = st.sampled_from(['"', '"""', "'", "'''", "\\", "\n", "\t", "#", "[x]", "\x1b", "\x7f"])
prose = st.lists(st.one_of(st.text(_letters, max_size=8), _hostile), max_size=8).map("".join)
filled = prose.map(lambda text: f"{text}x") | prose.map(lambda text: f'x{text}"')
optional = st.just("") | filled
lines = filled.filter(lambda text: len(text.splitlines()) == 1)
flags = st.booleans()
numbers = st.integers(0, 10_000)

entries = records(
    LoreEntry,
    # In a card, a content that begins with @@ has decorators, which are not part of the text.
    content=prose.filter(lambda text: not text.lstrip("\n").startswith("@@")),
    keys=st.lists(filled, max_size=3).map(tuple),
    name=optional,
    enabled=flags,
    secondary=st.lists(filled, max_size=2).map(tuple),
    logic=st.sampled_from(Logic),
    constant=flags,
    order=st.integers(-(10**9), 10**9),
    priority=st.integers(-(10**9), 10**9),
    position=st.sampled_from(Position),
    depth=numbers,
    role=st.sampled_from(Role),
    case_sensitive=st.none() | flags,
    whole_words=st.none() | flags,
    scan_depth=st.none() | numbers,
    probability=st.floats(0, 100),
    sticky=numbers,
    cooldown=numbers,
    delay=numbers,
    after_answers=numbers,
    greeting=st.none() | numbers,
    recursable=flags,
    recurses=flags,
    only_recursion=flags,
    recursion_level=numbers,
    characters=st.lists(filled, max_size=2).map(tuple),
    matches=st.sets(st.sampled_from([*PERSONA_TEXTS])).map(
        lambda names: tuple(name for name in PERSONA_TEXTS if name in names)
    ),
    except_characters=st.lists(filled, max_size=2).map(tuple),
    ignores_budget=flags,
)
lorebooks = records(
    Lorebook,
    entries=st.lists(entries, max_size=4).map(tuple),
    name=optional,
    description=optional,
    scan_depth=st.none() | numbers,
    token_budget=st.none() | st.integers(0, 10**9),
    recursive=st.none() | flags,
    whole_words=st.none() | flags,
    share=st.none() | st.integers(0, 100),
    source=st.just(SOURCE),
)
scripts = records(
    RegexScript,
    find=prose,
    replace=prose | st.sampled_from([" ", "\n", "$1"]),
    name=prose,
    enabled=flags,
    targets=st.lists(st.sampled_from(Target), max_size=3, unique=True).map(tuple),
    display=flags,
    prompt=flags,
    on_edit=flags,
    trim=st.lists(filled | st.just(" "), max_size=2).map(tuple),
    find_macros=st.sampled_from(FindMacros),
    min_depth=st.none() | st.integers(-1, 10**9),
    max_depth=st.none() | numbers,
)
options = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 5),
        "top_k": st.integers(0, 1_000_000),
        "stop": st.lists(filled, min_size=1, max_size=2).map(tuple),
    },
)
personas = records(
    Persona,
    name=lines,
    system=filled,
    source=st.just(SOURCE),
    description=optional,
    nickname=st.just("") | lines,
    character=optional,
    personality=optional,
    scenario=optional,
    greetings=st.lists(filled, max_size=3).map(tuple),
    dialogue=optional,
    examples=st.lists(st.builds(Example, prose, prose), max_size=2).map(tuple),
    post_history=optional,
    note=st.none() | st.builds(Note, filled, st.integers(0, 100)),
    user=st.none() | lines,
    creator_notes=optional,
    lorebook=st.none() | lorebooks,
    worlds=st.lists(filled, max_size=2).map(tuple),
    regex=st.lists(scripts, max_size=3).map(tuple),
    context=st.none() | st.integers(64, 10_000_000),
    options=options.map(MappingProxyType),
    original=st.none() | st.just(Path("somebody.png")),
)
