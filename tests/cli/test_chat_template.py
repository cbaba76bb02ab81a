"""`--chat-template` and `--raw` on the command line, with tiny models without ChatML's tokens."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.engines.test_chat_templates import write_base_gguf, write_family_gguf
from tests.run_hermes import hermes, script

Env = Mapping[str, str]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a base model: it has neither a template nor ChatML's tokens."""
    return str(write_base_gguf(tmp_path_factory.mktemp("base") / "base.gguf"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a model whose template cannot be compiled, with a second one that can."""
    path = tmp_path_factory.mktemp("broken") / "broken.gguf"
    changes = {
        "tokenizer.chat_template": "{% for %}",
        "tokenizer.chat_template.rag": "{{ messages[-1].content }}",
    }
    return str(write_family_gguf(path, "vicuna", changes))


def test_a_base_model_is_shown_but_refused_for_a_chat(home: Env, base: str) -> None:
    """The hint works: `--chat-template chatml` answers, and so does `--raw`."""
    shown = hermes("models", "show", base, env=home)
    assert (shown.code, b"--chat-template chatml" in shown.stdout) == (0, True)
    for command in (("ask", "hi"), ("chat",), ("tokens", "hi")):
        refused = hermes(*command, "-m", base, env=home)
        assert (refused.code, refused.stdout) == (69, b"")
        assert "no chat template" in refused.stderr
        assert "--chat-template chatml" in refused.stderr
    flags = ("-m", base, "--max-tokens", "2", "--seed", "1", "hi")
    for more in (("--chat-template", "chatml"), ("--raw",)):
        answered = hermes("ask", *flags, *more, env=home)
        assert answered.code == 0, answered.stderr
        assert answered.stdout.strip()


def test_the_plan_names_the_format(home: Env, base: str, broken: str, tmp_path: Path) -> None:
    """As text and as JSON, with the flag or the setting that requests it."""
    plan = hermes("models", "plan", base, "--chat-template", "chatml", "--json", env=home).json
    assert plan["plan"]["prompt_format"] == "ChatML as text (--chat-template)"
    assert "the prompt format is ChatML as text (--chat-template)" in plan["reason"]
    file = tmp_path / "mine.jinja"
    file.write_text("{{ messages[0].content }}")
    env = {**home, "OPENHERMES_CHAT_TEMPLATE": str(file)}
    source = "chat_template in the environment (OPENHERMES_CHAT_TEMPLATE)"
    planned = hermes("models", "plan", base, env=env).stdout.decode()
    assert f"the prompt format is chat template {file} ({source})" in planned
    named = hermes("models", "plan", broken, "--chat-template", "rag", env=env).stdout.decode()
    assert "the prompt format is the model's chat template 'rag' (--chat-template)" in named


def test_show_names_the_format_in_a_chat(home: Env, base: str) -> None:
    """With the reason of the plan."""
    shown = hermes("chat", "-m", base, "--chat-template", "chatml", env=home, stdin=b"/show\n")
    assert "the prompt format is ChatML as text (--chat-template)" in shown.stdout.decode() + shown.stderr


def test_an_unusable_template_is_found_before_the_model_is_loaded(
    home: Env, broken: str, tmp_path: Path
) -> None:
    """Its weights, which llama.cpp refuses, are not even read. So is one of a file."""
    for command in (("ask", "hi"), ("chat",), ("models", "plan"), ("tokens", "hi")):
        model = (broken,) if command[0] == "models" else ("-m", broken)
        result = hermes(*command, *model, env=home)
        assert (result.code, result.stdout) == (69, b"")
        assert "the model's chat template cannot be used: Expected an expression" in result.stderr
    data = bytearray(Path(broken).read_bytes())
    data[-1_000_000:] = b"\xff" * 1_000_000
    damaged, file = tmp_path / "damaged.gguf", tmp_path / "mine.jinja"
    damaged.write_bytes(data)
    file.write_text("{% for i in range(1000000000) %}{% endfor %}")
    result = hermes("ask", "-m", str(damaged), "--chat-template", str(file), "hi", env=home)
    assert (result.code, result.stdout) == (78, b"")
    assert f"the chat template {file} takes too much time or memory" in result.stderr


def test_an_unknown_name_lists_the_known_ones(home: Env, broken: str) -> None:
    """A missing file is another error."""
    result = hermes("ask", "-m", broken, "--chat-template", "tools", "hi", env=home)
    assert (result.code, "give chatml, rag or a file" in result.stderr) == (69, True)
    result = hermes("ask", "-m", broken, "--chat-template", "./no/file", "hi", env=home)
    assert (result.code, "there is no file no/file" in result.stderr) == (78, True)


def test_tokens_shows_the_text_of_raw(home: Env, base: str, tmp_path: Path) -> None:
    """It has no system prompt, and a file's text without its name."""
    file = tmp_path / "a.txt"
    file.write_text("Once upon\n")
    for arguments, stdin in ((("Once upon",), b""), ((), b"Once upon\n"), (("-f", str(file)), b"")):
        result = hermes("tokens", "--raw", "--json", "-m", base, *arguments, env=home, stdin=stdin)
        assert [token["text"] for token in result.json] == ["<s>", "Once", " upon"]
        assert [token["control"] for token in result.json] == [True, False, False]


def test_raw_has_no_persona_and_is_not_saved(home: Env, tmp_path: Path) -> None:
    """Also if the config file has a character and names for all speakers."""
    model = script(tmp_path, {"text": " a time"}, {"text": "no"})
    env = {**home, "OPENHERMES_PERSONA": "edward-elric", "OPENHERMES_NAMES": "always"}
    result = hermes("ask", "--raw", "-m", model, "Once {{char}} upon", env=env)
    assert (result.code, result.stdout, result.stderr) == (0, b" a time\n", "")
    assert not (Path(home["OPENHERMES_HOME"]) / "data/conversations.db").exists()
    report = hermes("ask", "--raw", "--json", "-m", model, "Once {{char}} upon", env=env).json
    text = "<|im_start|>user\nOnce {{char}} upon<|im_end|>\n<|im_start|>assistant\n"
    assert report["usage"]["prompt_tokens"] == len(text) - len("<|im_start|><|im_end|><|im_start|>") + 3
    assert hermes("ask", "--raw", "-m", model, env=env).code == 2


@pytest.mark.parametrize(
    "flags",
    [
        ("-p", "hermes-2"),
        ("-s", ""),
        ("--user", "Ed"),
        ("--lore", "x"),
        ("--var", "a=b"),
        ("--on-overflow", "drop"),
        ("-c",),
        ("-r", "1"),
        ("--fork",),
        ("--log",),
        ("--prefill", "a"),
        ("--then-chat",),
        ("--chat-template", "chatml"),
    ],
)
def test_raw_excludes_the_flags_of_conversations(home: Env, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """The error names the flag."""
    result = hermes("ask", "--raw", "-m", script(tmp_path, {"text": "x"}), *flags, "hi", env=home)
    assert (result.code, result.stdout) == (2, b"")
    assert "--raw excludes --" in result.stderr


def test_the_setting_is_checked(home: Env, base: str) -> None:
    """A missing file is an error of the config file, and a flag overrides the setting."""
    assert hermes("config", "set", "chat_template", "chatml", env=home).code == 0
    assert json.loads(hermes("models", "plan", base, "--json", env=home).stdout)["plan"]["prompt_format"] == (
        "ChatML as text (chat_template in the config file)"
    )
    env = {**home, "OPENHERMES_CHAT_TEMPLATE": "/nowhere/x.jinja"}
    result = hermes("ask", "-m", base, "hi", env=env)
    assert (result.code, "there is no file /nowhere/x.jinja" in result.stderr) == (78, True)
    assert hermes("models", "plan", base, "--chat-template", "chatml", env=env).code == 0
