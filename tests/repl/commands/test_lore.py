"""Characters in a chat: greetings, lore, notes, the token budget, and turns that are left out."""

import json
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from hermes_cli.personas import loader
from hermes_cli.store import input_history
from hermes_cli.store.store import Store
from tests.run_hermes import Result, hermes, script

Env = Mapping[str, str]
TURNS = tuple({"text": f"A{n}"} for n in range(1, 9))
SERA = """
name = "Seraphina"
character = "{{char}} guards the glade."
greeting = "Hello {{user}}."
greetings = ["Second hello.", "Third hello."]
post_history = "Stay kind."
[[lore]]
name = "Glade"
keys = ["glade", "wood"]
content = "The glade is old."
[[lore]]
content = "Magic is real."
constant = true
[[lore]]
keys = ["/(/"]
content = "Never."
"""


@pytest.fixture
def sera(home: Env) -> Env:
    """A home with the persona Seraphina."""
    folder = Path(home["OPENHERMES_HOME"]) / "config" / "personas"
    folder.mkdir(parents=True)
    (folder / "sera.toml").write_text(SERA)
    return home


def chat(env: Env, tmp_path: Path, *lines: str, flags: tuple[str, ...] = (), size: int = 4096) -> Result:
    """Hold a conversation with Seraphina and return what was printed."""
    model = script(tmp_path, *TURNS, context_size=size)
    stdin = "".join(f"{line}\n" for line in lines).encode()
    return hermes("chat", "-p", "sera", "--user", "Bob", "-m", model, *flags, env=env, stdin=stdin)


def prompts(result: Result) -> list[list[str]]:
    """Return the turns that each `/show prompt` printed."""
    shown = re.findall(r"<\|im_start\|>(?:.|\n)*?assistant\n\n(?=\d)", result.stderr)
    return [re.findall(r"<\|im_start\|>\w+\n((?:.|\n)*?)<\|im_end\|>", prompt) for prompt in shown]


def test_swipe_selects_a_greeting_before_the_first_turn(sera: Env, tmp_path: Path) -> None:
    """`/swipe` selects a greeting again if the first turn is undone."""
    result = chat(
        sera, tmp_path, "/swipe", "/swipe 3", "hi", "/show prompt", "/undo", "/swipe left", "/swipe 9"
    )
    assert result.stdout == b"Hello Bob.\nA1\n"
    assert prompts(result)[0][1:3] == ["Third hello.", "hi"]
    assert result.stderr.count("(2 of 3)") == 2
    assert "there is no greeting 9 here: there are only 3" in result.stderr
    again = chat(sera, tmp_path, "/tree", "/swipe 1", "ho", "/show prompt", flags=("-c",))
    assert re.search(r">    2   it: Second hello\.", again.stderr)
    assert prompts(again)[0][1:3] == ["Hello Bob.", "ho"]


def test_swipe_right_at_the_last_greeting_is_refused(sera: Env, tmp_path: Path) -> None:
    """`/swipe right` at the last greeting is refused and generates nothing."""
    result = chat(sera, tmp_path, "/swipe 3", "/swipe right", "hi")
    assert "there is no greeting 4 here: there are only 3" in result.stderr
    assert result.stdout == b"Hello Bob.\nA1\n"


def test_lore_lists_the_active_entries_with_keys_and_tokens(sera: Env, tmp_path: Path) -> None:
    """`/context` has the sums of the tokens."""
    result = chat(sera, tmp_path, "hi", "the Glade!", "/lore", "/context")
    rows = {line.split("  ")[1]: line for line in result.stderr.splitlines() if line.startswith("  ")}
    glade = 1 + len("system\nThe glade is old.") + 2  # each token of the scripted engine is one character
    always = len("\n\nMagic is real.")
    assert re.search(rf"by glade +since your turn 2 +{glade} tokens", rows["Glade"])
    assert re.search(rf"in every prompt +{always} tokens", rows["Magic is real."])
    assert f"2 of 3 entries in 1 book: {glade + always} tokens." in result.stderr
    assert "Ignored key /(/: it is not a regular expression" in result.stderr
    assert re.search(rf"active lore +{glade} ", result.stderr)
    assert re.search(rf"constant lore +{always} ", result.stderr)


