"""`/context N`, and the context window that a persona requests, over the real starter."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.config import Paths
from hermes_cli.models import hardware
from tests.models.plan.machines import machine
from tests.run_hermes import Result, hermes

Env = Mapping[str, str]


def chat(env: Env, *lines: str, flags: tuple[str, ...] = ()) -> Result:
    """Hold a conversation with the starter and return what was printed."""
    stdin = "".join(f"{line}\n" for line in lines).encode()
    options = ("--max-tokens", "2", "--temperature", "0")
    return hermes("chat", "-m", "starter", *options, *flags, env=env, stdin=stdin)


def test_another_context_window_keeps_the_conversation(starter_home: Env) -> None:
    """Each spelling reloads the model, and /model keeps the size."""
    result = chat(
        starter_home,
        *("Hi", "/context 1,024", "/context", "/set context 2k", "/context", "/set num_ctx 768", "/context"),
        *("/model starter", "/context", "/show prompt"),
    )
    assert result.code == 0, result.stderr
    totals = [line for line in result.stderr.splitlines() if line.split()[:1] == ["total"]]
    assert [line.split()[-2] for line in totals] == ["1,024", "2,048", "768", "768"]
    assert "Reloaded starter" in result.stderr
    assert "a context of 1,024 tokens was requested" in result.stderr
    assert "user\nHi<|im_end|>" in result.stderr


def test_a_window_that_the_model_does_not_support_changes_nothing(starter_home: Env) -> None:
    """The message has the longest window."""
    result = chat(starter_home, "/context 1024", "/context 9000", "/context", "Hi")
    assert "was trained for a context of 8,192 tokens, not 9,000" in result.stderr
    assert "of 1,024 tokens" in result.stderr
    assert result.stdout.strip()


def test_a_window_that_does_not_fit_in_memory_changes_nothing(
    starter_home: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is that of the plan, and the model is loaded again as it was."""
    machines = iter([machine(ram=8)])
    monkeypatch.setattr(hardware, "probe", lambda: next(machines, machine(ram=1, free=0.2)))
    result = chat(starter_home, "/context 8000", "/context", "Hi")
    assert "does not fit" in result.stderr
    assert "of 8,192 tokens" in result.stderr
    assert result.stdout.strip()


def test_a_persona_requests_a_context_window(starter_home: Env) -> None:
    """The config file is overridden by the persona, and the persona by the environment and the flag."""
    paths = Paths.from_environment(starter_home)
    paths.personas.mkdir(parents=True)
    (paths.personas / "mario.toml").write_text('system = "You are Mario."\ncontext = 1024\n')
    paths.config_file.write_text("context = 2048\n")

    def requested(*arguments: str, **environ: str) -> str:
        result = hermes("models", "plan", "starter", *arguments, env={**starter_home, **environ})
        assert result.code == 0, result.stderr
        (line,) = (line for line in result.stdout.decode().splitlines() if " was requested" in line)
        return line.partition("a context of ")[2]

    assert requested() == "2,048 tokens was requested (config file)"
    assert requested("-p", "mario") == "1,024 tokens was requested (persona mario)"
    assert requested("-p", "mario", "--context", "512") == "512 tokens was requested"
    assert requested("-p", "mario", OPENHERMES_CONTEXT="700") == (
        "700 tokens was requested (environment (OPENHERMES_CONTEXT))"
    )
    shown = chat(starter_home, "/context", flags=("-p", "mario")).stderr
    assert "of 1,024 tokens" in shown
    assert b"context  1,024 tokens" in hermes("personas", "show", "mario", env=starter_home).stdout
    switched = chat(starter_home, "/persona mario", "/context").stderr
    assert "/context 1024 reloads the model with it" in switched


@pytest.mark.parametrize("value", ["0", "63", "10000001", '"big"', "true", "1.5"])
def test_an_invalid_context_window_of_a_persona_is_refused(home: Env, tmp_path: Path, value: str) -> None:
    """The message names the file and the key."""
    file = tmp_path / "mario.toml"
    file.write_text(f'system = "Hi"\ncontext = {value}\n')
    result = hermes("personas", "show", str(file), env=home)
    assert result.code == 78
    assert "mario.toml: 'context' " in result.stderr
