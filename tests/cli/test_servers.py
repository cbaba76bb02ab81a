"""`hermes ask` and `hermes chat` with models on servers: answers, commands, other engines, and exit codes."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hermes_cli.engines.remote.servers.detection import apis
from tests.engines.remote.clients import FAKES, address_of
from tests.engines.remote.fakes.http_server import Fault, Reply
from tests.engines.remote.fakes.lmstudio import FakeLMStudio
from tests.engines.remote.fakes.model import FakeModel
from tests.engines.remote.fakes.ollama import FakeOllama
from tests.engines.remote.fakes.openai_server import FakeOpenAI
from tests.engines.remote.fakes.vllm import FakeVLLM
from tests.run_hermes import hermes, script

Env = Mapping[str, str]
Fake = FakeOpenAI | FakeOllama

CONTINUABLE = {"llama-server", "ollama", "vllm"}
KEY = "sk-secret-0123456789"
NOWHERE = "http://127.0.0.1:9/v1"
"""The address of a closed port, the discard port."""


@pytest.fixture(params=[*FAKES])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of a server."""
    name: str = request.param
    return name


@pytest.fixture
def fake(kind: str) -> Iterator[Fake]:
    """A running server of that kind."""
    with FAKES[kind]() as running:
        yield running


def sent(fake: Fake) -> str:
    """Return the text of the last prompt that a server has received."""
    bodies = [request.body for request in fake.requests if isinstance(request.body, dict)]
    body = next(b for b in reversed(bodies) if b.get("stream"))
    if "prompt" in body:
        return "".join(fake.model.texts(body["prompt"]))
    return "\n".join(message["content"] for message in body["messages"])


def configure(env: Env, text: str) -> None:
    """Write the config file."""
    path = Path(env["OPENHERMES_HOME"]) / "config" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_ask_prints_only_the_answer(home: Env, fake: Fake) -> None:
    """Standard error is empty in a pipe, at each level."""
    fake.model.answers = ["Hello, world."]
    result = hermes("ask", "-m", fake.url, "Hi", env=home)
    assert (result.code, result.stdout, result.stderr) == (0, b"Hello, world.\n", "")
    assert "Hi" in sent(fake)


def test_json_has_the_numbers_of_tokens_that_the_server_reports(home: Env, fake: Fake) -> None:
    """The end token counts, too, as with the other engines."""
    fake.model.answers = ["Hello."]
    usage = hermes("ask", "--json", "-m", fake.url, "Hi", env=home).json["usage"]
    assert usage["completion_tokens"] == len("Hello.") + 1
    assert usage["prompt_tokens"] > len("Hi")


def test_the_commands_of_a_chat_work(home: Env, fake: Fake, kind: str) -> None:
    """Continue, swipe, undo, show and context; a server that cannot continue refuses with the reason."""
    fake.model.answers = ["One", " and a half.", "Two.", "Three."]
    if kind not in CONTINUABLE:
        fake.model.answers.remove(" and a half.")
    lines = b"First\n/continue\n/swipe right\n/undo\nSecond\n/show\n/context\n"
    result = hermes("chat", "-m", fake.url, env=home, stdin=lines)
    continued = ["One and a half."] if kind in CONTINUABLE else []
    answers = ["One", *continued, "Two.", "Three."]
    assert result.stdout.decode().splitlines() == answers
    assert result.code == (0 if kind in CONTINUABLE else 2)
    assert ("cannot continue a message" in result.stderr) == (kind not in CONTINUABLE)
    assert "1 turn undone" in result.stderr
    assert f"{fake.model.name} · " in result.stderr
    assert f"at http://127.0.0.1:{fake.port}" in result.stderr
    counts = re.findall(
        r"^  (?:system prompt and persona|turns|total) +([0-9,]+) ", result.stderr, re.MULTILINE
    )
    system, turns, total = (int(count.replace(",", "")) for count in counts)
    assert abs(system + turns - total) <= 2  # estimates are rounded
    assert "First" not in sent(fake)
    assert "Second" in sent(fake)


