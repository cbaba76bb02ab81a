"""The key `tokenizer` of a server: answers, plans, `hermes doctor`, `hermes config`, and errors."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.cli.test_doctor import config_file, findings
from tests.engines.remote.fakes.lmstudio import FakeLMStudio
from tests.engines.remote.fakes.vllm import FakeVLLM
from tests.engines.remote.local_tokenizers import family_model, starter_model, write_tokenizer
from tests.prompts.chat_templates import FAMILIES
from tests.run_hermes import hermes

Env = Mapping[str, str]


@pytest.fixture
def lmstudio(starter_path: Path) -> Iterator[FakeLMStudio]:
    """LM Studio with the starter as its model."""
    with FakeLMStudio(starter_model(starter_path)) as fake:
        yield fake


def configure(env: Env, url: str, tokenizer: str, **more: str) -> None:
    """Write the config file with the server `work`."""
    lines = {"url": url, "tokenizer": tokenizer, **more}
    text = "".join(f'{key} = "{value}"\n' for key, value in lines.items())
    config_file(env).write_text(f"[servers.work]\n{text}")


def test_tokens_are_exact_with_the_tokenizer_of_an_installed_model(
    starter_home: Env, lmstudio: FakeLMStudio
) -> None:
    """Nothing is printed about them. A prompt that is too long is refused with the server's number."""
    configure(starter_home, lmstudio.url, "starter")
    lmstudio.model.answers = ["Hello."]
    asked = hermes("ask", "-m", "work", "Hi", env=starter_home)
    assert (asked.code, asked.stdout, asked.stderr) == (0, b"Hello.\n", "")
    text = "Tell me a story. " * 300 + "The end."
    refused = hermes("ask", "--system", "Be brief.", "-m", "work", text, env=starter_home)
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    model = lmstudio.model
    assert refused.code == 65
    assert f"the prompt is {len(model.encode(model.render(turns))):,} tokens long" in refused.stderr


def test_the_tokenizer_is_kept_if_another_model_cannot_be_opened(
    starter_home: Env, lmstudio: FakeLMStudio
) -> None:
    """The conversation continues with exact counts."""
    configure(starter_home, lmstudio.url, "starter")
    lmstudio.model.answers = ["Hello.", "Again."]
    lines = b"Hi\n/model http://127.0.0.1:9/v1:none\n/tokens\nMore\n"
    result = hermes("chat", "-m", "work", stdin=lines, env=starter_home)
    assert "connection to the server http://127.0.0.1:9 failed" in " ".join(result.stderr.split())
    assert b"Again." in result.stdout
    assert "estimates" not in result.stderr
    assert "\u2248" not in result.stderr


def test_a_gguf_is_named_by_its_path(
    home: Env, lmstudio: FakeLMStudio, starter_path: Path, tmp_path: Path
) -> None:
    """It needs no suffix: Ollama's files have none."""
    blob = tmp_path / "sha256-0123"
    blob.symlink_to(starter_path)
    configure(home, lmstudio.url, str(blob))
    result = hermes("models", "plan", "--json", "work", env=home)
    assert result.code == 0, result.stderr
    assert (result.json["level"], result.json["exact_token_counts"]) == (2, True)
    assert result.json["tokenizer"] == "sha256-0123"


def test_the_plan_and_doctor_say_where_tokens_are_counted(starter_home: Env, lmstudio: FakeLMStudio) -> None:
    """The exit codes are 0."""
    configure(starter_home, lmstudio.url, "starter")
    plan = hermes("models", "plan", "work", env=starter_home)
    assert "2 of 3: the server makes the prompts; tokens are counted here with starter" in (
        plan.stdout.decode()
    )
    report = hermes("doctor", "--json", env={**starter_home, "OPENHERMES_MODEL": "scripted:none.toml"}).json
    assert report["servers"] == [
        ["work", lmstudio.url, "LM Studio", "1 model", "tokens counted here with starter"]
    ]
    assert not [found for found in report["findings"] if found["code"].startswith("server")]


def test_the_plan_says_why_a_tokenizer_is_not_used(starter_home: Env) -> None:
    """The server is used as without it."""
    with FakeVLLM(family_model(FAMILIES["llama-3"], "llama-bpe")) as fake:
        configure(starter_home, fake.url, "starter")
        plan = hermes("models", "plan", "work", env=starter_home)
        report = hermes("models", "plan", "--json", "work", env=starter_home).json
    assert "2 of 3: the server makes the prompts and counts their tokens" in plan.stdout.decode()
    reason = "vLLM makes other token ids of a conversation than the tokenizer of starter"
    assert f"not used: {reason}" in plan.stdout.decode()
    assert (report["tokenizer"], report["tokenizer_problem"]) == ("", reason)


