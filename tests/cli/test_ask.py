"""`hermes ask` and `hermes tokens` over the scripted engine: input, output and exit codes."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.run_hermes import Result, hermes, script

Env = Mapping[str, str]


def prompt_of(result: Result) -> str:
    """Return the ChatML text that `hermes tokens --json` lists."""
    return "".join(token["text"] for token in result.json)


def tokens(*arguments: str, env: Env, tmp_path: Path, stdin: bytes = b"") -> str:
    """Return the prompt that the arguments give."""
    result = hermes("tokens", "--json", "-s", "", "-m", script(tmp_path), *arguments, env=env, stdin=stdin)
    assert result.code == 0, result.stderr
    return prompt_of(result)


def user(text: str) -> str:
    """Return the prompt for one user turn."""
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


def test_stdout_is_the_answer_and_one_newline(home: Env, tmp_path: Path) -> None:
    """The answer is unchanged, and standard error is empty."""
    model = script(tmp_path, {"text": " Grün,\r\n\trot\x1b[0m \n"})
    result = hermes("ask", "-m", model, "Colours?", env=home)
    assert (result.code, result.stdout, result.stderr) == (0, " Grün,\r\n\trot\x1b[0m \n\n".encode(), "")


def test_no_stream_prints_the_same_answer(home: Env, tmp_path: Path) -> None:
    """One newline follows the answer."""
    result = hermes("ask", "--no-stream", "-m", script(tmp_path, {"text": "Hi "}), "x", env=home)
    assert result.stdout == b"Hi \n"


def test_the_prompt_is_stdin_then_files_then_arguments(home: Env, tmp_path: Path) -> None:
    """Each file is preceded by its name."""
    (tmp_path / "a.txt").write_text("A\n")
    name = str(tmp_path / "a.txt")
    prompt = tokens("-f", name, "sum", "up", env=home, tmp_path=tmp_path, stdin=b"in\n")
    assert prompt == user(f"in\n\n{name}:\nA\n\nsum up")


@pytest.mark.parametrize(
    ("stdin", "text"),
    [
        (b"a\n", "a"),
        (b"a\n\n", "a\n"),
        (b" a \r\nb\r\n", " a \r\nb"),
        (b"\xef\xbb\xbfa", "a"),
        ("e\u0301\ufeff\u200b".encode(), "e\u0301\ufeff\u200b"),
    ],
)
def test_stdin_and_files_are_used_unchanged(home: Env, tmp_path: Path, stdin: bytes, text: str) -> None:
    """Only one line break at the end and a byte-order mark at the start are removed."""
    assert tokens(env=home, tmp_path=tmp_path, stdin=stdin) == user(text)
    (tmp_path / "a.txt").write_bytes(stdin)
    name = str(tmp_path / "a.txt")
    assert tokens("-f", name, env=home, tmp_path=tmp_path) == user(f"{name}:\n{text}")


@pytest.mark.parametrize("stdin", [b"", b"\n", b" \n\t\n"])
def test_stdin_without_text_adds_nothing(home: Env, tmp_path: Path, stdin: bytes) -> None:
    """Empty standard input, as in cron, adds nothing to the prompt."""
    assert tokens("hi", env=home, tmp_path=tmp_path, stdin=stdin) == user("hi")


def test_a_dash_is_standard_input(home: Env, tmp_path: Path) -> None:
    """It is read once. After the first word of the prompt, a dash is text."""
    for arguments in (["-", "x"], ["-f", "-", "x"], ["-f", "-", "-", "x"]):
        assert tokens(*arguments, env=home, tmp_path=tmp_path, stdin=b"in\n") == user("in\n\nx")
    assert tokens("3", "-", "2", env=home, tmp_path=tmp_path) == user("3 - 2")


def test_words_after_f_that_name_files_are_files(home: Env, tmp_path: Path) -> None:
    """A shell expands `-f *.txt` to one flag and several words. Without -f, a word is text."""
    one, two = (str(tmp_path / name) for name in ("1.txt", "2.txt"))
    for path in (one, two):
        Path(path).write_text("A")
    model = script(tmp_path)
    result = hermes("tokens", "--json", "-s", "", "-m", model, "-f", one, two, "x" * 300, env=home)
    assert prompt_of(result) == user(f"{one}:\nA\n\n{two}:\nA\n\n{'x' * 300}")
    assert f"read as files, like the names after -f: {two}" in result.stderr
    assert tokens(two, env=home, tmp_path=tmp_path) == user(two)


def test_the_answer_begins_with_the_prefill(home: Env, tmp_path: Path) -> None:
    """In the prompt the prefill begins the assistant's turn."""
    model = script(tmp_path, {"text": "b"})
    assert hermes("ask", "-m", model, "--prefill", "a", "x", env=home).stdout == b"ab\n"
    assert hermes("ask", "-m", model, "--prefill", "a", "--no-stream", "x", env=home).stdout == b"ab\n"
    assert tokens("--prefill", "a", "x", env=home, tmp_path=tmp_path) == user("x") + "a"


