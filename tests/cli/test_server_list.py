"""Servers in `hermes models list`, `plan`, `show` and others, in `hermes doctor`, and in `hermes config`."""

import io
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.application.runtime import Runtime
from hermes_cli.application.server_list import all_states, states_text
from hermes_cli.screen.terminal import Terminal
from tests.cli.test_doctor import config_file, findings
from tests.engines.remote.clients import FAKES
from tests.engines.remote.fakes.http_server import Fault, Reply
from tests.engines.remote.fakes.lmstudio import FakeLMStudio
from tests.engines.remote.fakes.ollama import FakeOllama
from tests.engines.remote.fakes.openai_server import FakeOpenAI
from tests.engines.remote.fakes.vllm import FakeVLLM
from tests.run_hermes import hermes

Env = Mapping[str, str]
NOWHERE = "http://127.0.0.1:9/v1"
KEY = "sk-secret-0123456789"


@pytest.fixture
def vllm() -> Iterator[FakeVLLM]:
    """A running vLLM."""
    with FakeVLLM() as fake:
        yield fake


def configure(env: Env, **servers: str) -> None:
    """Write the config file with tables of servers, each as the text after its heading."""
    config_file(env).write_text("".join(f"[servers.{name}]\n{text}\n" for name, text in servers.items()))


def test_a_list_without_the_flag_contacts_no_server(home: Env, vllm: FakeVLLM) -> None:
    """It names the configured servers, one in each line."""
    configure(home, work=f'url = "{vllm.url}"\nmodel = "hermes"', other=f'url = "{NOWHERE}"')
    result = hermes("models", "list", env=home)
    assert result.code == 0
    lines = result.stdout.decode().splitlines()
    after = lines[lines.index("servers") + 1 :]
    assert [line.split() for line in after] == [["work", vllm.url, "hermes"], ["other", NOWHERE]]
    assert "'hermes models list --servers'" in result.stderr
    assert not vllm.requests


def test_an_invalid_config_file_does_not_hide_the_other_models(home: Env) -> None:
    """`hermes doctor` reports it."""
    config_file(home).write_text("[servers.work]\nurl = 3")
    result = hermes("models", "list", env=home)
    assert result.code == 0
    assert b"openhermes-2:gguf" in result.stdout
    assert hermes("models", "list", "--servers", env=home).code == 78


@pytest.mark.parametrize(
    ("kind", "title", "row"),
    [
        ("llama-server", "llama-server b7000-abc", ["s:hermes", "loaded", "context", "1,024"]),
        ("lmstudio", "LM Studio", ["s:hermes", "loaded", "context", "1,024"]),
        ("ollama", "Ollama 0.40.0", ["s:openhermes:latest", "not", "loaded", "context", "up", "to", "8,192"]),
        ("openai", "the OpenAI API", ["s:hermes"]),
        ("vllm", "vLLM 0.11.0", ["s:hermes", "loaded", "context", "1,024"]),
    ],
)
def test_the_models_of_a_server_are_listed(home: Env, kind: str, title: str, row: list[str]) -> None:
    """Each with the argument of -m, whether it is loaded, and its context window."""
    with FAKES[kind]() as fake:
        configure(home, s=f'url = "{fake.url}"')
        result = hermes("models", "list", "--servers", env=home)
    lines = result.stdout.decode().splitlines()
    assert lines[0] == f"s · {fake.url} · {title}"
    assert lines[1].split() == row


def test_a_loaded_model_of_ollama_is_marked(home: Env) -> None:
    """With the context window that it is loaded with."""
    with FakeOllama() as fake:
        fake.is_loaded, fake.others = True, ["mistral:7b"]
        configure(home, s=f'url = "{fake.url}"\nkind = "ollama"')
        lines = hermes("models", "list", "--servers", env=home).stdout.decode().splitlines()
    assert [line.split() for line in lines if line.startswith("  s:")] == [
        ["s:openhermes:latest", "loaded", "context", "1,024"],
        ["s:mistral:7b", "not", "loaded"],
    ]


