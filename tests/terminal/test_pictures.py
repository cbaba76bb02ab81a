"""The picture of a character card on a terminal: in a chat and in `hermes personas show`."""

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.personas.formats.cards import V2, archive, card_chunk, chunk, picture, to_json
from tests.run_hermes import hermes, script
from tests.terminal.screen import Terminal, at_the_prompt

Env = Mapping[str, str]

pytestmark = pytest.mark.slow

SECRET = chunk(b"tEXt", b"Comment\0\x1b]0;owned\x07")
PIXELS = base64.b64encode(picture()).decode()
KITTY = f"\x1b_Ga=T,f=100,q=2,c=20,m=0;{PIXELS}\x1b\\".encode()
ITERM2 = (
    f"\x1b]1337;File=inline=1;size={len(picture())};width=20;height=10;preserveAspectRatio=1:{PIXELS}\x07"
)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A card in a PNG of one pixel, with another text."""
    path = tmp_path / "ada.png"
    path.write_bytes(picture(card_chunk("chara", V2), SECRET))
    return path


def test_a_chat_begins_with_the_picture(home: Env, tmp_path: Path, card: Path) -> None:
    """A chat in kitty shows the pixels of the card once, and nothing else of the file."""
    env = {**home, "TERM": "xterm-kitty"}
    with at_the_prompt(script(tmp_path, {"text": "fine"}), env, "-p", str(card)) as term:
        assert term.raw.count(b"\x1b_G") == 1
        assert KITTY in term.raw
        assert b"owned" not in term.raw


@pytest.mark.parametrize(
    "changes", [{}, {"TERM": "dumb"}, {"TERM": "xterm-kitty", "TMUX": "x"}, {"OPENHERMES_PICTURES": "off"}]
)
def test_no_other_terminal_receives_a_picture(
    home: Env, tmp_path: Path, card: Path, changes: dict[str, str]
) -> None:
    """A terminal without pictures shows only text."""
    env = {**home, "KITTY_WINDOW_ID": "1"} if "OPENHERMES_PICTURES" in changes else dict(home)
    with Terminal(["chat", "-m", script(tmp_path), "-p", str(card)], {**env, **changes}) as term:
        shown = term.expect(r"looks up")
        assert b"\x1b_G" not in term.raw
        assert b"1337" not in term.raw
        assert PIXELS[:20] not in shown


def test_show_begins_with_the_picture_of_an_imported_card(home: Env, card: Path) -> None:
    """The picture is that of the file beside the persona, which was saved at its import."""
    assert hermes("personas", "import", str(card), env=home).code == 0
    card.unlink()
    with Terminal(["personas", "show", "ada"], {**home, "TERM_PROGRAM": "WezTerm"}) as term:
        term.expect(r"^name +Ada")
        assert term.raw.startswith(ITERM2.encode())
    saved = Path(home["OPENHERMES_HOME"], "config/personas/ada.png")
    assert saved.stat().st_mode & 0o777 == 0o600


def test_show_prints_why_a_picture_is_not_shown(home: Env, tmp_path: Path) -> None:
    """A picture of too many pixels is not sent to the terminal; the persona is shown."""
    wide = chunk(b"IHDR", b"\0\0\xff\xff" * 2 + b"\x08\0\0\0\0")
    data = picture(card_chunk("chara", V2))
    path = tmp_path / "ada.png"
    path.write_bytes(data[:8] + wide + data[33:])
    with Terminal(["personas", "show", str(path)], {**home, "TERM": "xterm-kitty"}) as term:
        shown = term.expect(r"^name +Ada")
        assert "its picture is too large to be shown: 65,535 x 65,535 pixels" in " ".join(shown.split())
        assert b"\x1b_G" not in term.raw


def test_the_picture_of_an_archive_is_shown(home: Env, tmp_path: Path) -> None:
    """The picture of a CHARX file is its main icon."""
    icon = {"type": "icon", "uri": "embeded://icon.png", "name": "main", "ext": "png"}
    document = {"spec": "chara_card_v3", "spec_version": "3.0", "data": {**V2["data"], "assets": [icon]}}
    path = tmp_path / "ada.charx"
    path.write_bytes(archive([("card.json", to_json(document)), ("icon.png", picture(SECRET))]))
    with Terminal(["personas", "show", str(path)], {**home, "TERM": "xterm-kitty"}) as term:
        term.expect(r"^name +Ada")
        assert term.raw.startswith(KITTY)


def test_a_pipe_receives_no_picture(home: Env, card: Path) -> None:
    """In a pipe, `personas show` writes only text, even if the setting names a protocol."""
    env = {**home, "TERM": "xterm-kitty", "OPENHERMES_PICTURES": "kitty"}
    result = hermes("personas", "show", str(card), env=env)
    assert result.stdout.startswith(b"name")
    assert b"\x1b" not in result.stdout
