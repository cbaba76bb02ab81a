"""`/thinking` and `--thinking` in a pipe: the reasoning is never on standard output."""

from collections.abc import Mapping
from pathlib import Path

from tests.run_hermes import Result, hermes, script

Env = Mapping[str, str]
FIVE = {"text": "<think>Two and three.</think>\n\nFive."}
SIX = {"text": "<think>Three and three.</think>Six."}


def chat(env: Env, tmp_path: Path, *lines: str, flags: tuple[str, ...] = ()) -> Result:
    """Hold a conversation with a model that reasons."""
    stdin = "".join(f"{line}\n" for line in lines).encode()
    return hermes("chat", "-m", script(tmp_path, FIVE, SIX), *flags, env=env, stdin=stdin)


def test_reasoning_is_hidden(home: Env, tmp_path: Path) -> None:
    """Only the answers are printed."""
    result = chat(home, tmp_path, "2 + 3?", "3 + 3?")
    assert (result.stdout, result.stderr, result.code) == (b"Five.\nSix.\n", "", 0)


def test_thinking_shows_the_last_reasoning(home: Env, tmp_path: Path) -> None:
    """Without an argument, it shows that before the visible answer."""
    result = chat(home, tmp_path, "/thinking", "2 + 3?", "/thinking", "3 + 3?", "/undo", "/thinking")
    assert result.stderr.splitlines() == [
        "There is no reasoning before the last answer.",
        "Two and three.",
        "1 turn undone; /tree still shows them.",
        "Two and three.",
    ]
    assert result.stdout == b"Five.\nSix.\n"


def test_thinking_show_and_hide(home: Env, tmp_path: Path) -> None:
    """It shows the last reasoning and those of later answers, on standard error."""
    result = chat(home, tmp_path, "2 + 3?", "/thinking show", "3 + 3?", "/thinking hide")
    assert result.stdout == b"Five.\nSix.\n"
    shown, two, three, *rest = filter(None, result.stderr.splitlines())
    assert (shown, two, three) == (
        "The reasoning of the model is shown.",
        "Two and three.",
        "Three and three.",
    )
    assert rest == ["The reasoning of the model is hidden."]


def test_thinking_off_and_on_again(home: Env, tmp_path: Path) -> None:
    """Off is a budget of no tokens; `show` and `hide` remove it."""
    lines = ("/thinking off", "/set thinking_budget", "/thinking hide", "/set thinking_budget")
    result = chat(home, tmp_path, *lines)
    budgets = [line for line in result.stderr.splitlines() if line.startswith("thinking_budget")]
    assert [line.split(";")[0] for line in budgets] == [
        "thinking_budget = 0 (/thinking)",
        "thinking_budget = none (/thinking)",
    ]
    assert "/thinking does not take 'x'" in chat(home, tmp_path, "/thinking x").stderr


def test_the_flag_and_the_setting(home: Env, tmp_path: Path) -> None:
    """The flag comes first; `off` sets the budget unless another one is given."""
    shown = chat({**home, "OPENHERMES_THINKING": "off"}, tmp_path, "2 + 3?", flags=("--thinking", "show"))
    assert "Two and three." in shown.stderr
    asked = ("/set thinking_budget",)
    off = chat({**home, "OPENHERMES_THINKING": "off"}, tmp_path, *asked)
    assert off.stderr.startswith("thinking_budget = 0 (environment (OPENHERMES_THINKING))")
    budget = chat(home, tmp_path, *asked, flags=("--thinking", "off", "--thinking-budget", "9"))
    assert budget.stderr.startswith("thinking_budget = 9 (command line)")
    wrong = chat(home, tmp_path, flags=("--thinking", "loud"))
    assert (wrong.code, wrong.stderr) == (2, "hermes: --thinking takes hide, show or off, not 'loud'\n")


def test_an_answer_without_text(home: Env, tmp_path: Path) -> None:
    """The reason is printed, and the reasoning can be shown."""
    model = script(tmp_path, {"text": "<think>on and on"})
    result = hermes("chat", "-m", model, env=home, stdin=b"2 + 3?\n/thinking\n")
    assert result.stderr == "(the model only reasoned)\non and on\n"


def test_ask_prints_reasoning_only_as_json(home: Env, tmp_path: Path) -> None:
    """In JSON it has a key, and `--thinking show` prints it to standard error."""
    model = ("-m", script(tmp_path, FIVE))
    result = hermes("ask", *model, "2 + 3?", env=home)
    assert (result.stdout, result.stderr) == (b"Five.\n", "")
    shown = hermes("ask", *model, "--thinking", "show", "2 + 3?", env=home)
    assert (shown.stdout, shown.stderr) == (b"Five.\n", "Two and three.\n\n")
    printed = hermes("ask", *model, "--json", "2 + 3?", env=home).json
    assert (printed["text"], printed["reasoning"]) == ("Five.", "Two and three.")
    assert printed["usage"]["reasoning_tokens"] == len("Two and three.</think>")
    lines = hermes("ask", *model, "--json-stream", "2 + 3?", env=home).stdout.decode().splitlines()
    kinds = ["reasoning" if line.startswith('{"reasoning"') else "text" for line in lines[:-1]]
    assert kinds == ["reasoning"] * kinds.count("reasoning") + ["text"] * kinds.count("text")
    assert kinds.count("reasoning") == len("Two and three.")