def test_lore_add_saves_an_entry_for_later_conversations(sera: Env, tmp_path: Path) -> None:
    """The entry is in the persona's lore file."""
    lines = (
        "/lore add moon, night: The moon is red.",
        "at NIGHT",
        "/show prompt",
        "/lore add sun: Hot.",
        "/lore add x",
    )
    result = chat(sera, tmp_path, *lines)
    assert prompts(result)[0][1:4] == ["Hello Bob.", "The moon is red.", "at NIGHT"]
    assert "an entry has keys and a text" in result.stderr
    book = Path(sera["OPENHERMES_HOME"]) / "config" / "lore" / "sera.toml"
    assert [entry.keys for entry in loader.load_lorebook(book).entries] == [("moon", "night"), ("sun",)]
    assert book.stat().st_mode & 0o777 == 0o600
    assert "The moon is red." in prompts(chat(sera, tmp_path, "night", "/show prompt"))[0]


def test_lore_add_with_no_log_writes_nothing(sera: Env, tmp_path: Path) -> None:
    """The entry is used in this conversation."""
    result = chat(sera, tmp_path, "/lore add moon: Red.", "moon", "/show prompt", flags=("--no-log",))
    assert "Red." in prompts(result)[0]
    assert not (Path(sera["OPENHERMES_HOME"]) / "config" / "lore").exists()


def test_the_lore_flag_adds_a_lorebook(sera: Env, tmp_path: Path) -> None:
    """An unknown name is an error."""
    world = tmp_path / "world.json"
    world.write_text('{"entries": {"0": {"key": ["sea"], "content": "The sea is salt.", "uid": 0}}}')
    result = chat(sera, tmp_path, "the sea", "/show prompt", flags=("--lore", str(world)))
    assert "The sea is salt." in prompts(result)[0]
    missing = chat(sera, tmp_path, flags=("--lore", "nowhere"))
    assert (missing.code, missing.stdout) == (78, b"")


def test_a_note_is_inserted_at_its_depth_and_restored(sera: Env, tmp_path: Path) -> None:
    """`/note` sets the note, and -c restores it."""
    lines = ("/note", "/note Be brief.", "hi", "/show prompt", "/note It rains. 0", "/show prompt")
    result = chat(sera, tmp_path, *lines)
    assert "There is no note." in result.stderr
    one, two = prompts(result)
    assert one[-3:] == ["Be brief.", "", "Stay kind."]
    assert two[-3:] == ["", "It rains.", "Stay kind."]
    again = chat(sera, tmp_path, "/note", "/note -", "/show prompt", "/clear", "/note", flags=("-c",))
    assert "At depth 0: It rains." in again.stderr
    assert "It rains." not in prompts(again)[0]


def test_a_resumed_fork_keeps_the_note_and_the_users_name(sera: Env, tmp_path: Path) -> None:
    """A fork that is resumed keeps the note and the user's name."""
    chat(sera, tmp_path, "/note Be brief.", "hi", "/fork other", "/note")
    model = script(tmp_path, *TURNS)
    result = hermes(
        "chat",
        "-r",
        "other",
        "-m",
        model,
        env=sera,
        stdin=b"/note\n/lore add x: {{user}}!\nx\n/show prompt\n",
    )
    assert "At depth 1: Be brief." in result.stderr
    assert "Bob!" in prompts(result)[0]


def test_turns_that_are_left_out_are_reported_once(sera: Env, tmp_path: Path) -> None:
    """With --on-overflow drop the oldest turns are left out."""
    lines = [f"{n} ".ljust(100, "x") for n in range(8)]
    result = chat(sera, tmp_path, *lines, "/context", flags=("--on-overflow", "drop"), size=800)
    assert result.stdout.count(b"\n") == 9
    assert result.stderr.count("The context is full: ") == 1
    assert re.search(r"turns, \d of 9 +\d+  \S+ \d left out", result.stderr)


def test_a_full_window_in_a_pipe_is_an_error(sera: Env, tmp_path: Path) -> None:
    """The message names --on-overflow; a wrong value of the flag is refused."""
    lines = [f"{n} ".ljust(100, "x") for n in range(8)]
    result = chat(sera, tmp_path, *lines, size=800)
    assert result.code == 65
    assert "--on-overflow drop" in result.stderr
    bad = chat(sera, tmp_path, flags=("--on-overflow", "cut"))
    assert (bad.code, "drop, error or summarise" in bad.stderr) == (2, True)