def test_json_prints_one_object_with_the_counts(home: Env, tmp_path: Path) -> None:
    """It also has the text, the finish reason, the model and the timings."""
    result = hermes("ask", "--json", "-s", "", "-m", script(tmp_path, {"text": 'Hi "ü"'}), "x", env=home)
    printed: dict[str, Any] = result.json
    assert set(printed.pop("timings")) == {"prefill_s", "decode_s"}
    assert printed == {
        "text": 'Hi "ü"',
        "reasoning": "",
        "finish_reason": "stop",
        "model": "scripted",
        "usage": {
            "prompt_tokens": len("0user\nx1\n0assistant\n"),
            "completion_tokens": 6,
            "cached_tokens": 0,
            "reasoning_tokens": 0,
        },
    }


def test_an_answer_cut_by_max_tokens_is_reported_on_stderr(home: Env, tmp_path: Path) -> None:
    """The exit code is 0."""
    result = hermes("ask", "-m", script(tmp_path, {"text": "abcdef"}), "--max-tokens", "3", "x", env=home)
    assert (result.stdout, result.code) == (b"abc\n", 0)
    assert "the answer was cut: max_tokens is 3" in result.stderr


def test_an_answer_that_fails_midway_is_printed_and_exits_75(home: Env, tmp_path: Path) -> None:
    """The engine's error is printed on standard error."""
    result = hermes("ask", "-m", script(tmp_path, {"text": "So", "error": "out-of-memory"}), "x", env=home)
    assert (result.stdout, result.code) == (b"So\n", 75)
    assert "out-of-memory" in result.stderr


def test_a_prompt_longer_than_the_context_exits_65_with_the_counts(home: Env, tmp_path: Path) -> None:
    """Nothing is printed on standard output."""
    model = script(tmp_path, {"text": "x"}, context_size=100)
    result = hermes("ask", "-s", "", "-m", model, env=home, stdin=b"y" * 150)
    assert (result.code, result.stdout) == (65, b"")
    assert "169 tokens" in result.stderr
    assert "100" in result.stderr
    assert result.stderr.endswith("send less of standard input; or choose a model with a longer context\n")


def test_the_hint_for_a_long_prompt_names_its_files(home: Env, tmp_path: Path) -> None:
    """They are what the user can shorten."""
    path = tmp_path / "long.txt"
    path.write_text("y" * 200)
    model = script(tmp_path, {"text": "x"}, context_size=100)
    result = hermes("ask", "-s", "", "-m", model, "-f", str(path), "x", env=home)
    assert f"send less of {path}; or" in result.stderr


@pytest.mark.parametrize("where", ["config file", "environment (OPENHERMES_PERSONA)", ""])
def test_a_persona_that_does_not_exist_is_reported_with_its_setting(home: Env, where: str) -> None:
    """A persona given by a flag is in no setting."""
    env, arguments = home, [] if where else ["-p", "nobody"]
    if where == "config file":
        hermes("config", "set", "persona", "nobody", env=home)
    elif where:
        env = {**home, "OPENHERMES_PERSONA": "nobody"}
    result = hermes("ask", *arguments, "x", env=env)
    message, hint = result.stderr.splitlines()[-2:]
    assert (result.code, message) == (78, "hermes: there is no persona 'nobody'")
    assert (f"the persona is set in the {where};" in hint) is bool(where)
    assert "lists them" in hint


