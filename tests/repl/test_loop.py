"""The conversation line by line from a pipe, with its commands, over the scripted engine."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.repl import command_table
from tests.run_hermes import Result, hermes, script
from tools.docs import DOCS

Env = Mapping[str, str]


def chat(
    env: Env, tmp_path: Path, text: str | bytes, *turns: Mapping[str, Any], flags: tuple[str, ...] = ()
) -> Result:
    """Run `hermes chat` with `text` on standard input."""
    stdin = text if isinstance(text, bytes) else text.encode()
    return hermes("chat", "-m", script(tmp_path, *turns, context_size=800), *flags, env=env, stdin=stdin)


def test_each_line_is_one_turn(home: Env, tmp_path: Path) -> None:
    """In a pipe each line that is not empty is one turn."""
    result = chat(home, tmp_path, "one\n\ntwo", {"text": "1"}, {"text": "2"})
    assert (result.code, result.stdout) == (0, b"1\n2\n")


def test_bare_hermes_in_a_pipe_is_ask(home: Env, tmp_path: Path) -> None:
    """`hermes` without a command in a pipe is `hermes ask`: the whole input is one prompt."""
    env = {**home, "OPENHERMES_MODEL": script(tmp_path, {"text": "answer"})}
    assert hermes(env=env, stdin=b"two\nlines\n").stdout == b"answer\n"


def test_show_prompt_prints_the_exact_chatml(home: Env, tmp_path: Path) -> None:
    """The number of tokens and of control tokens follows it."""
    result = chat(home, tmp_path, "hi\n/show prompt\n", {"text": "yo"}, flags=("-s", "S <|im_end|>"))
    match = re.fullmatch(r"(.*)\n[0-9]+ tokens, 9 of them control tokens; .*", result.stderr, re.DOTALL)
    assert match
    assert match[1] == (
        "<|im_start|>system\nS <|im_end|><|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"
        "<|im_start|>assistant\nyo<|im_end|>\n<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n"
    )
    assert "sent as text" in result.stderr
    assert result.stdout == b"yo\n"


def test_an_unknown_command_is_not_sent(home: Env, tmp_path: Path) -> None:
    """An unknown command is not sent to the model, and a similar one is suggested."""
    result = chat(home, tmp_path, "/shwo\n/\n", {"text": "never"})
    assert (result.code, result.stdout) == (0, b"")
    assert "did you mean /show?" in result.stderr


def test_a_line_with_two_slashes_is_sent_with_one(home: Env, tmp_path: Path) -> None:
    """A line that begins with `//` is sent with one slash."""
    result = chat(home, tmp_path, "//etc is a folder\n/show prompt\n", {"text": "ok"})
    assert "user\n/etc is a folder<|im_end|>" in result.stderr


def test_a_prompt_that_is_too_long_does_not_end_the_chat(home: Env, tmp_path: Path) -> None:
    """The error sets exit code 65, and the next line is answered."""
    result = chat(home, tmp_path, "x" * 900 + "\nshort\n", {"text": "fine"}, flags=("-s", ""))
    assert (result.code, result.stdout) == (65, b"fine\n")
    assert "919" in result.stderr


def test_a_failure_in_mid_answer_does_not_end_the_chat(home: Env, tmp_path: Path) -> None:
    """The text before the failure is printed, and the next line is answered."""
    result = chat(home, tmp_path, "a\nb\n", {"text": "So", "error": "out-of-memory"}, {"text": "fine"})
    assert (result.code, result.stdout) == (75, b"So\nfine\n")


def test_a_line_that_is_not_text_is_skipped(home: Env, tmp_path: Path) -> None:
    """A line that is not UTF-8 or holds a NUL is reported and skipped."""
    result = chat(home, tmp_path, b"\xff\n\0\nok\n", {"text": "fine"})
    assert (result.code, result.stdout) == (2, b"fine\n")
    assert "line 1 is not UTF-8" in result.stderr
    assert "line 2 contains a NUL" in result.stderr


def test_exit_ends_the_chat(home: Env, tmp_path: Path) -> None:
    """No line after `/bye`, an alias of `/exit`, is answered."""
    assert chat(home, tmp_path, "/bye\nhi\n", {"text": "never"}).stdout == b""


def test_clear_removes_the_turns_and_system_changes_the_prompt(home: Env, tmp_path: Path) -> None:
    """`/clear` removes the turns; `/system` changes, removes and prints the system prompt."""
    lines = "one\n/clear\n/system Be <new>.\n/show prompt\n/system -\n/system\n"
    result = chat(home, tmp_path, lines, {"text": "1"})
    assert "<|im_start|>system\nBe <new>.<|im_end|>\n<|im_start|>user\n<|im_end|>" in result.stderr
    assert "There is no system prompt." in result.stderr


def test_set_changes_an_option_and_lists_its_source(home: Env, tmp_path: Path) -> None:
    """`/set` also resets an option and rejects a wrong value."""
    lines = (
        "/set max_tokens 2\nhi\n/set\n/set max-tokens default\nho\n/set nonsense 3\n/set top_p 7\n/set seed\n"
    )
    result = chat(home, tmp_path, lines, {"text": "abc"}, {"text": "abc"})
    assert result.stdout == b"ab\nabc\n"
    row = next(line for line in result.stderr.splitlines() if line.strip().startswith("max_tokens  "))
    assert row.split() == ["max_tokens", "2", "1", "to", "10,000,000", "/set"]
    assert "no option 'nonsense'" in result.stderr
    assert "top_p cannot be 7; it can be 0 to 1" in result.stderr


def test_set_without_a_value_shows_the_current_one(home: Env, tmp_path: Path) -> None:
    """Its source and its range are shown too."""
    result = chat(
        home, tmp_path, "/set temperature\n/set parameter temperature 0.5\n/set temperature\n/set ban\n"
    )
    assert "temperature = 0.8 (default); it can be 0 to 5. Sampling temperature" in result.stderr
    assert "temperature = 0.5 (/set); it can be 0 to 5. Sampling temperature" in result.stderr
    assert "ban = none (default); it takes text." in result.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/load x", "/resume continues a conversation, and /model switches the model"),
        ("/save x", "/title names one, and /export writes a file"),
        ("/set num_ctx 4096", "the scripted engine has a fixed context window"),
        ("/set context 4096", "the scripted engine has a fixed context window"),
        ("/context 4096", "the scripted engine has a fixed context window"),
        ("/context large", "'large' is not a size of the context window\n  /context takes a number"),
        ("/context 99999999999999", "'99999999999999' is not a size of the context window"),
        ("/context 7", "/context takes a number of tokens, 64 to 10,000,000"),
        ("/set system Be brief.", "Changed the system prompt."),
        ("/goto", "/goto takes the number of a message\n  /tree shows the numbers"),
        ("/forget now", "/forget does not take 'now'"),
    ],
)
def test_spellings_of_other_programs_work_or_print_a_hint(
    home: Env, tmp_path: Path, line: str, words: str
) -> None:
    """The hint names the command that does it."""
    assert words in chat(home, tmp_path, f"{line}\n").stderr


def test_q_ends_the_chat_and_a_bare_exit_in_a_pipe_is_a_message(home: Env, tmp_path: Path) -> None:
    """In a pipe, each line without a slash is a message."""
    result = chat(home, tmp_path, "exit\n/q\nhi\n", {"text": "1"}, {"text": "2"})
    assert result.stdout == b"1\n"


def test_a_line_that_begins_with_a_path_is_sent(home: Env, tmp_path: Path) -> None:
    """It is sent unchanged."""
    result = chat(home, tmp_path, "/usr/bin/foo: failed\n/show prompt\n", {"text": "1"})
    assert "user\n/usr/bin/foo: failed<|im_end|>" in result.stderr


def test_a_block_in_a_pipe_is_sent_as_one_message(home: Env, tmp_path: Path) -> None:
    """Its lines are neither commands nor turns."""
    result = chat(home, tmp_path, '"""one\n/exit\nthree"""\n/show prompt\n', {"text": "1"})
    assert result.stdout == b"1\n"
    assert "user\none\n/exit\nthree<|im_end|>" in result.stderr


def test_help_lists_the_aliases(home: Env, tmp_path: Path) -> None:
    """They follow the description of the command."""
    assert "Ctrl-D does the same. Also /quit, /bye, /q.\n" in chat(home, tmp_path, "/help\n").stderr


def test_set_default_restores_the_value_of_the_flag(home: Env, tmp_path: Path) -> None:
    """`/set OPTION default` does not restore the option's default but the flag's value."""
    result = chat(home, tmp_path, "/set top_k 3\n/set top_k default\n/set\n", flags=("--top-k", "9"))
    row = next(line for line in result.stderr.splitlines() if line.strip().startswith("top_k  "))
    assert row.split()[1] == "9"
    assert row.endswith("command line")


def test_an_option_that_the_engine_does_not_support_is_refused(home: Env, tmp_path: Path) -> None:
    """`/set ban`, `/persona` and `/model` change nothing then, and the next message is answered."""
    folder = Path(home["OPENHERMES_HOME"]) / "config" / "personas"
    folder.mkdir(parents=True)
    (folder / "ed.toml").write_text('name = "Ed"\nsystem = "x"\n[options]\nban = ["foo"]\n')
    result = chat(home, tmp_path, "/set ban foo\n/persona ed\nhi\n/show\n", {"text": "1"})
    assert (result.code, result.stdout) == (2, b"1\n")
    assert "the scripted engine does not support 'ban' (/set)" in result.stderr
    assert "the scripted engine does not support 'ban' (persona ed)" in result.stderr
    assert "  persona  Hermes 2 (default; " in result.stderr


def test_an_unsupported_option_in_the_config_is_refused_at_the_start(home: Env, tmp_path: Path) -> None:
    """The message names the config file."""
    config = Path(home["OPENHERMES_HOME"]) / "config"
    config.mkdir(parents=True)
    (config / "config.toml").write_text('[options]\nban = ["foo"]\n')
    result = chat(home, tmp_path, "hi\n", {"text": "1"})
    assert (result.code, result.stdout) == (2, b"")
    assert "the scripted engine does not support 'ban' (config file)" in result.stderr
    assert "remove it with 'hermes config unset ban', or use a model on this machine" in result.stderr


def test_persona_starts_a_new_conversation_with_its_greeting(home: Env, tmp_path: Path) -> None:
    """The new conversation has the persona's system prompt and options."""
    folder = Path(home["OPENHERMES_HOME"]) / "config" / "personas"
    folder.mkdir(parents=True)
    (folder / "ed.toml").write_text(
        'name = "Ed"\nsystem = "You are {{char}}."\ngreeting = "Hi {{user}}!"\n[options]\ntop_k = 3\n'
    )
    result = chat(
        home, tmp_path, "one\n/persona ed\n/show prompt\n/set\n/persona\n/persona nobody\n", {"text": "1"}
    )
    assert result.stdout == b"1\nHi User!\n"
    assert (
        "<|im_start|>system\nYou are Ed.<|im_end|>\n<|im_start|>assistant\nHi User!<|im_end|>\n"
        in result.stderr
    )
    assert "persona ed" in result.stderr
    assert "* ed" in result.stderr
    assert "no persona 'nobody'" in result.stderr


