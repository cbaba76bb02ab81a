"""The syntax of commands, and the commands on the next message and on past answers, in a pipe."""

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.config import Paths
from hermes_cli.repl import command_table
from hermes_cli.repl.command_table import command_line
from hermes_cli.store.store import Store
from tests.run_hermes import Result, hermes, script

Env = Mapping[str, str]
A1, A2, A3 = {"text": "A1"}, {"text": "A2"}, {"text": "A3"}


def chat(
    env: Env,
    tmp_path: Path,
    *lines: str,
    turns: tuple[Mapping[str, Any], ...] = (A1, A2, A3),
    size: int = 4096,
) -> Result:
    """Run `hermes chat` in the test's folder with the lines on standard input."""
    stdin = "".join(f"{line}\n" for line in lines).encode()
    with contextlib.chdir(tmp_path):
        return hermes(
            "chat", "-m", script(tmp_path, *turns, context_size=size), "-s", "S", env=env, stdin=stdin
        )


def tree(env: Env) -> tuple[list[str], list[str]]:
    """Return the texts in the tree of the latest conversation, and those on its visible path."""
    with contextlib.closing(Store(Paths.from_environment(env).conversations)) as store:
        last = store.conversations()[0]
        return [node.text for node in store.tree(last.id)], [node.text for node in store.path(last.leaf)]


def turn(role: str, text: str) -> str:
    """Return a closed ChatML turn."""
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


def row(result: Result, name: str) -> str:
    """Return the text of the last table row with this name."""
    return str(re.findall(rf"^ +{name}  +(\S.*)$", result.stderr, re.MULTILINE)[-1])


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/help", "help"),
        ("/", ""),
        ("/nonsense", "nonsense"),
        ("/system\ntwo\nlines", "system\ntwo\nlines"),
        ("!help", "help"),
        ("!!regen", "regen"),
        (".exit", "exit"),
        (".bye", "bye"),
        (".set x", "set x"),
        ("!set temperature 1", "set temperature 1"),
        ("!!set  x ", "set  x "),
    ],
)
def test_a_command_is_the_text_after_its_mark(text: str, command: str) -> None:
    """The marks are `/` and those of other programs: `!`, `!!` and `.`."""
    assert command_line(text) == command


@pytest.mark.parametrize(
    "text",
    [
        *("", "help", "//etc", " /help", " !help", "\t.exit", "!!!help", "..exit", "!", ".", "!?", "!Help"),
        *("!clearly", "...", ".5 is a half", "!important", ".net is fine", "! help", ".set\tx"),
        *("!help\nme", ".exit\n", "!set x\nand y"),
        *(
            "/usr/bin/foo: failed",
            "/etc/passwd",
            "/help/me",
            "/exit\nand more",
            "/etc\nis full",
            "/help\nme\n",
        ),
    ],
)
def test_a_line_that_only_resembles_a_command_is_a_message(text: str) -> None:
    """Such a line has other marks, an unknown word after `!` or `.`, a path, or several lines."""
    assert command_line(text) is None


def test_every_name_and_alias_is_a_command_after_every_mark() -> None:
    """The marks are `/`, `!`, `!!` and `.`."""
    names = [n for command in command_table.COMMANDS for n in (command.name, *command.aliases) if n.isalpha()]
    for name in names:
        assert {command_line(f"{mark}{name}") for mark in ("/", "!", "!!", ".")} == {name}


def test_attached_files_precede_the_next_message_only(home: Env, tmp_path: Path) -> None:
    """`/file` attaches a file; without an argument it lists the attached files."""
    (tmp_path / "my notes.txt").write_text("Ships\nand storms.\n")
    (tmp_path / "é.md").write_text("/exit")
    lines = ("/file my notes.txt", "/file é.md", "/file", "What is this?", "/file", "And?", "/show prompt")
    result = chat(home, tmp_path, *lines)
    assert (result.code, result.stdout) == (0, b"A1\nA2\n")
    message = "my notes.txt:\nShips\nand storms.\n\né.md:\n/exit\n\nWhat is this?"
    assert turn("user", message) + turn("assistant", "A1") + turn("user", "And?") in result.stderr
    assert "my notes.txt (31 characters) is sent with your next message." in result.stderr
    assert "\nmy notes.txt\né.md\n" in result.stderr
    assert "No files are attached." in result.stderr


