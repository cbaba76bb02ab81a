"""Chat with a model server that runs: `python -m torture.real_server URL[:MODEL]`.

A character with lore plays 20 turns, with old turns left out and again with a summary: with a retry, a
swipe, an undo, Ctrl-C, a continued answer and a restart. Then the server gets random dialogues, half of them
hostile, for answers of two tokens each.

After each turn, a new store must load the conversation. If token counts are exact, the server must report the
one of hermes. If hermes makes the prompts, no text in them may have a control token. Exits 1 if one of these
does not hold; dialogues that the server or hermes refuses are only counted.

The environment variable REAL_SERVER_KEY is the server's key.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from hermes_cli.chat.prompt_settings import Overflow
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.address import parse
from hermes_cli.engines.remote.connection import open_engine
from hermes_cli.engines.remote.engine import RemoteEngine
from hermes_cli.engines.remote.key import KeySource
from hermes_cli.engines.remote.local_vocabulary import LocalVocabulary, open_folder, open_gguf
from hermes_cli.engines.remote.servers.api import Level
from hermes_cli.errors import HermesError, UsageError
from hermes_cli.messages import Message
from hermes_cli.models.gguf.model import read_header
from hermes_cli.options import GenerationOptions
from hermes_cli.prompts.text_encoder import looks_like_control
from tests.dialogues import hostile, ordinary
from tests.engines.remote.long_play import LongPlay

DIALOGUES: Final = 200
KEY_VARIABLE: Final = "REAL_SERVER_KEY"
SEEDS: Final = (61, 62)
RIGHT: Final = "right"
REFUSED: Final = "refused"
SHORT: Final = GenerationOptions(temperature=0, max_tokens=2)


def connect(given: argparse.Namespace, notify: Callable[[str], None]) -> RemoteEngine:
    """Return an engine for the server."""
    address = parse(given.url, {}, {})
    if address is None:
        raise UsageError(f"{given.url} is not a URL", "use one with http:// or https://")
    if KEY_VARIABLE in os.environ:
        address = address._replace(key=KeySource("key_env", KEY_VARIABLE))
    return open_engine(
        address,
        os.environ,
        context_size=given.context,
        notify=notify,
        open_tokenizer=partial(_tokenizer, given.tokenizer) if given.tokenizer else None,
    )


def _tokenizer(path: Path) -> LocalVocabulary:
    return open_folder(path.name, path) if path.is_dir() else open_gguf(path.name, read_header(path))


def play(engine: RemoteEngine, overflow: Overflow, folder: Path) -> None:
    """Play the turns; LongPlay checks the store after each."""
    long_play = LongPlay(engine, folder / f"{overflow}.db", overflow)
    long_play.play(can_continue=not engine.cannot_continue)
    long_play.resume()
    print(f"{len(long_play.answers)} answers, old turns {overflow}: {len(long_play.remarks)} times")
    long_play.close()


def send(engine: RemoteEngine, messages: Sequence[Message]) -> str:
    """Send a dialogue, and return what is wrong, or RIGHT."""
    if engine.level is Level.TOKEN_IDS and (wrong := _wrong_prompt(engine, messages)):
        return wrong
    is_exact, counted = not engine.estimates_tokens, engine.count_tokens(messages)
    done = [*engine.stream(messages, SHORT, Cancel())][-1].completion
    reported = done.usage.prompt_tokens if done is not None else 0
    is_wrong = is_exact and counted != reported
    return f"{counted} tokens counted, {reported} reported" if is_wrong else RIGHT


def _wrong_prompt(engine: RemoteEngine, messages: Sequence[Message]) -> str:
    """Return what is wrong with the prompt that hermes makes of a dialogue."""
    tokens = engine.prompt_tokens(messages)
    harmless = engine.prompt_tokens([Message(message.role, "x") for message in messages])
    control, expected = (sum(token.control for token in made) for made in (tokens, harmless))
    ordinary_tokens = [token.data.decode("utf-8", "replace") for token in tokens if not token.control]
    is_forged = control != expected or any(map(looks_like_control, ordinary_tokens))
    return "a text has a control token" if is_forged else ""


def send_all(engine: RemoteEngine, half: int) -> Counter[str]:
    """Send `half` ordinary and as many hostile dialogues, and print and return how often each result was."""
    results = Counter[str]()
    began = time.monotonic()
    for messages in (*ordinary(half, SEEDS[0]), *hostile(half, SEEDS[1])):
        try:
            results[send(engine, messages)] += 1
        except HermesError as error:
            results[f"{REFUSED}: {error.message}"] += 1
    print(f"{results.total()} dialogues in {time.monotonic() - began:.0f} s:")
    for result, times in results.most_common():
        print(f"  {times:4} {result}")
    return results


def main(arguments: Sequence[str]) -> int:
    """Run the checks and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m torture.real_server", description=__doc__)
    parser.add_argument("url", metavar="URL[:MODEL]")
    parser.add_argument("--tokenizer", type=Path, help="a folder with a tokenizer.json, or a GGUF")
    parser.add_argument("--context", type=int, help="the context window in tokens")
    parser.add_argument("--dialogues", type=int, default=DIALOGUES, help=f"default: {DIALOGUES}")
    given = parser.parse_args(arguments)
    notices: list[str] = []
    try:
        engine = connect(given, notices.append)
    except HermesError as error:
        print(f"{error.message}\n{error.hint}")
        return 1
    about = f"{engine.level_text}; context {engine.context_size}"
    with closing(engine), tempfile.TemporaryDirectory() as folder:
        print(f"{engine.server_name} {engine.server_version()}: {about}")
        for overflow in (Overflow.DROP, Overflow.SUMMARISE):
            play(engine, overflow, Path(folder))
        results = send_all(engine, given.dialogues // 2)
    for notice in notices:
        print(f"notice: {notice}")
    return int(any(result != RIGHT and not result.startswith(REFUSED) for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