def test_a_slow_and_a_missing_server_do_not_delay_the_list(home: Env, vllm: FakeVLLM) -> None:
    """All servers are asked at once, for two seconds."""
    # `slow` answers each request in time, but not all that are needed.
    with FakeVLLM(fault=Fault(before_s=1)) as slow, FakeVLLM(fault=Fault(before_s=60)) as slower:
        configure(
            home,
            slow=f'url = "{slow.url}"',
            **{f"slower{number}": f'url = "{slower.url}"\nkind = "vllm"' for number in range(5)},
            gone=f'url = "{NOWHERE}"',
            work=f'url = "{vllm.url}"',
        )
        begin = time.monotonic()
        result = hermes("models", "list", "--servers", env=home)
        assert time.monotonic() - begin < 10
    text = result.stdout.decode()
    assert result.code == 0
    assert text.count("within 2 seconds") + text.count("for 2 seconds") >= 6
    assert "connection refused" in text
    assert "work:hermes" in text


def runtime(env: Env) -> Runtime:
    """Return the context of a command without a terminal."""
    terminal = Terminal(io.BytesIO(), io.BytesIO(), io.StringIO(), False, False, False)  # noqa: FBT003 - three streams
    return Runtime(terminal, env)


def test_the_servers_of_this_machine_are_found_at_their_ports(home: Env, vllm: FakeVLLM) -> None:
    """A port without a model server is left out, and a configured server is listed once."""
    with FakeLMStudio() as studio, FakeOpenAI(key=KEY) as locked:
        configure(home, work=f'url = "{vllm.url}"')
        ports = {"vLLM": vllm.port, "LM Studio": studio.port, "Ollama": 9, "llama-server": locked.port}
        states = all_states(runtime(home), ports)
    assert [(state.name, state.kind) for state in states] == [
        ("work", "vllm"),
        (f"http://127.0.0.1:{studio.port}", "lmstudio"),
        (f"http://127.0.0.1:{locked.port}", ""),
    ]
    text = states_text(states, home)
    assert f"  http://127.0.0.1:{studio.port}/v1:hermes  loaded" in text
    assert "requires a key" in text


def test_the_ollama_of_the_environment_is_listed(home: Env) -> None:
    """Once, if it is at its default port, and with the name that -m takes."""
    with FakeOllama() as fake:
        env = {**home, "OLLAMA_HOST": f"0.0.0.0:{fake.port}"}
        states = all_states(runtime(env), {"Ollama": fake.port, "vLLM": 9})
        text = states_text(states, env)
        assert hermes("models", "plan", "ollama", env=env).code == 0
    assert [(state.name, state.url) for state in states] == [("ollama", fake.url)]
    assert "  ollama:openhermes:latest " in text
    wrong = {**home, "OLLAMA_HOST": "box:99999"}
    lines = states_text(all_states(runtime(wrong), {}), wrong).splitlines()
    assert lines[0] == "ollama"
    assert lines[1].endswith("check the environment variable OLLAMA_HOST")


def test_a_broken_server_at_a_default_port_is_listed_with_its_error(home: Env) -> None:
    """Other programs at these ports, and ports without a server, are not."""
    broken = Fault(status=500, path="/api/tags")
    web = Fault(reply=Reply(b"<html>", kind="text/html"))
    with FakeOllama(fault=broken) as ollama, FakeOpenAI(fault=web) as other:
        states = all_states(runtime(home), {"Ollama": ollama.port, "vLLM": other.port, "LM Studio": 9})
    assert [state.name for state in states] == [f"http://127.0.0.1:{ollama.port}"]
    assert "failed: fake error 500" in states_text(states, home)


def test_names_of_models_cannot_control_the_terminal(home: Env, vllm: FakeVLLM) -> None:
    """Neither in the list nor in the report of doctor."""
    vllm.model.name = "a b\u202e"
    configure(home, s=f'url = "{vllm.url}"')
    for command in (["models", "list", "--servers"], ["doctor"]):
        assert "\u202e" not in hermes(*command, env=home).stdout.decode()


LEVELS = {"llama-server": 1, "vllm": 1, "lmstudio": 3, "ollama": 3, "openai": 3}


