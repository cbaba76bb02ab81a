"""`hermes personas import --into`: presets and regex scripts are added to a persona's file."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.config import Paths
from hermes_cli.personas import loader
from tests.run_hermes import Result, hermes

Env = Mapping[str, str]
ADA = """\
# My Ada.
name = "Ada"
system = '''
Be Ada.
'''  # short
greeting = "Hi."

[[lore]]
keys = ["engine"]  # hers
content = "It weaves."
"""
SCRIPT = {"scriptName": "Tags", "findRegex": "/<b>/g", "replaceString": "*", "placement": [2]}
PROMPT = {"name": "Actor", "content": 'Play {{char}}.\nSay """yes""".', "post_history": "Stay."}
INSTRUCT = {"input_sequence": "U:", "output_sequence": "A:", "stop_sequence": "</s>", "name": "Old"}


def into(env: Env, tmp_path: Path, persona: str, *documents: object, more: tuple[str, ...] = ()) -> Result:
    """Add files with these contents to a persona."""
    files = []
    for number, document in enumerate(documents):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(document))
        files.append(str(file))
    return hermes("personas", "import", *files, "--into", persona, *more, env=env)


@pytest.fixture
def ada(home: Env) -> Path:
    """The file of a persona with comments, in an otherwise empty home."""
    folder = Paths.from_environment(home).personas
    folder.mkdir(parents=True)
    file = folder / "ada.toml"
    file.write_text(ADA)
    return file


def test_scripts_and_presets_are_added(home: Env, ada: Path, tmp_path: Path) -> None:
    """Comments, and everything that the files do not set, stay as they are."""
    result = into(home, tmp_path, "Ada", SCRIPT, PROMPT, INSTRUCT)
    assert result.code == 0
    assert (
        "the system prompt is replaced, the post-history instructions are replaced, 1 stop string added, "
        "1 regex script added"
    ) in result.stderr
    assert "2.json: left out: input_sequence, output_sequence; hermes uses" in result.stderr
    persona = loader.load_file(ada)
    assert (persona.system, persona.post_history) == ('Play {{char}}.\nSay """yes""".', "Stay.")
    assert (persona.options["stop"], persona.regex[0].find) == (("</s>",), "/<b>/g")
    assert persona.lorebook
    assert persona.lorebook.entries[0].content == "It weaves."
    text = ada.read_text()
    assert text.startswith("# My Ada.\n")
    assert 'keys = ["engine"]  # hers\n' in text
    again = into(home, tmp_path, "Ada", SCRIPT, PROMPT, INSTRUCT)
    assert "nothing is changed" in again.stderr
    assert ada.read_text() == text


def test_a_script_alone_is_appended(home: Env, ada: Path, tmp_path: Path) -> None:
    """The text before it is unchanged to the byte."""
    assert into(home, tmp_path, "ada", [SCRIPT]).code == 0  # as SillyTavern exports several scripts
    assert ada.read_text() == (f'{ADA}\n[[regex]]\nname = "Tags"\nfind = "/<b>/g"\nreplace = "*"\n')


def test_a_persona_of_hermes_is_copied_first(home: Env, tmp_path: Path) -> None:
    """The file in the package is never changed."""
    shipped = (loader.shipped_dir() / "edward-elric.toml").read_bytes()
    result = into(home, tmp_path, "edward-elric", SCRIPT)
    assert "comes with hermes; copied it" in result.stderr
    assert loader.load_file(Paths.from_environment(home).personas / "edward-elric.toml").regex
    assert (loader.shipped_dir() / "edward-elric.toml").read_bytes() == shipped


@pytest.mark.parametrize(
    ("document", "persona", "more", "code", "message"),
    [
        ({"name": "X", "first_mes": "Hi", "description": "d"}, "ada", (), 2, "is neither a preset nor"),
        (SCRIPT, "nobody", (), 78, "there is no persona 'nobody'"),
        (SCRIPT, "ada", ("--as", "x"), 2, "--into excludes --as and --force"),
        ([SCRIPT, 1], "ada", (), 78, "0.json is not in a format"),
    ],
)
def test_nothing_is_changed_after_an_error(
    home: Env,
    ada: Path,
    tmp_path: Path,
    *,
    document: object,
    persona: str,
    more: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    """Each error names the file or the flag."""
    result = into(home, tmp_path, persona, document, more=more)
    assert (result.code, message in result.stderr) == (code, True), result.stderr
    assert ada.read_text() == ADA


def test_without_into_a_part_of_a_persona_is_refused(home: Env, tmp_path: Path) -> None:
    """The hint has the command. A system prompt alone is a persona."""
    for number, document in enumerate((SCRIPT, INSTRUCT, PROMPT)):
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
    for number in range(2):
        file = str(tmp_path / f"{number}.json")
        for arguments in (("personas", "import", file), ("chat", "-p", file)):
            result = hermes(*arguments, env=home)
            assert result.code == 78
            assert f"{number}.json has regex scripts or settings, and no persona" in result.stderr
            assert f"{number}.json --into NAME" in result.stderr
    assert hermes("personas", "import", str(tmp_path / "2.json"), env=home).stdout.startswith(b"actor")
