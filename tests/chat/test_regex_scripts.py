"""Regex scripts change the text of turns as SillyTavern does, within limits of size and time."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hermes_cli.chat.lore import LoreMatcher
from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.chat.regex_scripts import MAX_TEXT, RegexScripts, Stage
from hermes_cli.chat.turn_scripts import GrowingText, answer_rewriter, displayed, with_scripts
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.personas.lorebook import Lorebook, LoreEntry, Position
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.regex_script import FindMacros, RegexScript, Target
from hermes_cli.untrusted.deadline import Deadline

ANN = Macros("Seraphina", "Ann (A.)")


def run(text: str, *scripts: RegexScript, macros: Macros = ANN) -> str:
    """Return the text after all scripts."""
    return RegexScripts(scripts).run(text, range(len(scripts)), macros)


@pytest.mark.parametrize(
    ("find", "replacement", "text", "expected"),
    [
        ("/a/", "X", "banana", "bXnana"),  # without the flag g, JavaScript replaces the first match
        ("/a/g", "X", "banana", "bXnXnX"),
        ("/A/gi", "X", "banana", "bXnXnX"),
        ("an", "X", "banana", "bXana"),  # without slashes
        ("/(b)(a)/", "$2$1$0$9", "banana", "abbanana"),  # there is no group 9
        ("/(?<first>b)/", "$<first>$<none>!", "banana", "b!anana"),
        ("/nan/", "[{{match}}|{{MATCH}}]", "banana", "ba[nan|nan]a"),
        ("/b/", "$$&", "banana", "$$&anana"),  # only $N and $<name> are references
        ("/(x)?b/", "[$1]", "banana", "[]anana"),
        ("/a$/", "X", "a\na\n", "a\na\n"),  # in JavaScript, $ is only the end
        ("/a$/gm", "X", "a\na\n", "X\nX\n"),
        ("/b[^]n/", "X", "b\nn", "X"),
        ("/(?<q>a)n\\k<q>/", "X", "banana", "bXna"),
        ("/x*/g", "-", "ab", "-a-b-"),
        ("/[\\u{1F600}-\\u{1F64F}]|\\\\u/gu", "X", "\U0001f601\\u", "XX"),
        ("/\\u{FFFFFF}/u", "X", "a", "a"),
        ("/b/", "{{char}} and {{user}}", "banana", "Seraphina and Ann (A.)anana"),
        ("/(?<!b)a/g", "", "banana", "bann"),
        ("/\\d/g", "", "a1", "a"),
        ("/(/", "X", "(", "("),
    ],
)
def test_a_script_replaces_as_javascript_does(find: str, replacement: str, text: str, expected: str) -> None:
    """The expected texts are those of `String.replace` and of SillyTavern's references."""
    assert run(text, RegexScript(find, replacement)) == expected


def test_strings_are_trimmed_from_references_only() -> None:
    """`trim` removes strings from what a reference inserts, with macros, and not from the replacement."""
    script = RegexScript("/<(.*?)>/g", "*$1*", trim=("*", "{{char}}: "))
    assert run("<Seraphina: *hi*> *x*", script) == "*hi* *x*"


@pytest.mark.parametrize(
    ("find_macros", "expected"),
    [
        (FindMacros.UNCHANGED, "Ann (A.) Ann A."),
        (FindMacros.FILLED, "Ann (A.) X"),
        (FindMacros.ESCAPED, "X Ann A."),
    ],
)
def test_macros_in_an_expression(find_macros: FindMacros, expected: str) -> None:
    """The name `Ann (A.)` is an expression if macros are expanded, and plain text if they are escaped."""
    script = RegexScript("/{{user}}/g", "X", find_macros=find_macros)
    assert run("Ann (A.) Ann A.", script) == expected


def test_scripts_run_in_order() -> None:
    """Each script reads the result of the previous one."""
    assert run("a", RegexScript("/a/", "b"), RegexScript("/b/", "c")) == "c"