def test_the_model_in_use_is_shown_with_the_url_of_its_server(home: Env) -> None:
    """Also if the server has a name in the config file, and with the setting that names it."""
    with FakeLMStudio() as fake:
        configure(home, f'model = "work"\n[servers.work]\nurl = "{fake.url}"\nmodel = "{fake.model.name}"')
        named = hermes("chat", "-m", "work", env=home, stdin=b"Hi\n/show\n").stderr
        configured = hermes("chat", env=home, stdin=b"Hi\n/show\n").stderr
    assert f"{fake.model.name} · LM Studio at {fake.url} · " in named
    assert "(it is on the server you named)" in " ".join(named.split())
    assert "(it is on the server of the setting 'model' (config file))" in " ".join(configured.split())


def test_a_conversation_is_resumed_on_other_servers_and_engines(
    home: Env, fake: Fake, tmp_path: Path
) -> None:
    """The next server gets all earlier turns, and so does the scripted engine."""
    fake.model.answers = ["Blue."]
    assert hermes("chat", "-m", fake.url, env=home, stdin=b"My colour?\n").code == 0
    with FakeVLLM(FakeModel(answers=["Red."])) as other:
        resumed = hermes("chat", "-c", "-m", other.url, env=home, stdin=b"And yours?\n")
        assert (resumed.code, resumed.stdout) == (0, b"Red.\n")
        assert all(text in sent(other) for text in ("My colour?", "Blue.", "And yours?"))
    model = script(tmp_path, {"text": "Green."})
    last = hermes("chat", "-c", "-m", model, env=home, stdin=b"Others?\n/show prompt\n")
    assert last.stdout == b"Green.\n"
    assert all(text in last.stderr for text in ("Blue.", "Red.", "Green."))


@pytest.mark.slow
def test_a_persona_with_lore_plays_on_after_the_context_is_full(
    home: Env, fake: Fake, tmp_path: Path
) -> None:
    """Twenty turns, with a swipe and an undo, of which the first ones no longer fit."""
    lore = tmp_path / "lore.toml"
    lore.write_text('[[lore]]\nkeys = ["amulet"]\ncontent = "The amulet is made of tin."\n')
    fake.model.context_size = 2500
    fake.model.answers = [f"Answer {number}. " + "and so on " * 15 for number in range(22)]
    lines = [f"Turn {number}" for number in range(18)]
    lines[5:5] = ["/swipe right", "/undo"]
    lines += ["The amulet?", "The end."]
    result = hermes(
        *(
            "chat",
            "-m",
            fake.url,
            "-p",
            "hermes-2",
            "--lore",
            str(lore),
            "--context",
            "2500",
            "--on-overflow",
            "drop",
        ),
        env=home,
        stdin="\n".join(lines).encode() + b"\n",
    )
    assert (result.code, len(result.stdout.splitlines())) == (0, 21), result.stderr
    assert "The amulet is made of tin." in sent(fake)
    assert "Turn 0" not in sent(fake)
    assert "Turn 17" in sent(fake)


def test_without_a_server_the_exit_code_is_69(home: Env) -> None:
    """The hint is about the address."""
    result = hermes("ask", "-m", f"{NOWHERE}:hermes", "Hi", env=home)
    assert (result.code, result.stdout) == (69, b"")
    assert "failed" in result.stderr
    assert "check the address, and that the server is running" in result.stderr