BAD: dict[str, tuple[list[str], bytes, int, str]] = {
    "no prompt": ([], b"", 2, "prompt is empty"),
    "only a newline": ([], b"\n", 2, "prompt is empty"),
    "only whitespace": (["  "], b" \n\t", 2, "prompt is empty"),
    "stdin not UTF-8": ([], b"ab\xff", 2, "byte 2 is 0xff"),
    "stdin with NUL": ([], b"ab\0", 2, "NUL character at position 2"),
    "argument not UTF-8": (["\udcff"], b"", 2, "not UTF-8"),
    "prefill not UTF-8": (["--prefill", "\udcff", "x"], b"", 2, "not UTF-8"),
    "system not UTF-8": (["-s", "\udcff", "x"], b"", 2, "not UTF-8"),
    "no such file": (["-f", "nowhere.txt", "x"], b"", 2, "there is no file nowhere.txt"),
    "a web page": (["-f", "https://example.org", "x"], b"", 2, "curl -s URL | hermes ask"),
    "a folder as file": (["-f", "/", "x"], b"", 2, "/ is a folder"),
    "temperature too high": (
        ["--temperature", "9", "x"],
        b"",
        2,
        "--temperature: temperature cannot be 9; it can be 0 to 5",
    ),
    "temperature no number": (["--temperature", "hot", "x"], b"", 2, "takes a number, not 'hot'"),
    "temperature nan": (["--temperature", "nan", "x"], b"", 2, "temperature"),
    "max tokens zero": (["--max-tokens", "0", "x"], b"", 2, "1 to"),
    "top-k not whole": (["--top-k", "1.5", "x"], b"", 2, "whole number"),
    "empty stop": (["--stop", "", "x"], b"", 2, "empty string"),
    "context no number": (["--context", "big", "x"], b"", 2, "--context takes"),
    "context too small for llama.cpp": (
        ["-m", "starter", "--context", "1", "x"],
        b"",
        2,
        "use --context 64 or more",
    ),
    "context too large": (["--context", "99999999999", "x"], b"", 2, "1 to 10,000,000"),
    "unknown flag": (["--temprature", "1", "x"], b"", 2, "--temperature"),
    "no such persona": (["--persona", "edward", "x"], b"", 78, "edward-elric"),
    "no such model": (["-m", "openhermes-3", "x"], b"", 69, "openhermes"),
    "no such model file": (["-m", "./nowhere.gguf", "x"], b"", 69, "nowhere.gguf"),
    "a model not pulled": (["-m", "openhermes-2", "x"], b"", 69, "hermes models pull openhermes-2"),
    "no such script": (["-m", "scripted:nowhere", "x"], b"", 78, "nowhere"),
}