@pytest.mark.parametrize(
    ("script", "stages"),
    [
        (RegexScript("a"), {Stage.ADD}),
        (RegexScript("a", on_edit=True), {Stage.ADD, Stage.EDIT}),
        (RegexScript("a", display=True, on_edit=True), {Stage.DISPLAY}),
        (RegexScript("a", prompt=True), {Stage.PROMPT}),
        (RegexScript("a", display=True, prompt=True), {Stage.DISPLAY, Stage.PROMPT}),
        (RegexScript("a", enabled=False), set()),
        (RegexScript(""), set()),
        (RegexScript("a", targets=(Target.USER,)), set()),
    ],
)
def test_the_stages_of_a_script(script: RegexScript, stages: set[Stage]) -> None:
    """A script for display or prompt only never changes the message itself."""
    scripts = RegexScripts((script,))
    assert {stage for stage in Stage if scripts.select(Target.ANSWER, stage)} == stages
    assert not any(replace(scripts, is_on=False).select(Target.ANSWER, stage) for stage in Stage)


@pytest.mark.parametrize(
    ("low", "high", "depths"),
    [(None, None, [0, 1, 2, 3]), (2, None, [2, 3]), (None, 1, [0, 1]), (1, 2, [1, 2]), (-1, 0, [0])],
)
def test_the_depths_of_a_script(low: int | None, high: int | None, depths: list[int]) -> None:
    """Both limits belong to the range."""
    scripts = RegexScripts((RegexScript("a", prompt=True, min_depth=low, max_depth=high),))
    assert [depth for depth in range(4) if scripts.select(Target.ANSWER, Stage.PROMPT, depth)] == depths


TURNS = [Message(Role.ASSISTANT, "a1"), Message(Role.USER, "a2"), Message(Role.ASSISTANT, "a3")]


def test_only_the_prompt_is_changed_by_a_prompt_script() -> None:
    """The last turn before the answer has depth 0. An answer that the model continues stays as it is."""
    script = RegexScript("/a/", "X", prompt=True, max_depth=1, targets=(Target.USER, Target.ANSWER))
    scripts = RegexScripts((script,))
    texts = [turn.text for turn in scripts.sent(TURNS, 2, ANN, Deadline())]
    assert texts == ["X1", "X2", "a3"]
    texts = [turn.text for turn in scripts.sent(TURNS, 3, ANN, Deadline())]
    assert texts == ["a1", "X2", "X3"]


def test_an_unchanged_turn_is_the_same_object() -> None:
    """Its token ids are reused."""
    scripts = RegexScripts((RegexScript("/z/", "X", prompt=True),))
    assert all(a is b for a, b in zip(scripts.sent(TURNS, 3, ANN, Deadline()), TURNS, strict=True))


def test_random_text_in_a_prompt_stays_the_same() -> None:
    """A prompt begins like the previous one, so that the prefix cache can be used."""
    scripts = RegexScripts((RegexScript("/a/", "{{random:1,2,3,4,5,6,7,8,9}}{{time}}", prompt=True),))
    first = scripts.sent(TURNS[:1], 1, ANN, Deadline())[0].text
    assert scripts.sent(TURNS, 3, ANN, Deadline())[0].text == first
    assert "a" not in first


def test_a_displayed_message() -> None:
    """A display script changes the text on the screen, by the role and the depth of the message."""
    settings = PromptSettings(scripts=RegexScripts((RegexScript("/a/", "X", display=True, min_depth=1),)))
    assert [displayed(settings, TURNS, index) for index in range(3)] == ["X1", "a2", "a3"]
    assert displayed(settings, TURNS, -1) == "a3"


def test_greetings_are_changed_as_answers_are_when_they_are_added() -> None:
    """Scripts for the display do not change a greeting."""
    scripts = (RegexScript("/a/", "X"), RegexScript("/b/", "Y", display=True))
    opening = with_scripts(
        Opening(None, (), ("ab", "c")), PromptSettings(scripts=RegexScripts(scripts), macros=ANN)
    )
    assert opening.greetings == ("Xb", "c")