def test_a_missing_model_has_the_exit_code_69(home: Env, fake: Fake, kind: str) -> None:
    """The server's models are listed in the hint, if the server reports that it has none of that name."""
    result = hermes("ask", "-m", f"{fake.url}:nothing", "Hi", env=home)
    assert (result.code, result.stdout) == (69, b"")
    assert fake.model.name in result.stderr or kind == "openai"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("localhost:8080", "did you mean http://localhost:8080/v1?"),
        ("gpu-box:8000/v1:hermes", "did you mean http://gpu-box:8000/v1:hermes?"),
        ("http:/x", "did you mean http://x/v1?"),
        ("vllm", "vLLM is named by its URL; at its default port: -m http://localhost:8000/v1"),
        (
            "llama-server:m",
            "llama-server is named by its URL; at its default port: -m http://localhost:8080/v1",
        ),
        ("lm-studio", "there is no model 'lm-studio'; did you mean 'lmstudio'?"),
        ("olama:openhermes", "there is no model 'olama:openhermes'; did you mean 'ollama'?"),
        ("mybox", "there is no model 'mybox'; did you mean 'my-box'?"),
        ("openhermes2", "there is no model 'openhermes2'; did you mean 'openhermes-2'?"),
        ("nothing", "a server's URL, lmstudio, ollama, or the name of a server in the config file"),
    ],
)
def test_a_name_that_resembles_a_servers_is_reported_with_it(home: Env, name: str, expected: str) -> None:
    """Each command that takes a server has the same hint, also for the model in the config file."""
    configure(home, '[servers.my-box]\nurl = "http://gpu-box:8000/v1"\n')
    for command in (["ask", "-m", name, "Hi"], ["tokens", "-m", name, "Hi"], ["models", "plan", name]):
        result = hermes(*command, env=home)
        assert (result.code, result.stdout) == (69, b"")
        assert expected in result.stderr
    configure(home, f'model = "{name}"\n[servers.my-box]\nurl = "http://gpu-box:8000/v1"\n')
    assert expected in (stderr := hermes("ask", "Hi", env=home).stderr)
    assert "the model is set in the config file; " in stderr


@pytest.mark.parametrize("key", ["", "wrong-key"])
def test_a_refused_key_has_the_exit_code_77(home: Env, fake: Fake, key: str) -> None:
    """So has a key that is missing; neither is shown."""
    fake.key = KEY
    configure(home, f'[servers.work]\nurl = "{fake.url}"\nkey_env = "WORK_KEY"\nmodel = "{fake.model.name}"')
    if not key:
        configure(home, f'[servers.work]\nurl = "{fake.url}"')
    result = hermes("ask", "-m", "work", "Hi", env={**home, "WORK_KEY": key})
    assert (result.code, result.stdout) == (77, b"")
    assert ("refused the key" if key else "requires a key") in result.stderr
    assert "wrong-key" not in result.stderr


def test_a_busy_server_has_the_exit_code_75(home: Env, fake: Fake) -> None:
    """It answers 503 to everything."""
    fake.fault = Fault(status=503)
    result = hermes("ask", "-m", f"{fake.url}:{fake.model.name}", "Hi", env=home)
    assert (result.code, result.stdout) == (75, b"")
    assert "is busy" in result.stderr


def test_a_server_that_is_killed_during_the_answer_has_the_exit_code_1(home: Env, fake: Fake) -> None:
    """The text so far is printed. Only --debug shows the words of the HTTP library."""
    fake.fault = Fault(cut_after=12)
    for flags in ([], ["--debug"]):
        result = hermes(*flags, "ask", "-m", f"{fake.url}:{fake.model.name}", "Tell me a story.", env=home)
        assert (result.code, result.stdout[:4]) == (1, b"Once")
        broken = (
            f"hermes: the connection to the server {fake.url.removesuffix('/v1')} broke off during the answer"
        )
        assert f"{broken}\n        try again, or see the server's log\n" in result.stderr
        assert ("incomplete chunked read" in result.stderr) == bool(flags)


def test_an_option_that_the_server_lacks_is_refused(home: Env, fake: Fake, kind: str) -> None:
    """It is not dropped, and no answer is requested."""
    option = ["--ban", "x"] if kind == "llama-server" else ["--dry-multiplier", "1"]
    result = hermes("ask", "-m", fake.url, *option, "Hi", env=home)
    assert result.code == 2
    name = apis(address_of(fake.url))[kind].name
    assert f"{name} does not support {option[0]}\n" in result.stderr
    assert f"omit {option[0]}, or use a model on this machine" in result.stderr
    assert not [
        request for request in fake.requests if "completion" in request.path or "chat" in request.path
    ]