@pytest.mark.parametrize(
    ("tokenizer", "messages"),
    [
        ("/nowhere/model.gguf", ("there is no file or folder /nowhere/model.gguf", "'hermes models list'")),
        ("~/model.gguf", ("there is no file or folder ~/model.gguf", "'hermes models list'")),
        ("starter", ("starter is not on this machine", "'hermes models pull starter'")),
        ("no-such-model", ("there is no model 'no-such-model'", "a short name")),
        ("{folder}/damaged.gguf", ("damaged cannot be used: ", "correct servers.work.tokenizer")),
        ("{folder}/empty", ("{folder}/empty contains no model", "correct servers.work.tokenizer")),
    ],
)
@pytest.mark.parametrize("command", [["ask", "Hi"], ["chat"], ["tokens", "Hi"]])
def test_a_missing_or_broken_tokenizer_is_an_error_before_the_server_is_asked(
    home: Env, tmp_path: Path, command: list[str], tokenizer: str, messages: tuple[str, str]
) -> None:
    """The exit code is that of a missing model."""
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF" + bytes(20))
    (tmp_path / "empty").mkdir()
    with FakeLMStudio() as fake:
        configure(home, fake.url, tokenizer.format(folder=tmp_path))
        result = hermes(*command, "-m", "work", env=home, stdin=b"Hi\n")
        assert (result.code, result.stdout, fake.requests) == (69, b"", [])
    printed = " ".join(result.stderr.split())
    assert f"hermes: the tokenizer of the server work: {messages[0].format(folder=tmp_path)}" in printed
    assert messages[1] in printed
    assert "'hermes config unset servers.work.tokenizer'" in printed


def test_a_tokenizer_that_cannot_be_loaded_is_an_error(home: Env, tmp_path: Path) -> None:
    """Its template or its contents are only read when the server is opened."""
    folder = write_tokenizer(tmp_path / "tiny", FAMILIES["llama-3"], "llama-bpe")
    (folder / "tokenizer.json").write_text("{}")
    with FakeLMStudio() as fake:
        configure(home, fake.url, str(folder))
        result = hermes("ask", "-m", "work", "Hi", env=home)
    assert (result.code, result.stdout) == (69, b"")
    assert "the tokenizer of the server work: " in result.stderr


def test_doctor_reports_a_missing_tokenizer_with_its_fix(home: Env) -> None:
    """It is a problem, even if the server does not answer."""
    env = {**home, "OPENHERMES_MODEL": "scripted:none.toml"}
    configure(env, "http://127.0.0.1:9/v1", "/nowhere/model.gguf")
    found = {one["code"]: one for one in findings(env)}
    assert found["server-tokenizer"]["is_problem"]
    assert "/nowhere/model.gguf" in found["server-tokenizer"]["message"]
    assert "hermes config unset servers.work.tokenizer" in found["server-tokenizer"]["fix"]


def test_a_name_is_not_looked_up_in_the_current_folder(
    home: Env, tmp_path: Path, lmstudio: FakeLMStudio
) -> None:
    """A folder of a stranger could have that name."""
    write_tokenizer(tmp_path / "tiny", FAMILIES["llama-3"], "llama-bpe")
    (tmp_path / "owner").mkdir()
    write_tokenizer(tmp_path / "owner" / "tiny", FAMILIES["llama-3"], "llama-bpe")
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        for name in ("tiny", "owner/tiny"):
            configure(home, lmstudio.url, name)
            assert hermes("ask", "-m", "work", "Hi", env=home).code == 69
    finally:
        os.chdir(before)


def test_a_folder_in_the_models_folder_is_named_by_its_name(home: Env) -> None:
    """It needs no weights."""
    family = FAMILIES["llama-3"]
    models = Path(home["OPENHERMES_HOME"]) / "data" / "models"
    models.mkdir(parents=True)
    write_tokenizer(models / "tiny", family, "llama-bpe")
    with FakeVLLM(family_model(family, "llama-bpe")) as fake:
        configure(home, fake.url, "tiny")
        report = hermes("models", "plan", "--json", "work", env=home).json
    assert (report["level"], report["tokenizer"]) == (1, "tiny")


def test_the_key_is_set_shown_and_checked(home: Env) -> None:
    """A relative path is refused, as it would depend on the current folder."""
    config_file(home).write_text('[servers.work]\nurl = "http://x/v1"\n')
    assert hermes("config", "set", "servers.work.tokenizer", "~/m.gguf", env=home).code == 0
    assert b"tokenizer = ~/m.gguf" in hermes("config", "show", env=home).stdout
    refused = hermes("config", "set", "servers.work.tokenizer", "models/m.gguf", env=home)
    assert refused.code != 0
    assert "neither a model's name nor a path that begins with / or ~/" in refused.stderr
    assert 'tokenizer = "~/m.gguf"' in config_file(home).read_text()