@pytest.mark.parametrize(
    ("script", "text", "reason"),
    [
        (RegexScript("/(a|aa)+!/"), "a" * 5000 + "?", "takes longer than 50 ms"),
        (RegexScript("/(/"), "x", "not a regular expression"),
        (RegexScript("/" + "(?:a{99}){99}" * 2 + "/"), "x", "its repetitions make it larger"),
        (RegexScript("/x/g", "x" * 1000), "x" * 1000, "its result is longer than 200,000 characters"),
        (RegexScript("/x/", "$0" * 1001), "x", "more than 1,000 references"),
        (RegexScript("/x/", "{{description}}"), "x", "its result is longer"),
        (RegexScript("/(?:)/g", "-"), "x" * 10_001, "matches more than 10,000 times"),
        (RegexScript("/(x*)/", "$1" * 900), "x" * 1000, "its result is longer"),
    ],
)
def test_a_hostile_script_is_disabled_and_reported_once(script: RegexScript, text: str, reason: str) -> None:
    """The text stays as it is, and the script does not run again."""
    scripts = RegexScripts((script._replace(name="Bad\x1b[31m"),))
    macros = replace(ANN, texts={"description": "x" * (MAX_TEXT + 1)})
    assert scripts.run(text, [0], macros) == text
    (problem,) = scripts.new_problems()
    assert problem.startswith("The regex script 'Bad")
    assert reason in problem
    assert scripts.new_problems() == []
    assert not scripts.select(Target.ANSWER, Stage.ADD)


def test_scripts_stop_at_the_deadline() -> None:
    """A script that has not begun before the deadline does not run, and the deadline has a remark."""
    ticks = iter(range(1000))
    deadline = Deadline(0.5, lambda: float(next(ticks)))
    scripts = RegexScripts((RegexScript("/a/", "X"),))
    assert scripts.run("a", [0], ANN, deadline=deadline) == "a"
    assert deadline.skipped == {"regex scripts": "not all ran within 0.5 s"}


def test_a_script_that_passes_the_deadline_is_disabled() -> None:
    """A replacement with many macros cannot take longer than the turn may."""
    now = [0.0]

    def tick() -> float:
        now[0] += 0.02
        return now[0]

    scripts = RegexScripts((RegexScript("/a/g", "X"),))
    assert scripts.run("a" * 100, [0], ANN, deadline=Deadline(1, tick)) == "a" * 100
    assert "take longer than 1 s" in scripts.state.disabled[0]


def test_a_long_text_is_unchanged() -> None:
    """The limit for a text is the limit for a result."""
    text = "a" * (MAX_TEXT + 1)
    assert run(text, RegexScript("/a/g", "X")) == text


def grown(text: str, *scripts: RegexScript, size: int = 3) -> tuple[list[str], tuple[str, bool]]:
    """Return the texts that are displayed while an answer grows by `size` characters, and the last text."""
    settings = PromptSettings(scripts=RegexScripts(scripts), macros=ANN)
    rewrite = answer_rewriter(settings, 1, Stage.ADD, Stage.DISPLAY)
    assert rewrite
    growing = GrowingText(rewrite)
    pieces = [growing.add(text[at : at + size]) for at in range(0, len(text), size)]
    return pieces, growing.end()


LONG = "She smiles at you, and points at the old tower behind the trees. " * 3
HIDDEN = RegexScript("/<think>[\\s\\S]*?<\\/think>\\s*/g", "", display=True)


