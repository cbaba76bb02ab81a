"""`hermes config set` and `hermes config edit`."""

import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hermes_cli import config
from hermes_cli.config import Paths
from tests.run_hermes import Result, hermes

Env = Mapping[str, str]
WRITTEN = """\
# mine
model = "starter"   # small

[user]
name = "Ed" # me

[options]
# hot
top-p = 0.9 # p
"""


def config_file(env: Env, text: str | None = None) -> Path:
    """Return the path of the config file, after writing `text` to it."""
    path = Path(env["OPENHERMES_HOME"]) / "config" / "config.toml"
    if text is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return path


def set_value(env: Env, *words: str) -> Result:
    """Set a value."""
    return hermes("config", "set", *words, env=env)


def test_a_value_is_set_and_everything_else_kept(home: Env) -> None:
    """Comments, blank lines, order and the spelling of keys are those of the user."""
    path = config_file(home, WRITTEN)
    for words in (["model", "openhermes-2"], ["top_p", "0.5"], ["user", "Ann"], ["context", "8192"]):
        assert set_value(home, *words).code == 0
    expected = WRITTEN.replace("starter", "openhermes-2").replace("0.9", "0.5").replace("Ed", "Ann")
    assert path.read_text() == expected.replace("# small\n", "# small\ncontext = 8192\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("before", "words", "after"),
    [
        ("", ["keys", "vi"], {"keys": "vi"}),
        ("", ["temperature", "0.5"], {"options": {"temperature": 0.5}}),
        ("", ["options.top-k", "3"], {"options": {"top_k": 3}}),
        ("", ["on-overflow", "drop"], {"on_overflow": "drop"}),
        ("", ["stop", "a", 'b"\n'], {"options": {"stop": ["a", 'b"\n']}}),
        ("", ["user", "Ann"], {"user": "Ann"}),
        ("", ["lore.share", "10"], {"lore": {"share": 10}}),
        ("[lore]\nnames = true\n", ["lore.names", "false"], {"lore": {"names": False}}),
        ("", ["user.description", "tall"], {"user": {"description": "tall"}}),
        ('user = "Ed"\n', ["user", "Ann"], {"user": "Ann"}),
        ('user = "Ed"\n', ["user.description", "x"], {"user": {"name": "Ed", "description": "x"}}),
        ("options.seed = 1\n", ["seed", "2"], {"options": {"seed": 2}}),
        ("options = { seed = 1 }\n", ["top_k", "2"], {"options": {"seed": 1, "top_k": 2}}),
        ("[options]\nseed = 1", ["model", "x"], {"model": "x", "options": {"seed": 1}}),
        ('\ufeffmodel = "a"\r\nkeys = "vi"\r\n', ["model", "b"], {"model": "b", "keys": "vi"}),
        ("context = 0\n", ["context", "4096"], {"context": 4096}),
    ],
)
def test_a_value_is_put_where_it_is_read(
    home: Env, before: str, words: list[str], after: dict[str, Any]
) -> None:
    """In a new file, a table, an inline table or dotted keys; an invalid value can be replaced."""
    path = config_file(home, before or None)
    assert set_value(home, *words).code == 0
    assert tomllib.loads(path.read_text().removeprefix("\ufeff")) == after
    assert hermes("config", "show", env=home).code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["modle", "x"], 2, "there is no setting 'modle'; did you mean 'model'?"),
        (["temperature", "9"], 2, "temperature cannot be 9"),
        (["temperature", "hot"], 2, "takes a number, not 'hot'"),
        (["context", "0"], 2, "context is 0; it can be 1 to"),
        (["context", "big"], 2, "hermes: context takes a whole number, not 'big'"),
        (["save", "no"], 2, "hermes: save takes true or false, not 'no'"),
        (["keys", "ed"], 2, "it can be emacs or vi"),
        (["precision", "17bit"], 2, "did you mean '16bit'?"),
        (["user", " "], 2, "not blank"),
        (["model", "\udcff"], 2, "not UTF-8"),
        (["model", ""], 2, "model is empty"),
        (["lore.share", "101"], 2, "share is 101; it can be 0 to 100"),
        (["lore.share", "big"], 2, "share takes a whole number, not 'big'"),
        (["lore.names", "no"], 2, "names takes true or false, not 'no'"),
        (["lore.shar", "1"], 2, "did you mean 'lore.share'?"),
        (["servers.work.url", "localhost:8000/v1"], 2, "did you mean http://localhost:8000/v1?"),
        (["servers.work.url", "htp://x/v1"], 2, "[servers.work] a URL of a server begins with http://"),
        (["servers.work.url", "http://me:secret@x/v1"], 2, "contains a user name or a password"),
        (["servers.work.url", "http://x/v1:model"], 2, "[servers.work] the URL contains a model"),
        (["stop", ""], 2, "empty string"),
        (["model", "a", "b"], 2, "model takes one value"),
        (["model"], 2, "missing argument 'VALUE...'"),
    ],
)
def test_an_invalid_value_is_refused(home: Env, words: list[str], code: int, message: str) -> None:
    """The file is unchanged."""
    path = config_file(home, WRITTEN)
    result = set_value(home, *words)
    assert (result.code, path.read_text()) == (code, WRITTEN)
    assert message in result.stderr


