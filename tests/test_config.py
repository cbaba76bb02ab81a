"""Tests of the settings: the order of their sources, and what is refused."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli import config
from hermes_cli.config import Paths, Settings
from hermes_cli.errors import ConfigError
from hermes_cli.lore_settings import LoreSettings
from hermes_cli.server_settings import ServerSettings


def load(tmp_path: Path, text: str = "", **environ: str) -> Settings:
    """Load settings from a file's text and an environment."""
    env = {"OPENHERMES_HOME": str(tmp_path), **environ}
    paths = Paths.from_environment(env)
    if text:
        paths.config.mkdir()
        paths.config_file.write_text(text)
    return config.load(paths, env)


def test_openhermes_home_contains_every_folder(tmp_path: Path) -> None:
    """It replaces the system's folders."""
    paths = Paths.from_environment({"OPENHERMES_HOME": str(tmp_path)})
    folders = (
        paths.config,
        paths.data,
        paths.cache,
        paths.state,
        paths.models,
        paths.personas,
        paths.history,
    )
    assert all(folder.is_relative_to(tmp_path) for folder in folders)


def test_the_default_folders_are_the_systems_under_openhermes() -> None:
    """OPENHERMES_HOME is not set."""
    paths = Paths.from_environment({})
    assert all("openhermes" in str(f) for f in (paths.config, paths.data, paths.cache, paths.state))


NO_USER = """
import pwd
def unknown(_): raise KeyError
pwd.getpwuid = pwd.getpwnam = unknown
from hermes_cli.__main__ import main
main()
"""