@pytest.mark.parametrize("kind", [*FAKES])
def test_a_plan_shows_what_the_server_supports(home: Env, kind: str) -> None:
    """As text and as JSON, with NAME and with -m."""
    with FAKES[kind]() as fake:
        text = hermes("models", "plan", fake.url, env=home).stdout.decode()
        data = hermes("models", "plan", "-m", fake.url, "--json", env=home).json
    assert f"{LEVELS[kind]} of 3" in text
    assert ("cannot forge" in text, "could forge" in text) == (LEVELS[kind] == 1, LEVELS[kind] != 1)
    assert ("are exact" in text, "are estimates" in text) == (LEVELS[kind] == 1, LEVELS[kind] == 3)
    assert data == {
        "server": data["server"],
        "version": data["version"],
        "url": fake.url,
        "model": fake.model.name,
        "context": 8192 if kind in {"ollama", "openai"} else 1024,
        "max_context": 8192 if kind in {"ollama", "openai"} else 1024,
        "level": LEVELS[kind],
        "exact_token_counts": LEVELS[kind] == 1,
        "tokenizer": "",
        "tokenizer_problem": "",
        "continues_messages": kind not in {"lmstudio", "openai"},
    }


def test_a_plan_of_a_missing_server_has_the_exit_code_69(home: Env) -> None:
    """So has a plan of the configured model, if it is on a server."""
    env = {**home, "OPENHERMES_MODEL": f"{NOWHERE}:hermes"}
    for arguments in (["models", "plan"], ["models", "plan", f"{NOWHERE}:x"]):
        result = hermes(*arguments, env=env)
        assert (result.code, result.stdout) == (69, b"")
    assert hermes("models", "plan", "starter", "-m", "starter", env=home).code == 2


@pytest.mark.parametrize("command", ["show", "pull", "rm", "quantize"])
@pytest.mark.parametrize("name", ["work", "work:hermes", "lmstudio", "ollama:openhermes", f"{NOWHERE}:x"])
def test_a_command_that_needs_a_model_here_refuses_a_server(
    home: Env, vllm: FakeVLLM, command: str, name: str
) -> None:
    """With one error, and without contacting the server."""
    configure(home, work=f'url = "{vllm.url}"')
    result = hermes("models", command, name, env=home)
    assert (result.code, result.stdout) == (69, b"")
    assert f"hermes: {name} is a model on a server, and this needs one on this machine\n" in result.stderr
    assert "'hermes models plan' take a server" in result.stderr
    assert not vllm.requests


def test_a_model_here_with_the_name_of_a_server_can_be_removed(home: Env) -> None:
    """Its file is meant, not the server."""
    folder = Path(home["OPENHERMES_HOME"]) / "data" / "models"
    folder.mkdir(parents=True)
    (folder / "ollama.gguf").write_bytes(b"GGUF")
    assert hermes("models", "rm", "ollama", env=home).code == 0
    assert not (folder / "ollama.gguf").exists()


@pytest.fixture
def scripted(home: Env) -> Env:
    """An environment whose default model needs no installation."""
    return {**home, "OPENHERMES_MODEL": "scripted:none.toml"}


def server_findings(env: Env) -> list[tuple[str, bool]]:
    """Return the code of each finding about servers, and whether it is a problem."""
    return [(f["code"], f["is_problem"]) for f in findings(env) if f["code"].startswith("server")]


def test_doctor_shows_a_working_server(scripted: Env, vllm: FakeVLLM) -> None:
    """Its name, its kind and version, and how many models it has."""
    configure(scripted, work=f'url = "{vllm.url}"\nmodel = "hermes"')
    assert server_findings(scripted) == []
    rows = hermes("doctor", "--json", env=scripted).json["servers"]
    assert rows == [["work", vllm.url, "vLLM 0.11.0", "1 model"]]


def test_doctor_contacts_nothing_without_a_configured_server(scripted: Env) -> None:
    """It has no section about servers then."""
    assert "servers" not in hermes("doctor", "--json", env=scripted).json


def key_file(folder: Path, mode: int) -> Path:
    """Return a file with a key."""
    path = folder / "key"
    path.write_text(KEY)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("settings", "code", "fix"),
    [
        ('url = "{nowhere}"', "server", "check the address"),
        ('url = "{url}"\nmodel = "nothing"', "server-model", "its models are hermes"),
        ('url = "{url}"\nkey_env = "MISSING_KEY"', "server-key", "export MISSING_KEY="),
        ('url = "{url}"\nkey_file = "{open}"', "server-key", "chmod 600"),
        ('url = "{locked}"', "server-key", "key_env"),
        ('url = "ftp://x"', "server", "http://"),
        ('url = "http://192.0.2.1/v1"\nkey_file = "{open}"', "server-key", "chmod 600"),
    ],
)
def test_doctor_reports_a_problem_of_a_server_with_its_fix(
    scripted: Env, tmp_path: Path, settings: str, code: str, fix: str
) -> None:
    """A server that does not answer is no problem of this machine: the exit code stays 0."""
    with FakeVLLM() as fake, FakeVLLM(key=KEY) as locked:
        text = settings.format(
            nowhere=NOWHERE, url=fake.url, locked=locked.url, open=key_file(tmp_path, 0o644)
        )
        configure(scripted, work=text)
        (found,) = (one for one in findings(scripted) if one["code"].startswith("server"))
    assert (found["code"], found["is_problem"]) == (code, "nowhere" not in settings)
    assert fix in found["fix"]