@pytest.mark.parametrize("text", ["model = \n", "bogus = 1\n", 'options = "x"\n', "a." * 40_000 + "a = 1"])
def test_an_invalid_file_is_not_changed(home: Env, text: str) -> None:
    """The hint is to edit it."""
    path = config_file(home, text)
    result = set_value(home, "temperature", "1")
    assert (result.code, path.read_text()) == (78, text)
    assert "hermes: " in result.stderr


@pytest.mark.parametrize("text", ["options = 3\n", "user = 3\n"])
def test_a_value_in_place_of_a_table_is_reported(home: Env, text: str) -> None:
    """The message has the name of the table."""
    path = config_file(home, text)
    key = text.partition(" ")[0]
    result = set_value(home, {"options": "seed", "user": "user.description"}[key], "1")
    assert (result.code, path.read_text()) == (78, text)
    assert f"{key} is not a table" in result.stderr


def test_an_invalid_file_that_is_not_changed_leaves_no_draft(home: Env, tmp_path: Path) -> None:
    """The problem is that of the config file."""
    path = config_file(home, "seed = 1\n")
    result = edit(home, tmp_path, "true")
    assert (result.code, f"{path}: seed belongs in" in result.stderr) == (78, True)
    assert [file.name for file in path.parent.iterdir()] == ["config.toml"]


def test_a_link_to_the_config_file_is_kept(home: Env, tmp_path: Path) -> None:
    """The file that it leads to is changed, as in a folder of dotfiles."""
    (tmp_path / "dotfile").write_text('model = "a"\n')
    path = config_file(home, "")
    path.unlink()
    path.symlink_to(tmp_path / "dotfile")
    assert set_value(home, "model", "b").code == 0
    assert path.is_symlink()
    assert (tmp_path / "dotfile").read_text() == 'model = "b"\n'


def test_a_variable_that_overrides_the_value_is_named(home: Env) -> None:
    """The value has no effect while it is set."""
    result = set_value({**home, "OPENHERMES_SEED": "1"}, "seed", "2")
    assert "the variable OPENHERMES_SEED overrides it" in result.stderr


def edit(env: Env, folder: Path, script: str) -> Result:
    """Run `config edit` with an editor of this script, which gets the file as $1."""
    program = folder / "editor"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return hermes("config", "edit", env={**env, "EDITOR": str(program)})


def test_an_edit_replaces_the_file(home: Env, tmp_path: Path) -> None:
    """It is readable by the user only, and no draft is left."""
    path = config_file(home, WRITTEN)
    result = edit(home, tmp_path, "echo 'seed = 1' >> $1")
    assert (result.code, result.stderr) == (0, f"{path} is changed\n")
    assert path.read_text() == WRITTEN + "seed = 1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["config.toml"]


