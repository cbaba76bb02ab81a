"""Tests of the completions of a command line."""

from pathlib import Path

import typer.main
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli import app
from hermes_cli.application.completion_values import VALUES
from hermes_cli.application.shell_completion import DESCRIPTION_LENGTH, complete, split_line
from hermes_cli.config import Paths
from hermes_cli.personas import loader
from tests.database import OpenStore
from tests.run_hermes import environment


def values(line: str, env: dict[str, str] | None = None) -> list[str]:
    """Return the completions of a line without their descriptions."""
    root = typer.main.get_command(app.app)
    return [candidate.value for candidate in complete(root, line, env or {"OPENHERMES_HOME": "/dev/null/x"})]


def test_commands_and_subcommands_are_completed() -> None:
    """A subcommand of a subcommand, too."""
    assert values("hermes ") == list(app.VERBS)
    assert values("hermes se") == ["sessions"]
    assert values("hermes --debug se") == ["sessions"]
    assert values("hermes sessions ex") == ["export"]
    assert values("hermes models cache ") == ["clear"]
    assert values("OPENHERMES_KEYS=vi hermes config p") == ["path"]


def test_the_name_of_the_program_is_not_completed() -> None:
    """Nor are the arguments of an unknown command."""
    assert values("hermes") == []
    assert values("") == []
    assert values("hermes no-such-command ") == []
    assert values("hermes no-such-command -") == []


def test_options_are_completed_but_not_hidden_ones() -> None:
    """Each has its longest name and the description of the help."""
    assert values("hermes ask --mod") == ["--model"]
    assert values("hermes --v") == ["--version", "--var"]
    assert "--help" in values("hermes sessions prune -")
    assert "--complete" not in values("hermes completion -")
    assert values("hermes ask -- --mod") == []


def test_verbs_of_other_programs_and_options_without_a_command_are_completed() -> None:
    """As the commands that they stand for."""
    assert values("hermes pull open") == values("hermes models pull open") != []
    assert values("hermes run open") == values("hermes chat -m open") != []
    assert values("hermes help se") == ["sessions"]
    assert values("hermes -m open") == values("hermes ask -m open") != []
    assert values("hermes --mod") == ["--model"]


def test_the_value_of_an_option_is_completed() -> None:
    """In every spelling that typer accepts."""
    expected = ["q8_0"]
    assert values("hermes ask --kv q") == expected
    assert values("hermes ask --kv=q") == ["--kv=q8_0"]
    assert values("hermes chat -cm open") == values("hermes chat -m open") != []
    assert values("hermes chat -mstarter open") == []
    assert values("hermes ask --on-overflow s") == ["summarise"]
    assert values("hermes ask --device v") == ["vulkan"]
    assert values("hermes ask --precision 4") == ["4bit"]
    assert "json" in values("hermes sessions export --format ")
    assert "charx" in values("hermes personas export --format ")
    assert values("hermes completion z") == ["zsh"]


def test_an_option_without_known_values_has_no_completions() -> None:
    """The shell then completes file names."""
    assert values("hermes ask -f ") == []
    assert values("hermes ask --temperature ") == []
    assert values("hermes personas new ") == []


def test_only_the_arguments_of_the_command_are_completed() -> None:
    """`personas show` takes one name."""
    assert "hermes-2" in values("hermes personas show ")
    assert values("hermes personas show hermes-2 ") == []
    assert values("hermes personas prompt hermes-2 --like ") == ["hermes", "sillytavern"]
    assert values("hermes sessions rename 1 ") == []


def test_models_are_completed_for_the_command_that_takes_them(tmp_path: Path) -> None:
    """`pull` takes those with a short name, `rm` those on this machine, even if they are damaged."""
    env = environment(tmp_path)
    folder = Paths.from_environment(env).models
    folder.mkdir(parents=True)
    (folder / "my-model.gguf").touch()
    assert values("hermes models rm my-", env) == ["my-model"]
    assert values("hermes ask -m my-", env) == ["my-model"]
    assert values("hermes models pull my-", env) == []
    assert "openhermes-2:gguf" in values("hermes models pull openhermes-2:", env)


def test_servers_are_completed_where_a_model_on_a_server_is_possible(tmp_path: Path) -> None:
    """Those that need no configuration, and those of the config file, which are not contacted."""
    env = {"OPENHERMES_HOME": str(tmp_path)}
    assert values("hermes chat -m lms", env) == ["lmstudio"]
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text('[servers.work]\nurl = "http://127.0.0.1:9/v1"')
    assert values("hermes ask -m wor", env) == ["work"]
    assert values("hermes models plan wor", env) == ["work"]
    assert values("hermes models rm wor", env) == []
    assert values("hermes config set servers.work.key_e", env) == ["servers.work.key_env"]


def test_each_key_of_the_values_names_an_option_or_an_argument() -> None:
    """A renamed command or option would lose its completions."""
    root = typer.main.get_command(app.app)
    names = set[str]()
    for verb in app.VERBS:
        names |= parameter_names(root.get_command(None, verb), verb)  # type: ignore[attr-defined]
    assert VALUES.keys() <= names


def parameter_names(command: object, path: str) -> set[str]:
    """Return the options of a command and its subcommands, with and without the path of the command."""
    names = set[str]()
    for parameter in getattr(command, "params", ()):
        names |= set(parameter.opts) | {f"{path} {name}" for name in parameter.opts}
    for name, subcommand in getattr(command, "commands", {}).items():
        names |= parameter_names(subcommand, f"{path} {name}")
    return names


def test_a_quoted_word_is_not_completed() -> None:
    """The shell would have to quote the completion. Quotes before it are understood."""
    assert values("hermes 'se") == []
    assert values("hermes \\se") == []
    assert values("hermes $(se") == []
    assert values('hermes ask -s "a \'b" --kv f') == ["f16"]


@given(st.text(max_size=60))
def test_every_line_can_be_completed(text: str) -> None:
    """No line raises an error, and each completion continues the last word."""
    split = split_line(text)
    last = split[1] if split else ""
    assert all(value.startswith(last) for value in values(text))
    assert all(value.startswith("-") for value in values(f"hermes {text} -"))


HOSTILE_NAMES = (
    "$(touch x)",
    "a b",
    "a\tb",
    "`x`",
    "a;b",
    "~root",
    "-rf",
    "a\x1b[2J",
    "a\u202eb",
    "'",
    "*",
    "a\nb",
)


def test_a_name_that_a_shell_would_change_is_left_out(tmp_path: Path) -> None:
    """Files with such names can come from a download."""
    env = environment(tmp_path)
    folder = tmp_path / "hermes" / "config" / "personas"
    folder.mkdir(parents=True)
    for name in (*HOSTILE_NAMES, "Zoë"):
        (folder / f"{name}.txt").touch()
    shipped = [path.stem for path in loader.shipped_dir().iterdir()]
    assert sorted(values("hermes chat -p ", env)) == sorted([*shipped, "Zoë"])


def test_a_title_is_described_on_one_line(tmp_path: Path, open_store: OpenStore) -> None:
    """Without control characters, and not too long. Neither does it appear among the values."""
    env = environment(tmp_path)
    store = open_store(Paths.from_environment(env).conversations)
    store.begin((), "", title="first\x1b]0;x\x07\n\tline\u202e" + "x" * 1000)
    (candidate,) = complete(typer.main.get_command(app.app), "hermes sessions show ", env)
    assert candidate.value == "1"
    assert candidate.help.startswith("first")
    assert candidate.help.isprintable()
    assert len(candidate.help) == DESCRIPTION_LENGTH