def test_doctor_reports_a_model_that_a_server_does_not_list(scripted: Env) -> None:
    """OpenAI's API accepts names that are not in its list, but a wrong name is more likely."""
    with FakeOpenAI() as fake:
        configure(scripted, work=f'url = "{fake.url}"\nmodel = "hermse"')
        assert server_findings(scripted) == [("server-model", True)]
        configure(scripted, work=f'url = "{fake.url}"\nmodel = "hermes"')
        assert server_findings(scripted) == []


def test_doctor_does_not_wait_for_a_slow_server(scripted: Env) -> None:
    """It is reported as one that does not answer."""
    with FakeVLLM(fault=Fault(before_s=60)) as fake:
        configure(scripted, work=f'url = "{fake.url}"')
        begin = time.monotonic()
        assert server_findings(scripted) == [("server", False)]
        assert time.monotonic() - begin < 10


def test_doctor_shows_a_default_model_on_a_server(home: Env, vllm: FakeVLLM) -> None:
    """No other model is suggested, and the server is checked although it has no table."""
    env = {**home, "OPENHERMES_MODEL": f"{vllm.url}:hermes"}
    report: Any = hermes("doctor", "--json", env=env).json
    assert report["would load"] == [[f"hermes on the server http://127.0.0.1:{vllm.port}"]]
    assert "no-model" not in [finding["code"] for finding in report["findings"]]
    assert report["servers"][0][2:] == ["vLLM 0.11.0", "1 model"]


def test_a_server_is_configured_on_the_command_line(home: Env, vllm: FakeVLLM) -> None:
    """Each key is set, shown, and removed."""

    def config(*words: str) -> str:
        result = hermes("config", *words, env=home)
        assert result.code == 0, result.stderr
        return result.stdout.decode() + result.stderr

    config("set", "servers.work.url", vllm.url)
    config("set", "servers.work.timeout", "30")
    config("set", "servers.Work.insecure", "true")
    config("set", "servers.work.context", "8k")
    config("set", "servers.work.key_env", "WORK_KEY")
    assert config_file(home).read_text() == (
        f'[servers.work]\nurl = "{vllm.url}"\ntimeout = 30\ninsecure = true\ncontext = 8192\n'
        'key_env = "WORK_KEY"\n'
    )
    assert "servers.work" in config("show")
    assert "key_env = WORK_KEY" in config("show")
    assert "removed servers.work.timeout" in config("unset", "servers.work.timeout")
    assert "there is no servers.work" in config("unset", "servers.work")
    assert "servers.work" not in config("show")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["set", "servers.work.key", KEY], "its key is not stored"),
        (["set", "servers.work.key_env", KEY], "not the key itself"),
        (["set", "servers.work.timeout", "long"], "takes a whole number"),
        (["set", "servers.work.insecure", "perhaps"], "takes true or false"),
        (["set", "servers.new.model", "hermes"], "[servers.new] has no url"),
        (["set", "servers.work.kind", "olama"], "did you mean 'ollama'"),
        (["unset", "servers.wrk"], "did you mean 'work'"),
        (["unset", "servers.work.url"], "[servers.work] has no url"),
    ],
)
def test_an_invalid_setting_of_a_server_is_refused(home: Env, words: list[str], reason: str) -> None:
    """The file is unchanged, and a key that was typed by mistake is not repeated."""
    before = f'[servers.work]\nurl = "{NOWHERE}"\nmodel = "x"\n'
    config_file(home).write_text(before)
    result = hermes("config", *words, env=home)
    assert result.code == 2
    assert reason in result.stderr
    assert KEY not in result.stderr
    assert config_file(home).read_text() == before