def test_an_invalid_text_is_kept_and_opened_again(home: Env, tmp_path: Path) -> None:
    """The config file is unchanged in between."""
    path = config_file(home, WRITTEN)
    draft = path.with_name("config.draft.toml")
    failed = edit(home, tmp_path, "echo 'seed = -1' >> $1")
    assert (failed.code, path.read_text()) == (78, WRITTEN)
    assert "seed cannot be -1" in failed.stderr
    assert f"your text again, which is in {draft}" in failed.stderr
    assert draft.read_text() == WRITTEN + "seed = -1\n"
    again = edit(home, tmp_path, "sed -i s/-1/1/ $1")
    assert again.code == 0
    assert f"to start from the config file, delete {draft}" in again.stderr
    assert path.read_text() == WRITTEN + "seed = 1\n"
    assert not draft.exists()


def test_an_edit_with_an_invalid_url_of_a_server_is_refused(home: Env, tmp_path: Path) -> None:
    """Nothing is sent to the server."""
    path = config_file(home, WRITTEN)
    failed = edit(home, tmp_path, "printf '[servers.work]\\nurl = \"box:port\"\\n' >> $1")
    assert (failed.code, path.read_text()) == (78, WRITTEN)
    assert "[servers.work] a URL of a server begins with http://" in failed.stderr


@pytest.mark.parametrize("script", ["true", "exit 1"])
def test_an_edit_without_a_change_leaves_nothing(home: Env, tmp_path: Path, script: str) -> None:
    """There is no config file if there was none."""
    assert edit(home, tmp_path, script).code == (2 if script == "exit 1" else 0)
    assert list(config_file(home).parent.iterdir()) == []


def test_a_file_that_changed_during_the_edit_is_not_overwritten(home: Env, tmp_path: Path) -> None:
    """The edited text is kept."""
    path = config_file(home, WRITTEN)
    result = edit(home, tmp_path, f"echo 'seed = 1' >> $1; echo '# new' >> {path}")
    assert (result.code, path.read_text()) == (78, f"{WRITTEN}# new\n")
    assert "was changed during the edit" in result.stderr
    assert path.with_name("config.draft.toml").exists()


def test_a_damaged_config_file_can_be_edited(home: Env, tmp_path: Path) -> None:
    """The settings are not read first."""
    path = config_file(home, "model = \n")
    assert edit(home, tmp_path, "echo 'keys = \"vi\"' > $1").code == 0
    assert path.read_text() == 'keys = "vi"\n'


@pytest.mark.parametrize("script", ["printf 'caf\\351' > $1", 'rm "$1"', 'rm "$1"; mkdir "$1"'])
def test_a_draft_that_is_no_text_is_reported(home: Env, tmp_path: Path, script: str) -> None:
    """The config file is unchanged."""
    path = config_file(home, WRITTEN)
    result = edit(home, tmp_path, script)
    assert (result.code, path.read_text()) == (78, WRITTEN)
    assert "the config file is unchanged" in result.stderr


def test_every_setting_that_show_lists_can_be_set(home: Env) -> None:
    """To the value that it has."""
    for line in hermes("config", "show", env=home).stdout.decode().splitlines():
        name, value, _source = line.split()
        if value not in {"-", "none"}:
            result = set_value(home, name, value)
            assert (result.code, result.stderr.split()[0]) == (0, name), result.stderr


@pytest.mark.parametrize("words", [["a", "b"], ['["a", "b"]']])
def test_a_list_can_be_written_as_in_toml(home: Env, words: list[str]) -> None:
    """Several words are the same as one TOML list; other text in brackets is text."""
    assert hermes("config", "set", "stop", *words, env=home).code == 0
    assert config.load(Paths.from_environment(home), home).file_options["stop"] == ("a", "b")
    assert hermes("config", "set", "stop", "[OOC]", env=home).code == 0
    assert config.load(Paths.from_environment(home), home).file_options["stop"] == ("[OOC]",)