@pytest.mark.parametrize(
    "scripts",
    [
        (HIDDEN,),
        (HIDDEN, RegexScript("/smiles/g", "laughs")),
        (RegexScript('/"([^"]*)"/g', "“$1”"),),
        (RegexScript("/\\s+$/", ""), HIDDEN),
        (RegexScript("/^([\\s\\S]*)$/", "<b>$1</b>"),),
        (RegexScript("/tower/", "keep"),),
        (RegexScript("/\\n{2,}/g", "\n"),),
    ],
)
def test_a_growing_answer_is_displayed_as_the_whole_one(scripts: tuple[RegexScript, ...]) -> None:
    """The pieces add up to the text that the whole answer becomes, and none of them is taken back."""
    text = f'{LONG}<think>What would she\n\n\nsay? "No".</think>\n\n"Go," she says.\n\n\n{LONG}'
    pieces, (rest, is_whole) = grown(text, *scripts)
    assert not is_whole
    assert "".join(pieces) + rest == run(text, *scripts)


def test_most_of_an_answer_is_displayed_while_it_grows() -> None:
    """Only the text from an unfinished match is held back."""
    pieces, _ = grown(f"{LONG}<think>hmm{LONG}", HIDDEN)
    assert "".join(pieces) == LONG


def test_an_answer_whose_beginning_changes_is_displayed_again() -> None:
    """A lookahead to text that does not exist yet changes text that is already displayed."""
    pieces, end = grown(f"{LONG}END", RegexScript("/She(?=[\\s\\S]*END)|$^/g", "He"))
    assert end[0].startswith("He") or "".join(pieces) == ""
    pieces, end = grown(f"{LONG}<b>{LONG}<a>", RegexScript("/(?<!x)She(?![\\s\\S]*<b>)/", "He"))
    assert end == (f"{LONG}<b>{LONG.replace('She', 'He', 1)}<a>", True)


def test_an_answer_that_takes_long_while_it_grows_is_complete_at_its_end() -> None:
    """The CPU time for a growing answer is limited; its end has a limit of its own."""
    settings = PromptSettings(scripts=RegexScripts((RegexScript("/She/g", "He"),)), macros=ANN)
    ticks = iter(range(10_000))
    growing = Deadline(30, lambda: float(next(ticks)))
    rewrite = answer_rewriter(settings, 1, Stage.ADD, growing=growing)
    assert rewrite
    answer = GrowingText(rewrite)
    pieces = [answer.add(LONG) for _ in range(20)]
    assert pieces[0]
    assert pieces[-1] == ""
    rest, is_whole = answer.end()
    assert ("".join(pieces) + rest, is_whole) == ((LONG * 20).replace("She", "He"), False)


def test_the_text_of_a_turn_in_a_prompt_does_not_change_with_the_time() -> None:
    """The result of a script is kept, so that the prefix cache can be used."""
    hours = iter(range(10))
    macros = replace(ANN, clock=lambda: datetime(2026, 1, 1, next(hours), tzinfo=UTC))
    scripts = RegexScripts((RegexScript("/a/", "{{isotime}} ", prompt=True, targets=(Target.USER,)),))
    texts = [scripts.sent([TURNS[1]], 1, macros, Deadline())[0].text for _ in range(2)]
    assert texts == ["00:00 2"] * 2


def test_scripts_for_lore_change_its_text_in_the_prompt() -> None:
    """As in SillyTavern, only a script for the prompt does, and the depth is that of the entry."""
    entry = LoreEntry("a dragon", constant=True, position=Position.DEPTH, depth=3)
    for script, expected in (
        (RegexScript("/a/", "the", prompt=True, targets=(Target.LORE,)), "the dragon"),
        (RegexScript("/a/", "the", prompt=True, targets=(Target.LORE,), max_depth=2), "a dragon"),
        (RegexScript("/a/", "the", targets=(Target.LORE,)), "a dragon"),
        (RegexScript("/a/", "the", prompt=True), "a dragon"),
    ):
        lore = LoreMatcher([Lorebook((entry,))], ANN, scripts=RegexScripts((script,)))
        assert lore.text(0, 1) == expected