def test_on_overflow_summarise_replaces_the_oldest_turns(sera: Env, tmp_path: Path) -> None:
    """A summary replaces them; `/summary` prints or changes it."""
    (tmp_path / "script.toml").unlink(missing_ok=True)
    lines = [f"{n} ".ljust(150, "x") for n in range(4)]
    flags = ("--on-overflow", "summarise")
    result = chat(sera, tmp_path, *lines, "/summary", "/context", flags=flags, size=1200)
    assert result.code == 0
    match = re.search(
        r"Summarized the first (\d) messages; /summary shows the summary:\n(.*\nA\d)", result.stderr
    )
    assert match, result.stderr
    assert f"{match[2]}\nIt replaces the first {match[1]} messages" in result.stderr
    assert re.search(r"summary +\d+ ", result.stderr)
    more = ("/summary They met.", "/show prompt", "/undo", "/undo", "/undo", "/summary", "/show prompt")
    again = chat(sera, tmp_path, *more, flags=("-c", *flags), size=1200)
    first, second = prompts(again)
    assert first[1] == "What happened before:\nThey met."
    assert "They met." not in second
    assert "there is no summary here" in again.stderr


def test_a_characters_answer_ends_before_a_line_of_the_user(sera: Env, tmp_path: Path) -> None:
    """An assistant's answer does not end there."""
    model = script(tmp_path, {"text": "Hi.\nBob: I say"}, {"text": "Hi.\nBob: I say"})
    result = hermes("ask", "-p", "sera", "--user", "Bob", "-m", model, "x", env=sera)
    assert result.stdout == b"Hi.\n"
    helper = hermes("ask", "--user", "Bob", "-m", model, "write a dialogue", env=sera)
    assert b"Bob: I say" in helper.stdout


def test_the_users_name_and_description_come_from_the_config(sera: Env, tmp_path: Path) -> None:
    """A mistyped key is an error."""
    config = Path(sera["OPENHERMES_HOME"]) / "config" / "config.toml"
    config.write_text('[user]\nname = "Ann"\ndescription = "{{user}} is a knight."\n')
    model = script(tmp_path, *TURNS)
    result = hermes("chat", "-p", "sera", "-m", model, env=sera, stdin=b"/system\n")
    assert "About Ann: Ann is a knight." in result.stderr
    assert result.stdout == b"Hello Ann.\n"
    config.write_text('[user]\nnmae = "Ann"\n')
    wrong = hermes("chat", "-m", model, env=sera)
    assert (wrong.code, "did you mean 'name'" in wrong.stderr) == (78, True)


def summarized(sera: Env, tmp_path: Path, *more: str, flags: tuple[str, ...] = ()) -> Result:
    """Continue a conversation whose oldest turns were summarized, and return what was printed."""
    lines = [f"{n} ".ljust(150, "x") for n in range(4)]
    overflow = ("--on-overflow", "summarise")
    assert "Summarized the first 3 messages" in chat(sera, tmp_path, *lines, flags=overflow, size=1200).stderr
    return chat(sera, tmp_path, *more, flags=(*flags, *overflow), size=1200)


def test_a_fork_keeps_the_summary(sera: Env, tmp_path: Path) -> None:
    """A fork has the same prompt as its original."""
    result = summarized(sera, tmp_path, "/show prompt", "/fork two", "/show prompt", flags=("-c", "--fork"))
    one, two = prompts(result)
    assert one == two
    assert one[1].startswith("What happened before:")
    again = chat(sera, tmp_path, "/show prompt", flags=("-r", "two"), size=1200)
    assert prompts(again) == [one]


def test_a_summary_is_in_the_prompts_of_its_branch_only(sera: Env, tmp_path: Path) -> None:
    """The prompts of another branch do not contain it."""
    other_branch = ("/undo 4", "other", "/note Be brief.", "/tree")
    result = summarized(sera, tmp_path, "/show prompt", *other_branch, flags=("-c",))
    last = max(int(number) for number in re.findall(r"^[ >*] +(\d+) ", result.stderr, re.MULTILINE)) - 2
    back = chat(sera, tmp_path, "/show prompt", f"/goto {last}", "/show prompt", flags=("-c",), size=1200)
    other, first = prompts(back)
    assert not any(text.startswith("What happened before:") for text in other)
    assert first[1] == prompts(result)[0][1]


def test_a_continued_chat_still_stops_at_the_users_name(sera: Env, tmp_path: Path) -> None:
    """The name is the stored one, or the one in --user."""
    chat(sera, tmp_path, "hi")
    model = script(tmp_path, {"text": "Hm.\nUser: x\nBob: mine"}, {"text": "Hm.\nBob: x\nAnn: mine"})
    result = hermes("chat", "-c", "-m", model, env=sera, stdin=b"ho\n")
    assert result.stdout == b"Hm.\nUser: x\n"
    renamed = hermes(
        "chat",
        "-c",
        "--user",
        "Ann",
        "-m",
        script(tmp_path, {"text": "Hm.\nBob: x\nAnn: m"}),
        env=sera,
        stdin=b"ho\n",
    )
    assert renamed.stdout == b"Hm.\nBob: x\n"