@pytest.mark.parametrize(
    ("before", "key", "value", "after"),
    [
        ("", "users.winry.name", "Winry", {"winry": {"name": "Winry"}}),
        ("[users.Bo]\n", "users.bo.description", "Tall.", {"Bo": {"description": "Tall."}}),
        ("[users]\n", "users.a-b.name", "A", {"a-b": {"name": "A"}}),
        ("", "users.a.b.name", "A", {"a.b": {"name": "A"}}),
        ('users.bo.name = "B"\n', "users.al.name", "A", {"bo": {"name": "B"}, "al": {"name": "A"}}),
        (
            'users = { bo = { name = "B" } }\n',
            "users.al.name",
            "A",
            {"bo": {"name": "B"}, "al": {"name": "A"}},
        ),
    ],
)
def test_a_user_persona_is_set(home: Env, before: str, key: str, value: str, after: dict[str, Any]) -> None:
    """A key that exists is found in upper or lower case; other characters than letters are quoted."""
    path = config_file(home, before or None)
    assert set_value(home, key, value).code == 0
    assert tomllib.loads(path.read_text()) == {"users": after}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["users.winry.nmae", "x"], "a user persona has users.NAME.name"),
        (["users.winry", "x"], "a user persona has users.NAME.name"),
        (["users..name", "x"], "there is no setting 'users..name'"),
        (["users.winry.name", " "], "[users.winry] name takes a string that is not blank"),
        (["users.winry.name", "a\nb"], "the name is not one line of text"),
    ],
)
def test_an_invalid_user_persona_is_not_set(home: Env, words: list[str], message: str) -> None:
    """The file is unchanged."""
    path = config_file(home, WRITTEN)
    result = set_value(home, *words)
    assert (result.code, path.read_text()) == (2, WRITTEN)
    assert message in result.stderr


@pytest.mark.parametrize(
    ("key", "removed", "now"),
    [
        ("model", 'model = "starter"   # small\n', "model is not set (default)"),
        ("top-p", "top-p = 0.9 # p\n", "top_p is 0.95 (default)"),
        ("user", 'name = "Ed" # me\n', "user is not set (default)"),
        ("user.name", 'name = "Ed" # me\n', "user is not set (default)"),
    ],
)
def test_a_value_is_removed_and_everything_else_kept(home: Env, key: str, removed: str, now: str) -> None:
    """The message has the value that applies now."""
    path = config_file(home, WRITTEN)
    result = hermes("config", "unset", key, env=home)
    assert (result.code, path.read_text()) == (0, WRITTEN.replace(removed, ""))
    assert now in result.stderr
    again = hermes("config", "unset", key, env=home)
    assert (again.code, "is not set in" in again.stderr) == (0, True)


def test_a_user_persona_is_removed(home: Env) -> None:
    """A part of it, or the whole table."""
    path = config_file(home, '[users.winry]\nname = "W"\ndescription = "x"\n\n[users.bo] # me\n')
    done = hermes("config", "unset", "users.WINRY.name", env=home)
    assert "; users.winry is winry: x (config file)" in done.stderr
    unknown = hermes("config", "unset", "users.winri", env=home)
    assert (unknown.code, "no user persona 'winri'; did you mean 'winry'?" in unknown.stderr) == (2, True)
    done = hermes("config", "unset", "users.winry", env=home)
    assert "; there is no users.winry\n" in done.stderr
    assert path.read_text() == "[users.bo] # me\n"


def test_the_environment_applies_after_a_value_is_removed(home: Env) -> None:
    """An invalid value is removed, too."""
    config_file(home, "context = 0\n[options]\nseed = 1\n")
    assert (
        "there is no setting 'modl'; did you mean 'model'?"
        in hermes("config", "unset", "modl", env=home).stderr
    )
    assert hermes("config", "unset", "context", env=home).code == 0
    done = hermes("config", "unset", "seed", env={**home, "OPENHERMES_SEED": "7"})
    assert "; seed is 7 (environment)" in done.stderr


def test_the_users_description_is_shown(home: Env) -> None:
    """`config show` has every setting that `config set` takes."""
    hermes("config", "set", "user.description", "A knight.", env=home)
    rows = hermes("config", "show", env=home).stdout.decode().splitlines()
    assert [row.split() for row in rows if row.startswith("user.description")] == [
        ["user.description", "A", "knight.", "config", "file"]
    ]