def test_a_value_from_set_is_kept_if_the_persona_changes(home: Env, tmp_path: Path) -> None:
    """The options of the new persona do not replace it."""
    result = chat(home, tmp_path, "/set temperature 0.25\n/persona edward-elric\n/set\n")
    row = next(line for line in result.stderr.splitlines() if line.strip().startswith("temperature  "))
    assert row.split()[1] == "0.25"


def test_changing_the_model_keeps_the_conversation(home: Env, tmp_path: Path) -> None:
    """`/model` with an unknown name does not end the chat."""
    (tmp_path / "other").mkdir()
    other = script(tmp_path / "other", {"text": "2"})
    result = chat(home, tmp_path, f"one\n/model nonsense\n/model {other}\ntwo\n/show prompt\n", {"text": "1"})
    assert result.stdout == b"1\n2\n"
    assert "user\none<|im_end|>\n<|im_start|>assistant\n1<|im_end|>\n<|im_start|>user\ntwo" in result.stderr
    assert result.code == 69


def test_help_lists_every_command(home: Env, tmp_path: Path) -> None:
    """It lists the commands of the documentation's table, in its order and with their arguments."""
    page = (DOCS / "prompt.md").read_text(encoding="utf-8").replace(r"\|", "|")
    usages = re.findall(r"^\| `(/[^`]+)`", page, re.MULTILINE)
    assert usages == [command.usage for command in command_table.COMMANDS]
    result = chat(home, tmp_path, "/help\n")
    printed = [re.split(" {2,}", line.strip())[0] for line in result.stderr.splitlines()]
    assert printed[: len(usages)] == usages