def test_dropped_lore_and_left_out_turns_are_both_reported(sera: Env, tmp_path: Path) -> None:
    """Each is reported once."""
    book = tmp_path / "book.toml"
    book.write_text('[lorebook]\ntoken_budget = 1\n[[lore]]\nkeys = ["/x/"]\ncontent = "No room."\n')
    lines = [f"{n} ".ljust(100, "x") for n in range(8)]
    flags = ("--on-overflow", "drop", "--lore", str(book))
    result = chat(sera, tmp_path, *lines, flags=flags, size=800)
    assert result.stderr.count("Lore entries that do not fit: 1") == 1
    assert result.stderr.count("The context is full: ") == 1


def test_a_deleted_persona_is_not_replaced_by_another(sera: Env, tmp_path: Path) -> None:
    """The conversation keeps its system prompt and gets no other lore or note."""
    gone = Path(sera["OPENHERMES_HOME"]) / "config" / "personas" / "gone.toml"
    gone.write_text('system = "I am Gone."\n')
    hermes("chat", "-p", "gone", "-m", script(tmp_path, *TURNS), env=sera, stdin=b"hi\n")
    gone.unlink()
    result = chat(sera, tmp_path, "/resume 1", "the glade", "/show prompt")
    assert prompts(result)[0] == ["I am Gone.", "hi", "A1", "the glade", "A1", ""]


def test_the_typed_lines_of_a_conversation_include_notes(sera: Env, tmp_path: Path) -> None:
    """`/forget` removes these lines from the input history."""
    chat(sera, tmp_path, "/note It rains. 2", "hi")
    with closing(Store(Path(sera["OPENHERMES_HOME"]) / "data" / "conversations.db")) as store:
        (conversation,) = store.conversations()
        lines = input_history.lines_of(conversation, store.tree(conversation.id))
    assert {"/note It rains.", "/note It rains. 2"} <= lines


def test_lore_off_excludes_an_entry_until_it_is_switched_on(sera: Env, tmp_path: Path) -> None:
    """The entry stays off after a resume. Its name is matched regardless of case."""
    result = chat(
        sera, tmp_path, "/lore off glade", "/lore off Magic is real.", "the glade", "/show prompt", "/lore"
    )
    (prompt,) = prompts(result)
    assert "The glade is old." not in prompt
    assert "Magic is real." not in "".join(prompt)
    assert "The entry Glade is off in this conversation; /lore on Glade switches it on." in result.stderr
    assert re.search("Glade +switched off", result.stderr)
    again = chat(sera, tmp_path, "/show prompt", "/lore on GLADE", "the glade", "/show prompt", flags=("-c",))
    off, on = prompts(again)
    assert ("The glade is old." in off, "The glade is old." in on) == (False, True)


SAME_NAMES = """
[[lore]]
name = "Mo"
keys = ["mo"]
content = "Mo is a cat."
[[lore]]
name = "Mo"
keys = ["mo"]
content = "Mo is a bar."
[[lore]]
name = "mo"
keys = ["mo"]
content = "Mo is a river."
"""


def test_one_of_several_entries_with_a_name_is_switched_off(sera: Env, tmp_path: Path) -> None:
    """`/lore` and the error number them; case is ignored if that names one entry."""
    book = tmp_path / "book.toml"
    book.write_text(SAME_NAMES)
    lines = ("mo", "/lore", "/lore off MO", "/lore off Mo", "/lore off mo #2", "more mo", "/show prompt")
    result = chat(sera, tmp_path, *lines, "/lore on MO", flags=("--lore", str(book)))
    assert [
        f"{name} +by mo" for name in ("Mo #1", "Mo #2", "mo") if not re.search(f"{name} +by", result.stderr)
    ] == []
    assert "The entry mo is off" not in result.stderr
    assert "3 entries have the name 'MO'; write /lore off Mo #1, for example" in result.stderr
    assert "2 entries have the name 'Mo'; write /lore off Mo #1, for example" in result.stderr
    assert "Mo #1: Mo is a cat.; Mo #2: Mo is a bar." in result.stderr
    (prompt,) = prompts(result)
    texts = "".join(prompt)
    assert ("cat" in texts, "bar" in texts, "river" in texts) == (True, False, True)
    assert "The entry Mo #2 is on again." in result.stderr