def test_the_source_of_an_option_that_the_server_lacks_is_named(home: Env) -> None:
    """So is the command that removes it."""
    with FakeOpenAI() as fake:
        configure(home, "[options]\ntop_k = 5\n")
        in_file = hermes("ask", "-m", fake.url, "Hi", env=home)
        in_variable = hermes("ask", "-m", fake.url, "Hi", env={**home, "OPENHERMES_TOP_K": "7"})
    assert (in_file.code, in_variable.code) == (2, 2)
    assert "the OpenAI API does not support 'top_k' (config file)" in in_file.stderr
    assert "remove it with 'hermes config unset top_k', or use a model" in in_file.stderr
    assert "the OpenAI API does not support 'top_k' (environment)" in in_variable.stderr
    assert "unset OPENHERMES_TOP_K, or use a model" in in_variable.stderr


@pytest.mark.parametrize("flag", ["--device=cpu", "--gpu-layers=3", "--kv=q8_0", "--precision=4bit"])
def test_a_flag_for_this_machine_is_refused_before_the_server_is_asked(home: Env, flag: str) -> None:
    """It has no effect on a server."""
    with FakeVLLM() as fake:
        for command in (["ask", "Hi"], ["chat"], ["models", "plan"]):
            result = hermes(*command, "-m", fake.url, flag, env=home)
            assert result.code == 2
            assert f"{flag.partition('=')[0]} does not apply to a model on a server" in result.stderr
        assert not fake.requests


def test_several_models_are_listed_in_a_pipe(home: Env) -> None:
    """Nobody can be asked, even if one of them happens to be loaded."""
    with FakeOllama() as fake:
        fake.others, fake.is_loaded = ["mistral:7b"], True
        configure(home, f'[servers.ollama]\nurl = "{fake.url}"\nkind = "ollama"')
        result = hermes("ask", "-m", "ollama", "Hi", env=home)
        assert result.code == 2
        assert "has 2 models: openhermes:latest, mistral:7b" in result.stderr
        assert "-m ollama:openhermes:latest" in result.stderr
        fake.model.answers = ["Hello."]
        assert hermes("ask", "-m", "ollama:openhermes", "Hi", env=home).stdout == b"Hello.\n"


class Echoing(FakeOpenAI):
    """A server that repeats the key in its answers and errors."""

    def error(self, status: int, message: str, code: str | None = None) -> Reply:
        return super().error(status, f"{message}: Bearer {KEY}", code)


def test_the_key_is_never_written_or_shown(home: Env, tmp_path: Path) -> None:
    """It is neither on the screen, nor in a file of hermes, nor in an export, even if a server repeats it."""
    env = {**home, "WORK_KEY": KEY}
    shown = b""
    with Echoing(FakeModel(answers=["Hello."]), KEY) as fake:
        configure(home, f'[servers.work]\nurl = "{fake.url}"\nkey_env = "WORK_KEY"\nmodel = "hermes"')
        for command in (
            ["--debug", "chat", "-m", "work"],
            ["ask", "-m", "work:other", "Hi"],
            ["models", "plan", "work"],
            ["models", "list", "--servers"],
            ["doctor", "--json"],
            ["config", "show"],
            ["sessions", "export", "1", "-o", str(tmp_path / "export.json")],
        ):
            result = hermes(*command, env=env, stdin=b"Hi\n/show\n")
            shown += result.stdout + result.stderr.encode()
        assert fake.requests[-1].key == KEY
        assert "[key]" in shown.decode()
    assert b"Hello." in shown
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert (tmp_path / "export.json") in files
    assert KEY.encode() not in shown
    assert not [file for file in files if KEY.encode() in file.read_bytes()]


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("llama-server", set()),
        ("vllm", set()),
        ("ollama", set()),
        ("lmstudio", {"min_p", "repetition_range"}),
        ("openai", {"top_k", "min_p", "repetition_penalty", "repetition_range"}),
    ],
)
def test_options_that_a_server_decides_are_shown_without_a_value(
    home: Env, kind: str, left: set[str], fake: Fake
) -> None:
    """Their defaults are not sent. Setting one is refused."""
    del kind
    shown = hermes("chat", "-m", fake.url, env=home, stdin=b"/show\n").stderr
    rows = [line.split() for line in shown.splitlines() if line.endswith("not sent; the server decides")]
    assert {row[0] for row in rows} == left
    assert {row[1] for row in rows} <= {"-"}
    for name in left:
        assert hermes("ask", "-m", fake.url, f"--{name.replace('_', '-')}", "1.5", "Hi", env=home).code == 2


