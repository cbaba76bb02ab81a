"""OPENHERMES_HOME cannot be created, read or written."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.run_hermes import hermes, script

Env = Mapping[str, str]
NOBODY = 65534
QUESTIONS = [["ask", "hi"], ["ask", "--log", "hi"], ["ask", "--json", "hi"], ["chat"], ["tokens", "hi"]]


@pytest.fixture
def unprivileged(home: Env) -> Iterator[Path]:
    """A folder that everybody can read, while the tests run as a user who is not root."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    model = script(folder, {"text": "answer"})
    for question in QUESTIONS:  # imports modules that only root may be able to read
        hermes(*question, "-m", model, env=home, stdin=b"hi\n")
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    yield folder
    if is_root:
        os.seteuid(0)
    shutil.rmtree(folder)


def assert_answers_with_one_warning(
    env: Env, home: str, model: str, reason: str, question: list[str]
) -> None:
    """Check the answer, and that standard error has one warning with the reason and the next step."""
    result = hermes(*question, "-m", model, env={**env, "OPENHERMES_HOME": home}, stdin=b"hi\n")
    assert result.code == 0, result.stderr
    assert b"answer" in result.stdout or question[0] == "tokens"
    warnings = [line for line in result.stderr.splitlines() if "OPENHERMES_HOME" in line or "saved" in line]
    first, second = warnings
    assert first.startswith("nothing is saved: OPENHERMES_HOME=/")
    assert first.endswith(f": {reason}")
    assert second == "  set OPENHERMES_HOME to a folder that you can write to"


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 300, "File name too long"),
        ("file", "Not a directory"),
        ("file/below/it", "Not a directory"),
        ("loop/x", "Too many levels of symbolic links"),
    ],
)
def test_a_home_that_cannot_exist_does_not_prevent_an_answer(
    home: Env, tmp_path: Path, name: str, reason: str, question: list[str]
) -> None:
    """A name is too long, or below a file or a link to itself."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    model = script(tmp_path, {"text": "answer"})
    assert_answers_with_one_warning(home, str(tmp_path / name), model, reason, question)


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
@pytest.mark.parametrize("mode", [0o000, 0o555, 0o444])
@pytest.mark.parametrize("below", ["", "new"])
def test_a_home_without_permissions_does_not_prevent_an_answer(
    home: Env, unprivileged: Path, mode: int, below: str, question: list[str]
) -> None:
    """A folder cannot be read, or it cannot be written, or the home cannot be created in it."""
    closed = unprivileged / "home"
    if os.getuid() == 0:
        os.seteuid(0)
        closed.mkdir()
        os.chown(closed, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    else:
        closed.mkdir()
    closed.chmod(mode)
    model = f"scripted:{unprivileged}/script.toml"
    assert_answers_with_one_warning(home, str(closed / below), model, "Permission denied", question)
    closed.chmod(0o700)
    assert list(closed.iterdir()) == []


def test_the_settings_of_a_home_that_cannot_be_written_are_used(home: Env, unprivileged: Path) -> None:
    """Only saving is impossible."""
    if os.getuid() == 0:
        os.seteuid(0)
    (unprivileged / "home/config").mkdir(parents=True)
    (unprivileged / "home/config/config.toml").write_text("context = 1234")
    (unprivileged / "home").chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(NOBODY)
    result = hermes("config", "show", env={**home, "OPENHERMES_HOME": str(unprivileged / "home")})
    assert result.code == 0
    assert b"1234" in result.stdout
    assert result.stderr.count("nothing is saved") == 1


@pytest.mark.parametrize("name", ["x" * 300, "file"])
def test_a_command_that_writes_fails_with_one_message(home: Env, tmp_path: Path, name: str) -> None:
    """Not with a bug of hermes."""
    (tmp_path / "file").touch()
    env = {**home, "OPENHERMES_HOME": str(tmp_path / name)}
    for arguments in (["personas", "new", "Nemo"], ["sessions", "list"], ["models", "pull", "starter"]):
        result = hermes(*arguments, env=env)
        assert result.code in {1, 69, 75}
        assert "Not a directory" in result.stderr or "File name too long" in result.stderr
        assert "bug" not in result.stderr
    for arguments in (["personas", "list"], ["models", "list"], ["config", "path"]):
        assert hermes(*arguments, env=env).code == 0
    diagnosis = hermes("doctor", "--json", env=env)
    assert diagnosis.code == 1
    assert [finding["code"] for finding in diagnosis.json["findings"] if finding["is_problem"]] == ["folder"]


def test_a_persona_that_cannot_be_written_names_the_variable(home: Env, tmp_path: Path) -> None:
    """There is one message. No other folder can be named on the command line."""
    (tmp_path / "file").touch()
    env = {**home, "OPENHERMES_HOME": str(tmp_path / "file")}
    commands = ["personas new Nemo", "config set seed 1", "config unset seed", "sessions rm 1", "config edit"]
    for command in commands:
        result = hermes(*command.split(), env=env)
        assert result.code == (75 if command.startswith("sessions") else 1)
        assert result.stderr == (
            f"hermes: OPENHERMES_HOME={tmp_path}/file cannot be written: Not a directory\n"
            "        set OPENHERMES_HOME to a folder that you can write to\n"
        )


def test_a_persona_is_written_if_only_conversations_cannot_be(home: Env, unprivileged: Path) -> None:
    """The folders of a home may have other permissions."""
    if os.getuid() == 0:
        os.seteuid(0)
    for name, mode in (("config", 0o777), ("data", 0o555)):
        folder = unprivileged / "home" / name
        folder.mkdir(parents=True)
        folder.chmod(mode)
    if os.getuid() == 0:
        os.seteuid(NOBODY)
    result = hermes("personas", "new", "Nemo", env={**home, "OPENHERMES_HOME": str(unprivileged / "home")})
    assert (result.code, "nothing is saved" in result.stderr) == (0, False)