def test_lore_off_needs_the_name_of_an_entry(sera: Env, tmp_path: Path) -> None:
    """An unknown name, and one that is already switched off, are refused."""
    lines = (
        "/lore off",
        "/lore off Glad",
        "/lore on Glade",
        "/lore off Glade",
        "/lore off Glade",
        "/lore of Glade",
    )
    result = chat(sera, tmp_path, *lines)
    assert (
        "'Glad' is not the name of a lore entry that is switched on; did you mean 'Glade'?" in result.stderr
    )
    assert "which entry? write its name" in result.stderr
    assert "'Glade' is not the name of a lore entry that is switched off" in result.stderr
    assert result.stderr.count("'Glade' is not the name of a lore entry that is switched on") == 1
    assert "/lore does not take 'of Glade'" in result.stderr


def test_the_same_lorebook_is_told_once(sera: Env, tmp_path: Path) -> None:
    """An entry that the persona, its lore file and --lore have is in the prompt once."""
    world = tmp_path / "sera.toml"
    world.write_text('[[lore]]\nkeys = ["glade", "clearing"]\ncontent = "The glade is old."\n')
    lore = Path(sera["OPENHERMES_HOME"]) / "config" / "lore"
    lore.mkdir()
    (lore / "sera.toml").write_bytes(world.read_bytes())
    flags = ("--lore", str(world), "--lore", str(world))
    result = chat(sera, tmp_path, "the glade", "/show prompt", "/lore", flags=flags)
    assert "".join(prompts(result)[0]).count("The glade is old.") == 1
    assert "2 of 3 entries in 1 book" in result.stderr
    other_key = chat(sera, tmp_path, "a clearing", "/show prompt", flags=flags)
    assert "The glade is old." in prompts(other_key)[0]


def test_the_config_sets_how_lore_is_matched(sera: Env, tmp_path: Path) -> None:
    """The [lore] table has the defaults; a mistake in it is an error."""
    config = Path(sera["OPENHERMES_HOME"]) / "config" / "config.toml"
    assert "The glade is old." not in prompts(chat(sera, tmp_path, "glades", "/show prompt"))[0]
    config.write_text("[lore]\nwhole_words = false\n")
    assert "The glade is old." in prompts(chat(sera, tmp_path, "glades", "/show prompt"))[0]
    config.write_text("[lore]\nshare = 101\n")
    wrong = chat(sera, tmp_path)
    assert (wrong.code, "[lore] share is 101; it can be 0 to 100" in wrong.stderr) == (78, True)


def test_dice_in_a_note_are_rolled_when_it_is_set(sera: Env, tmp_path: Path) -> None:
    """The note keeps the result."""
    result = chat(sera, tmp_path, "/note {{user}} is {{roll:1d1}} year old.", "/note", "hi {{roll:d1}}")
    assert "At depth 1: Bob is 1 year old." in result.stderr
    assert "Filled in the macros: hi 1" in result.stderr


def test_always_on_lore_that_does_not_fit_is_left_out_and_reported(sera: Env, tmp_path: Path) -> None:
    """A chat starts although constant entries that ignore the budget exceed the window."""
    world = {"key": [], "content": "long " * 2000, "constant": True, "ignoreBudget": True, "comment": "Huge"}
    book = tmp_path / "world.json"
    book.write_text(json.dumps({"entries": {"0": world, "1": world | {"content": "Short.", "comment": "S"}}}))
    result = chat(sera, tmp_path, "hi", "/lore", "/show prompt", flags=("--lore", str(book)))
    assert (result.code, result.stdout) == (0, b"Hello Bob.\nA1\n")
    assert "Lore entries that do not fit: 1; /lore shows which." in result.stderr
    assert re.search("Huge +left out: it does not fit", result.stderr)
    assert "Short." in prompts(result)[0][0]


def test_a_text_of_the_persona_has_the_saved_name_after_a_resume(sera: Env, tmp_path: Path) -> None:
    """A macro for the character's description has the user's name of the conversation."""
    sera_file = Path(sera["OPENHERMES_HOME"]) / "config" / "personas" / "sera.toml"
    changed = SERA.replace("guards the glade.", "guards {{user}}.").replace(
        "is old.", "is old. {{description}}"
    )
    sera_file.write_text(changed)
    chat(sera, tmp_path, "hi")
    result = hermes(
        *("chat", "-c", "-m", script(tmp_path, *TURNS)), env=sera, stdin=b"the glade\n/show prompt\n"
    )
    assert "The glade is old. Seraphina guards Bob." in prompts(result)[0]