def test_model_lists_the_servers_and_marks_the_current_model(home: Env) -> None:
    """A server that is only named by its URL is listed while it is used."""
    with FakeVLLM() as fake:
        configure(home, f'[servers.work]\nurl = "{fake.url}"')
        for name, lines in (
            ("work", [f"  work       server {fake.url}", "* work:hermes  hermes · vLLM at "]),
            (fake.url, [f"  work  server {fake.url}", f"* {fake.url}:hermes"]),
        ):
            result = hermes("chat", "-m", name, env=home, stdin=b"/model\n")
            shown = [" ".join(line.split()) for line in result.stderr.splitlines()]
            for line in lines:
                assert any(found.startswith(" ".join(line.split())) for found in shown), result.stderr


def test_a_conversation_goes_on_at_the_server_of_its_last_answer(home: Env, tmp_path: Path) -> None:
    """Unless -m names another model, or the server is not in the config file any more."""
    model = script(tmp_path, {"text": "Scripted."}, {"text": "Scripted."})
    with FakeVLLM() as fake:
        fake.model.answers = ["I am Hermes.", "Still Hermes.", "A copy."]
        default = f'model = "{model}"\n'
        server = f'[servers.work]\nurl = "{fake.url}"'
        configure(home, default + server)
        assert hermes("ask", "--log", "-m", "work", "Who are you?", env=home).stdout == b"I am Hermes.\n"
        assert hermes("ask", "-c", "And now?", env=home).stdout == b"Still Hermes.\n"
        plan = hermes("chat", "-c", env=home, stdin=b"/show\n/fork\n")
        assert "it gave the last answer of this conversation" in plan.stderr
        assert hermes("ask", "-c", "Who are you?", env=home).stdout == b"A copy.\n"
        local = {**home, "OPENHERMES_MODEL": model}
        assert hermes("chat", "-c", env=local, stdin=b"/model\n").code == 0
        assert "scripted" in hermes("chat", "-c", env=local, stdin=b"/show\n").stderr
        assert "scripted" in hermes("chat", "-c", "--device", "cpu", env=home, stdin=b"/show\n").stderr
        configure(home, default)
        gone = hermes("ask", "-c", "Hello?", env=home)
        assert (gone.code, gone.stdout) == (0, b"Scripted.\n")
        assert "The last answer is from work:hermes: it is not in the config file" in gone.stderr
        configure(home, default + server)
        assert hermes("ask", "-c", "Hello?", env=home).stdout == b"Scripted.\n"


HEAVY = (
    "torch",
    "transformers",
    "xllamacpp",
    "tokenizers",
    "huggingface_hub",
    "hermes_cli.models.plan.planner",
)


@pytest.mark.parametrize("command", [["ask", "Hi"], ["chat"]])
def test_a_model_on_a_server_needs_no_heavy_library(home: Env, command: list[str]) -> None:
    """Neither PyTorch nor llama.cpp is imported, nor the planner."""
    code = (
        "import sys\nfrom hermes_cli import app\n"
        "from hermes_cli.screen.terminal import Terminal\nimport os\n"
        "code = app.run(sys.argv[1:], Terminal.from_process(os.environ), os.environ)\n"
        f"print(code, *(name for name in {HEAVY!r} if name in sys.modules))"
    )
    with FakeVLLM(FakeModel(answers=["Hello."])) as fake:
        done = subprocess.run(
            [sys.executable, "-c", code, *command, "-m", fake.url],
            input=b"Hi\n",
            capture_output=True,
            env={"PYTHONPATH": os.environ.get("PYTHONPATH", ""), **home},
            check=True,
        )
    assert done.stdout.split() == [b"Hello.", b"0"]