def test_an_attached_file_can_be_removed(home: Env, tmp_path: Path) -> None:
    """`/file -` removes it."""
    (tmp_path / "secret.txt").write_text("secret")
    result = chat(home, tmp_path, "/file secret.txt", "/file -", "/file", "Hi", "/show prompt")
    assert result.stderr.count("No files are attached.") == 2
    assert turn("user", "Hi") in result.stderr


def test_only_text_files_can_be_attached(home: Env, tmp_path: Path) -> None:
    """`/file` refuses everything but a regular UTF-8 text file, and the conversation goes on."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"a\0b")
    (tmp_path / "latin").write_bytes(b"\xe9t\xe9")
    os.mkfifo(tmp_path / "pipe")
    names = ("missing.txt", "folder", "binary", "latin", "pipe", "latin/x")
    result = chat(home, tmp_path, *(f"/file {name}" for name in names), "/file", "Hi", "/show prompt")
    assert (result.code, result.stdout) == (2, b"A1\n")
    for words in (
        "there is no file missing.txt",
        "folder is not a file",
        "binary contains a NUL",
        "latin is not UTF-8",
    ):
        assert words in result.stderr
    assert "pipe is not a file" in result.stderr
    assert "No files are attached." in result.stderr
    assert turn("user", "Hi") in result.stderr


@pytest.mark.parametrize(
    "name", ["~nobody-is-called-this/x", "x" * 300, "folder/" * 700], ids=lambda n: n[:9]
)
def test_an_impossible_file_name_is_a_usage_error(home: Env, tmp_path: Path, name: str) -> None:
    """The next line is answered."""
    result = chat(home, tmp_path, f"/file {name}", "Hi")
    assert (result.code, result.stdout) == (2, b"A1\n")
    assert "bug in hermes" not in result.stderr


def test_continue_sends_the_last_answer_as_a_prefill(home: Env, tmp_path: Path) -> None:
    """The longer answer is added beside the first one."""
    turns = ({"text": "One,\ntwo"}, {"text": ", three"})
    result = chat(home, tmp_path, "count", "/continue", "/show prompt", "/tree", turns=turns)
    assert (result.code, result.stdout) == (0, b"One,\ntwo\ntwo, three\n")
    prompt = turn("system", "S") + turn("user", "count") + turn("assistant", "One,\ntwo, three")
    assert prompt + turn("user", "") + "<|im_start|>assistant\n" in result.stderr
    before, after = "One,\ntwo", "One,\ntwo, three"
    assert tree(home) == (["count", before, after], ["count", after])
    assert "     2   it: One, two\n>    3   it: One, two, three" in result.stderr


def test_continue_takes_the_prompt_from_the_kv_cache(home: Env, tmp_path: Path) -> None:
    """One token remains to be prefilled."""
    turns = ({"text": "abc"}, {"text": "def"})
    result = chat(home, tmp_path, "/stats", "q", "/continue", turns=turns)
    prompt_tokens = len("S") + len("q") + 2 * 2 + 2 + len("system\n" + "user\n") + 1 + len("assistant\n")
    cached_tokens = prompt_tokens + len("abc") - 1  # the last generated token has not been evaluated
    assert f"prefill 1 token in 0.00 s, {cached_tokens} more from the cache" in re.sub(
        r", [0-9.]+ tok/s", "", result.stderr
    )


def test_continue_extends_an_answer_cut_by_max_tokens(home: Env, tmp_path: Path) -> None:
    """`/continue` extends an answer that max_tokens cut."""
    turns = ({"text": "abcdef"}, {"text": "defghi"})
    result = chat(home, tmp_path, "/set max_tokens 3", "q", "/continue", "next", turns=(*turns, A3))
    assert result.stdout == b"abc\nabcdef\nA3\n"
    assert result.stderr.count("(cut short: max_tokens is 3)") == 2
    assert tree(home)[1] == ["q", "abcdef", "next", "A3"]


@pytest.mark.parametrize(("turn_", "code"), [({"text": ""}, 0), ({"text": "", "error": "failed"}, 1)])
def test_continue_keeps_the_answer_if_it_adds_no_text(
    home: Env, tmp_path: Path, turn_: Mapping[str, Any], code: int
) -> None:
    """The model returns no text, or fails before it returns any."""
    result = chat(home, tmp_path, "q", "/continue", "next", turns=(A1, turn_, A2))
    assert (result.code, result.stdout) == (code, b"A1\nA2\n")
    assert tree(home) == (["q", "A1", "next", "A2"],) * 2


def test_continue_without_an_answer_is_refused(home: Env, tmp_path: Path) -> None:
    """After `/clear` there is no answer, either."""
    result = chat(home, tmp_path, "/continue", "/clear", "/continue")
    assert (result.code, result.stdout) == (2, b"")
    assert result.stderr.count("there is no answer here yet") == 2


def test_tokens_of_the_parts_of_the_prompt_add_up(home: Env, tmp_path: Path) -> None:
    """`/context` and `/tokens` list the tokens of each part of the prompt, their sum and the free rest."""
    folder = Path(home["OPENHERMES_HOME"]) / "config" / "personas"
    folder.mkdir(parents=True)
    (folder / "ed.toml").write_text(
        'system = "abcde"\ngreeting = "Hi!"\n[[examples]]\nuser = "<|im_end|>"\nassistant = "é日"\n'
    )
    turns = ({"text": "answer"}, {"text": "other"})
    result = chat(home, tmp_path, "/persona ed", "one", "two", "/context", "/tokens", turns=turns)

    def cost(role: str, text: str) -> int:
        return 1 + len(f"{role}\n{text}") + 1 + 1  # each token of the scripted engine is one character

    turn_tokens = (
        cost("assistant", "Hi!") + cost("user", "one") + cost("assistant", "answer") + cost("user", "two")
    )
    parts = {
        "system prompt and persona": cost("system", "abcde"),
        "examples": cost("user", "<|im_end|>") + cost("assistant", "é日"),
        "turns, 3 of 3": turn_tokens + cost("assistant", "other") - 2,  # the last answer is not closed
    }
    for name, count in parts.items():
        assert len(re.findall(rf"^  {name} +{count}  [▏▎▍▌▋▊▉█]", result.stderr, re.MULTILINE)) == 2, name
    assert row(result, "total").startswith(f"{sum(parts.values())}  of 4,096 tokens")
    assert row(result, "free").startswith(f"{4096 - sum(parts.values()):,}  1,024 of them are reserved")


@pytest.mark.parametrize("lines", [("/system -",), (), ("one", "/regen", "/undo"), ("one", "/continue")])
def test_the_token_total_is_the_prompts_length(home: Env, tmp_path: Path, lines: tuple[str, ...]) -> None:
    """The sum in `/tokens` is the number of tokens in the prompt."""
    result = chat(home, tmp_path, *lines, "/tokens")
    parts = [int(number) for number in re.findall(r"^  .+ (\d+)  [▏▎▍▌▋▊▉█]", result.stderr, re.MULTILINE)]
    assert row(result, "total").startswith(f"{sum(parts)}  of 4,096 tokens")
    visible = "" if "/system -" in lines else turn("system", "S")
    head = "<|im_start|>assistant\n"
    prompt = f"{visible}{turn('user', 'one')}{head}A1A2" if "/continue" in lines else f"{visible}{head}"
    assert sum(parts) == len(re.sub(r"<\|im_\w+\|>", "x", prompt))


def test_a_full_window_has_no_free_tokens(home: Env, tmp_path: Path) -> None:
    """`/tokens` reports a full context window with 0 tokens free."""
    result = chat(home, tmp_path, "q", "/tokens", turns=({"text": "x", "forever": True},), size=100)
    assert "the context window of 100 tokens is full" in result.stderr
    assert row(result, "total").startswith("100  of 100 tokens")
    assert row(result, "free").startswith("0  ")


def test_tokens_counts_the_tokens_of_a_text(home: Env, tmp_path: Path) -> None:
    """The spelling of a control token counts as text."""
    result = chat(home, tmp_path, "/tokens h", "/tokens hé <|im_end|>", "/tokens  two  words ")
    assert result.stderr.splitlines()[-3:] == ["1 token", "13 tokens", "10 tokens"]
    assert result.stdout == b""


def test_stats_prints_the_last_answers_cost_and_toggles(home: Env, tmp_path: Path) -> None:
    """`/stats` also switches the statistics after each answer on or off."""
    lines = ("/stats", "/stats", "one", "/stats", "two", "/stats", "three")
    result = chat(home, tmp_path, *lines)
    printed = re.sub(r" in [0-9.]+ s(, [0-9.,]+ tok/s)?", "", result.stderr).splitlines()
    assert [line for line in printed if "prefill" in line or "tatistics" in line] == [
        "Statistics are printed after each answer.",
        "Statistics are off.",
        "  prefill 33 tokens · decode 1 token",
        "Statistics are printed after each answer.",
        "(prefill 25 tokens, 34 more from the cache · decode 1 token)",
        "  prefill 25 tokens, 34 more from the cache · decode 1 token",
        "Statistics are off.",
    ]


def test_copy_in_a_pipe_is_refused(home: Env, tmp_path: Path) -> None:
    """No control sequence is written."""
    result = chat(home, tmp_path, "one", "/copy", "/copy code", "two")
    assert (result.code, result.stdout) == (2, b"A1\nA2\n")
    assert "there is no terminal with a clipboard" in result.stderr
    assert "\x1b" not in result.stderr
    none_yet = chat(home, tmp_path, "/copy")
    assert (none_yet.code, none_yet.stdout) == (2, b"")
    assert "no answer to copy yet" in none_yet.stderr


def test_copy_does_not_copy_a_personas_example(home: Env, tmp_path: Path) -> None:
    """Without another answer there is nothing to copy."""
    folder = Path(home["OPENHERMES_HOME"]) / "config" / "personas"
    folder.mkdir(parents=True)
    (folder / "ed.toml").write_text('system = "x"\n[[examples]]\nuser = "a"\nassistant = "b"\n')
    assert "no answer to copy yet" in chat(home, tmp_path, "/persona ed", "/copy").stderr


def test_plain_and_multiline_change_no_answers_in_a_pipe(home: Env, tmp_path: Path) -> None:
    """Both commands print a message."""
    turns = ({"text": "**one**\r\n"}, {"text": "**two**"})
    result = chat(home, tmp_path, "/plain", "/multiline", "1", "/plain", "/multiline", "2", turns=turns)
    assert (result.code, result.stdout) == (0, b"**one**\r\n\n**two**\n")
    for words in ("as plain text", "as Markdown", "Alt-Enter sends", "Enter sends again"):
        assert words in result.stderr


def test_export_reports_a_file_name_that_is_too_long(home: Env, tmp_path: Path) -> None:
    """The next line is answered."""
    result = chat(home, tmp_path, "one", f"/export markdown {'x' * 300}", "two")
    assert "File name too long" in result.stderr
    assert result.stdout == b"A1\nA2\n"


def test_show_prompt_shows_a_carriage_return(home: Env, tmp_path: Path) -> None:
    """A carriage return in a file of the user is sent, so the prompt shows it."""
    (tmp_path / "notes.txt").write_bytes(b"one\r\ntwo")
    result = chat(home, tmp_path, "/file notes.txt", "Hi", "/show prompt")
    assert "one\u240d\ntwo" in result.stderr


def test_impersonate_is_refused_in_a_pipe(home: Env, tmp_path: Path) -> None:
    """There is no prompt for the draft, and no answer of the script is used up."""
    result = chat(home, tmp_path, "/impersonate", "hi")
    assert (result.code, result.stdout) == (2, b"A1\n")
    assert "/impersonate needs a prompt at which you edit the draft" in result.stderr


def test_removing_what_is_not_set_says_so(home: Env, tmp_path: Path) -> None:
    """`-` removes a note and a system prompt only once."""
    result = chat(home, tmp_path, "/note -", "/note Rain.", "/note -", "/system -", "/system -")
    lines = [line for line in result.stderr.splitlines() if "note" in line or "system" in line]
    assert lines[0] == "There is no note."
    assert lines[2:] == ["Removed the note.", "Removed the system prompt.", "There is no system prompt."]


@pytest.mark.parametrize(
    ("line", "message"), [("/impersonate now", "takes no text"), ("/user -", "/user takes a name")]
)
def test_an_argument_without_a_meaning_is_refused(home: Env, tmp_path: Path, line: str, message: str) -> None:
    """It is not ignored."""
    assert message in chat(home, tmp_path, line).stderr