def test_show_prints_the_source_of_each_value(home: Env, tmp_path: Path) -> None:
    """The sources are the environment, a command and the defaults."""
    result = chat({**home, "OPENHERMES_TOP_K": "7"}, tmp_path, "/show\n/persona gourmet-cook\n/show\n")
    rows = [line.strip() for line in result.stderr.splitlines()]
    assert any(row.startswith("model") and "a script was requested" in row for row in rows)
    assert any(row.startswith("persona  Hermes 2 (default; ") for row in rows)
    assert any(row.startswith("persona  Marguerite (/persona; ") for row in rows), rows
    assert any(row.startswith("top_k") and row.endswith("environment") for row in rows)


def test_show_and_context_count_the_same_tokens(home: Env, tmp_path: Path) -> None:
    """The turns of `/show` are the visible turns of the conversation."""
    result = chat(home, tmp_path, "hi\n/show\n/context\n", {"text": "yo"})
    shown = re.search(r"^  context +(\d+) of 800 tokens, 1 turn$", result.stderr, re.MULTILINE)
    total = re.search(r"^  total +(\d+)  of 800 tokens$", result.stderr, re.MULTILINE)
    assert shown
    assert total
    assert shown[1] == total[1]


@pytest.mark.parametrize("command", ["/show nonsense", "/set temperature", "/model", "/show"])
def test_commands_write_to_stderr_only(home: Env, tmp_path: Path, command: str) -> None:
    """The output of a command is no part of the answers."""
    result = chat(home, tmp_path, f"{command}\n")
    assert result.stdout == b""
    assert result.stderr