@pytest.mark.parametrize("case", BAD, ids=lambda name: name.replace(" ", "-"))
def test_bad_input_gets_a_message_and_its_exit_code(
    home: Env, starter_home: Env, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no traceback and nothing on standard output."""
    arguments, stdin, code, words = BAD[case]
    result = hermes("ask", *arguments, env=starter_home if "starter" in arguments else home, stdin=stdin)
    assert (result.code, result.stdout) == (code, b""), result.stderr
    errors = result.stderr + capsys.readouterr().err  # typer prints usage errors itself
    assert words in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "GGUF"), (b"not a model at all", "GGUF"), (b"GGUF\x03\0\0\0" + b"\xff" * 16, "tensors")],
)
def test_a_file_that_is_not_a_model_is_refused(home: Env, tmp_path: Path, data: bytes, words: str) -> None:
    """The message has the reason, and the exit code is 69."""
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    result = hermes("ask", "-m", str(path), "x", env=home)
    assert (result.code, result.stdout) == (69, b"")
    assert words in result.stderr


def test_a_truncated_model_is_refused_with_its_sizes(home: Env, tmp_path: Path, starter_path: Path) -> None:
    """They are the size of the file and the size that it should have."""
    path = tmp_path / "cut.gguf"
    with starter_path.open("rb") as whole:
        path.write_bytes(whole.read(50_000_000))
    result = hermes("ask", "-m", str(path), "x", env=home)
    assert result.code == 69
    assert "50,000,000" in result.stderr
    assert "98,362,432" in result.stderr


def test_a_syntax_error_in_the_config_exits_78_with_its_position(home: Env) -> None:
    """The position is the line and the column."""
    folder = Path(home["OPENHERMES_HOME"]) / "config"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("model = \n")
    result = hermes("ask", "x", env=home)
    assert result.code == 78
    assert "line 1, column 9" in result.stderr


def test_the_prefill_is_not_printed_if_the_prompt_is_refused(home: Env, tmp_path: Path) -> None:
    """Standard output is empty."""
    model = script(tmp_path, {"text": "x"}, context_size=100)
    result = hermes("ask", "-m", model, "--prefill", "Well, ", "y" * 200, env=home)
    assert (result.code, result.stdout) == (65, b"")


@pytest.mark.parametrize("name", ["config", "persona"])
def test_a_toml_file_that_is_slow_to_parse_is_refused(home: Env, tmp_path: Path, name: str) -> None:
    """The parser takes a minute for a key with 40,000 dots."""
    folder = Path(home["OPENHERMES_HOME"]) / "config"
    folder.mkdir(parents=True)
    path = folder / "config.toml" if name == "config" else tmp_path / "slow.toml"
    path.write_text("a." * 40_000 + "a = 1")
    result = hermes("ask", "-p", str(path) if name == "persona" else "hermes-2", "x", env=home)
    assert result.code == 78
    assert "too many dots" in result.stderr


def test_an_endless_file_is_refused(home: Env, tmp_path: Path) -> None:
    """A device is not read, and a file only up to 64 MiB."""
    device = hermes("ask", "-f", "/dev/zero", "x", env=home)
    assert (device.code, "is not a regular file" in device.stderr) == (2, True)
    with (tmp_path / "large").open("wb") as large:
        large.truncate(1 << 40)
    result = hermes("ask", "-f", str(tmp_path / "large"), "x", env=home)
    assert (result.code, "larger than 64 MiB" in result.stderr) == (2, True)


def test_stats_prints_prefill_and_decode_on_stderr(home: Env, tmp_path: Path) -> None:
    """Standard output is the answer."""
    result = hermes("ask", "--stats", "-m", script(tmp_path, {"text": "Hello"}), "x", env=home)
    assert result.stdout == b"Hello\n"
    assert "prefill" in result.stderr
    assert "decode 4 tokens" in result.stderr


def test_loop_guard_ends_an_answer_that_repeats_itself(home: Env, tmp_path: Path) -> None:
    """The reason is printed on standard error, or in the JSON."""
    model = script(tmp_path, {"text": "la ", "forever": True})
    result = hermes("ask", "--loop-guard", "30", "-m", model, "Sing!", env=home)
    assert result.code == 0
    assert result.stdout == b"la " * 11 + b"\n"
    assert "repeated itself for 30 tokens" in result.stderr
    assert hermes("ask", "--json", "-m", model, "Sing!", env=home).json["finish_reason"] == "loop"


def test_the_source_of_a_configured_model_that_does_not_exist_is_named(home: Env) -> None:
    """It is the environment variable, or the config file."""
    result = hermes("ask", "hi", env={**home, "OPENHERMES_MODEL": "nope"})
    assert result.code == 69
    assert "the model is set in the environment (OPENHERMES_MODEL); " in result.stderr
    config = Path(home["OPENHERMES_HOME"]) / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('model = "nope"\n')
    assert "the model is set in the config file; " in hermes("ask", "hi", env=home).stderr
    assert "the model is set" not in hermes("ask", "-m", "nope", "hi", env=home).stderr


def test_an_option_outside_its_table_names_the_table(home: Env) -> None:
    """The generation options are in [options]."""
    config = Path(home["OPENHERMES_HOME"]) / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("temperature = 0.4\n")
    result = hermes("ask", "hi", env=home)
    assert result.code == 78
    assert "temperature belongs in the [options] table" in result.stderr


def test_the_title_is_the_question_without_standard_input(home: Env, tmp_path: Path) -> None:
    """Standard input is often a long text that says nothing about the conversation."""
    model = script(tmp_path, {"text": "x"})
    assert hermes("ask", "--log", "-m", model, "Which city?", env=home, stdin=b"data data").code == 0
    listed = hermes("sessions", "list", env=home).stdout.decode()
    assert listed.endswith("  Which city?\n")


def test_the_name_of_an_attached_file_may_be_any_bytes(home: Env, tmp_path: Path) -> None:
    """In the prompt and in the saved conversation, a replacement character stands for each invalid byte."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.txt"))
    path.write_text("y")
    model = script(tmp_path, {"text": "fine"})
    result = hermes("ask", "--log", "-m", model, "-f", str(path), "x", env=home)
    assert (result.code, result.stdout) == (0, b"fine\n"), result.stderr
    shown = hermes("sessions", "show", "1", env=home).stdout.decode()
    assert f"{tmp_path}/\ufffd\ufffd.txt:\ny\n\nx" in shown


@pytest.mark.parametrize("kind", ["toml", "txt", "json"])
def test_the_name_of_a_persona_file_may_be_any_bytes(home: Env, tmp_path: Path, kind: str) -> None:
    """It is found by its path and by its key, and a later turn finds it again."""
    text = {
        "toml": 'system = "Be brief."',
        "txt": "Be brief.",
        "json": '{"name": "", "description": "x", "first_mes": "y"}',
    }[kind]
    folder = Path(home["OPENHERMES_HOME"], "config", "personas")
    folder.mkdir(parents=True)
    path = Path(os.fsdecode(os.fsencode(folder) + b"/\xff." + kind.encode()))
    path.write_text(text)
    model = script(tmp_path, {"text": "fine"})
    for persona in (["-p", str(path)], ["-p", path.stem], ["-c"]):
        result = hermes("ask", "--log", "-m", model, *persona, "x", env=home)
        assert (result.code, result.stdout, result.stderr) == (0, b"fine\n", ""), persona
    assert hermes("personas", "export", path.stem, env=home).code == 0