def test_a_user_without_a_home_directory_is_told_what_to_set() -> None:
    """A container may run with a user that the system does not know, and without HOME."""
    env = {"PATH": os.defpath, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    command = [sys.executable, "-c", NO_USER, "config", "show"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (78, "hermes: this user has no home directory")
    assert "OPENHERMES_HOME" in done.stderr


def test_flags_override_environment_persona_and_config_file(tmp_path: Path) -> None:
    """The environment overrides a persona, and a persona the config file."""
    text = "[options]\ntemperature = 0.1\ntop_p = 0.2\nmin_p = 0.3\ntop_k = 4"
    settings = load(tmp_path, text, OPENHERMES_MIN_P="0.5", OPENHERMES_TOP_K="6")
    sampling = settings.sampling("ed", {"top_p": 0.9, "min_p": 0.1}, flags={"top_k": 7})
    expected: Mapping[str, tuple[object, str]] = {
        "temperature": (0.1, "config file"),
        "top_p": (0.9, "persona ed"),
        "min_p": (0.5, "environment"),
        "top_k": (7, "command line"),
        "seed": (None, "default"),
    }
    assert {n: (getattr(sampling.options, n), sampling.source(n)) for n in expected} == expected


def test_each_setting_has_a_value_and_a_source(tmp_path: Path) -> None:
    """The sources are a variable, the config file and the default."""
    text = 'model = "a"\npersona = "b"\nprecision = "4bit"'
    settings = load(tmp_path, text, OPENHERMES_MODEL="c", OPENHERMES_CONTEXT="99", OPENHERMES_DEVICE="cpu")
    assert (settings.model, settings.persona, settings.context) == ("c", "b", 99)
    assert (settings.precision, settings.device) == ("4bit", "cpu")
    assert settings.source("model") == "environment (OPENHERMES_MODEL)"
    assert (settings.source("persona"), settings.source("user")) == ("config file", "default")


def test_saving_can_be_turned_off_in_the_file_and_in_the_environment(tmp_path: Path) -> None:
    """The environment overrides the file."""
    assert load(tmp_path).save
    assert not load(tmp_path, "save = false").save
    assert config.load(
        Paths.from_environment({"OPENHERMES_HOME": str(tmp_path)}), {"OPENHERMES_SAVE": "True"}
    ).save
    with pytest.raises(ConfigError, match="save takes true or false, not 'no'"):
        config.load(Paths.from_environment({}), {"OPENHERMES_SAVE": "no"})


def test_the_lore_table_sets_the_defaults_of_lorebooks(tmp_path: Path) -> None:
    """Keys that the table lacks keep their defaults."""
    settings = load(tmp_path, "[lore]\nshare = 40\nnames = false")
    assert settings.lore == LoreSettings(share=40, names=False)
    assert settings.source("lore") == "config file"


def test_the_servers_table_has_the_model_servers(tmp_path: Path) -> None:
    """By default there are none."""
    settings = load(tmp_path, '[servers.work]\nurl = "http://gpu-box:8000/v1"\nkey_env = "K"')
    assert settings.servers == {"work": ServerSettings("http://gpu-box:8000/v1", key_env="K")}
    assert Settings().servers == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = \n", r"line 1, column 9"),
        ('modle = "x"', r"did you mean 'model'"),
        ("model = 3", r"model takes a string"),
        ('decode = "fast"', r"decode is 'fast'; it can be ahead or step"),
        ('prefill_ahead = "no"', r"prefill_ahead takes true or false, not 'no'"),
        ("prefill_ahead = 0", r"prefill_ahead takes true or false, not 0"),
        ("context = true", r"context takes a whole number, not True"),
        ('speculate = "on"', r"speculate is 'on'; it can be off or lookup"),
        ('model = ""', r"model is empty"),
        ("context = true", r"whole number"),
        ("context = 0", r"1 to"),
        ('save = "no"', r"save takes true or false"),
        ("save = 0", r"save takes true or false"),
        ("options = 3", r"\[options\] on a separate line"),
        ("[options]\ntemprature = 1", r"did you mean 'temperature'"),
        ("[options]\ntemperature = 9", r"0 to 5"),
        ("lore = 3", r"\[lore\] on a separate line"),
        ("[lore]\nshaer = 3", r"\[lore\] has no key 'shaer'; did you mean 'share'"),
        ("[lore]\nrecursive = 1", r"\[lore\] recursive takes true or false, not 1"),
        ("[lore]\nscan_depth = true", r"\[lore\] scan_depth takes a whole number, not True"),
        ("[lore]\nscan_depth = 1001", r"\[lore\] scan_depth is 1,001; it can be 0 to 1,000"),
        ("[servers.work]\nmodel = 'x'", r"\[servers\.work\] has no url"),
        ("x = " + "[" * 3000, r"nested too deeply"),
    ],
)
def test_a_mistake_in_the_config_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """The message has the reason and the file's name."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert re.search(words, caught.value.message), caught.value.message
    assert "config.toml" in caught.value.message


@pytest.mark.parametrize("variable", ["TEMPERATURE", "CONTEXT", "SEED", "SAVE", "KEYS"])
def test_a_mistake_in_the_environment_is_refused(tmp_path: Path, variable: str) -> None:
    """The message has the variable's name, and the hint is to change it."""
    with pytest.raises(ConfigError, match=f"^OPENHERMES_{variable}: ") as caught:
        load(tmp_path, **{f"OPENHERMES_{variable}": "warm"})
    assert caught.value.hint == f"change or unset OPENHERMES_{variable}"


def test_a_config_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    """The message has the position of the byte."""
    env = {"OPENHERMES_HOME": str(tmp_path)}
    paths = Paths.from_environment(env)
    paths.config.mkdir()
    paths.config_file.write_bytes(b'model = "\xff"')
    with pytest.raises(ConfigError, match="not UTF-8: byte 9"):
        config.load(paths, env)


@pytest.mark.parametrize(
    ("text", "variable", "value"),
    [
        ("", "", True),
        ("prefill_ahead = false", "", False),
        ("prefill_ahead = false", "true", True),
        ("", "False", False),
    ],
)
def test_prefill_ahead_is_true_or_false(tmp_path: Path, text: str, variable: str, *, value: bool) -> None:
    """It is on by default; the config file and the environment turn it off."""
    assert load(tmp_path, text, OPENHERMES_PREFILL_AHEAD=variable).prefill_ahead is value


def test_a_variable_that_is_neither_true_nor_false_is_refused(tmp_path: Path) -> None:
    """The message names the variable."""
    with pytest.raises(ConfigError, match="OPENHERMES_PREFILL_AHEAD: prefill_ahead takes true or false"):
        load(tmp_path, OPENHERMES_PREFILL_AHEAD="yes")