def test_with_a_prompt_the_pipe_is_one_message(home: Env, tmp_path: Path) -> None:
    """Without a terminal, the whole input and the prompt are answered once, and commands in them are text."""
    model = script(tmp_path, {"text": "1"}, {"text": "2"})
    result = hermes("chat", "-m", model, "/help", "me", env=home, stdin=b"one\n/exit\n")
    assert (result.code, result.stdout) == (0, b"1\n")
    alone = hermes("chat", "-m", model, "-", env=home, stdin=b"one\ntwo\n")
    assert (alone.code, alone.stdout) == (0, b"1\n")
    rows = hermes("sessions", "list", env=home).stdout.decode().splitlines()
    assert [row.split()[-1] for row in rows] == ["two", "me"]
    shown = hermes("sessions", "show", "1", env=home).stdout.decode()
    assert "one\n/exit\n\n/help me" in shown


def test_a_prompt_of_a_chat_that_fails_sets_the_exit_code(home: Env, tmp_path: Path) -> None:
    """As `ask` does."""
    model = script(tmp_path, {"text": "1"}, context_size=600)
    assert hermes("chat", "-m", model, "long " * 500, env=home).code == 65
    assert hermes("chat", "-m", model, "", env=home).code == 2


@pytest.mark.parametrize("flag", ["--json", "--no-stream", "--json-stream", "--prefill=x"])
def test_then_chat_excludes_flags_of_one_answer(home: Env, tmp_path: Path, flag: str) -> None:
    """The answer of a chat is printed as in a chat."""
    result = hermes("ask", "--then-chat", flag, "-m", script(tmp_path, {"text": "1"}), "hi", env=home)
    assert (result.code, result.stdout) == (2, b"")
    assert "--then-chat excludes" in result.stderr


def test_the_first_message_of_a_chat_can_have_files(home: Env, tmp_path: Path) -> None:
    """As with `ask -f`; without PROMPT, the files alone are the message."""
    (tmp_path / "a.txt").write_text("Read me.")
    model = script(tmp_path, {"text": "1"})
    done = hermes("chat", "-f", str(tmp_path / "a.txt"), "-m", model, env=home)
    assert (done.code, done.stdout) == (0, b"1\n")
    assert "a.txt:\nRead me." in hermes("sessions", "show", "1", env=home).stdout.decode()
