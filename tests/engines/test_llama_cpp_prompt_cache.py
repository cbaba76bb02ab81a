"""Tests of the saved states of system prompts: what they hold, when they are used, and damaged files."""

from pathlib import Path

import pytest

from hermes_cli.engines.base import Cancel, Completion
from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
from hermes_cli.engines.llama_cpp.settings import PREFILL_BATCH, LlamaSettings
from hermes_cli.engines.prompt_cache_dir import PromptCacheDir
from hermes_cli.messages import Message, Role
from hermes_cli.models.gguf.model import read_header
from hermes_cli.options import GenerationOptions

GREEDY = GenerationOptions(temperature=0, max_tokens=8)
KEEPER = Message(
    Role.SYSTEM, "You keep a lighthouse on a lonely coast, and like to talk. " * 12, cacheable=True
)
BAKER = Message(Role.SYSTEM, "You bake bread in a small town, and get up at three. " * 12, cacheable=True)
HELLO = Message(Role.USER, "What do you see?")


def open_engine(path: Path, folder: Path, kv_type: str = "f16") -> LlamaCppEngine:
    """Return a new engine that saves its system prompts in `folder`."""
    settings = LlamaSettings(str(path), context_size=512, threads=2, kv_type=kv_type)
    return LlamaCppEngine(read_header(path), settings, name="starter", cache_dir=PromptCacheDir(folder))


def answer(engine: LlamaCppEngine, *messages: Message) -> tuple[str, Completion]:
    """Return the answer's text and its completion."""
    chunks = list(engine.stream(messages, GREEDY, Cancel()))
    assert chunks[-1].completion is not None
    return "".join(chunk.text for chunk in chunks), chunks[-1].completion


def answer_once(path: Path, folder: Path, *messages: Message, kv_type: str = "f16") -> tuple[str, Completion]:
    """Return the answer of a new engine, which is then closed."""
    engine = open_engine(path, folder, kv_type)
    try:
        return answer(engine, *messages)
    finally:
        engine.close()


def system_tokens(engine: LlamaCppEngine, system: Message) -> int:
    """Return the number of tokens of the system turn that fill whole batches."""
    return len(engine._format.cacheable_ids((system,))) // PREFILL_BATCH * PREFILL_BATCH


def test_a_new_engine_reads_the_saved_system_prompt(starter_path: Path, tmp_path: Path) -> None:
    """The second engine evaluates only the ids after the system prompt, and its answer is the same."""
    first, done = answer_once(starter_path, tmp_path, KEEPER, HELLO)
    assert done.usage.cached_tokens == 0
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    engine = open_engine(starter_path, tmp_path)
    again, done = answer(engine, KEEPER, HELLO)
    assert (again, done.usage.cached_tokens) == (first, system_tokens(engine, KEEPER))
    engine.close()
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_system_prompt_is_read_again_after_another_one(starter_path: Path, tmp_path: Path) -> None:
    """A system prompt that is used again after another one is read from its file."""
    engine = open_engine(starter_path, tmp_path)
    first, _ = answer(engine, KEEPER, HELLO)
    answer(engine, BAKER, HELLO)
    again, done = answer(engine, KEEPER, HELLO)
    assert (again, done.usage.cached_tokens) == (first, system_tokens(engine, KEEPER))
    engine.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_prefill_saves_the_system_prompt_only(starter_path: Path, tmp_path: Path) -> None:
    """The file holds the states of the system prompt, also if more messages are prefilled."""
    engine = open_engine(starter_path, tmp_path)
    engine.prefill((KEEPER, HELLO), Cancel())
    (file,) = tmp_path.iterdir()
    header = read_header(starter_path)
    tokens = system_tokens(engine, KEEPER)
    engine.close()
    per_token = header.kv_bytes_per_token
    assert tokens * per_token <= file.stat().st_size < (tokens + 1) * per_token
    _, done = answer_once(starter_path, tmp_path, KEEPER, HELLO)
    assert done.usage.cached_tokens == tokens


def test_a_system_prompt_that_must_not_be_saved_leaves_no_file(starter_path: Path, tmp_path: Path) -> None:
    """A system prompt that is not cacheable, and a prompt without one, are not saved."""
    engine = open_engine(starter_path, tmp_path)
    answer(engine, Message(Role.SYSTEM, KEEPER.text), HELLO)
    answer(engine, HELLO)
    engine.close()
    assert list(tmp_path.iterdir()) == []


def test_states_of_another_kv_cache_are_not_used(starter_path: Path, tmp_path: Path) -> None:
    """The file of 16-bit states is not read into an 8-bit KV cache."""
    answer_once(starter_path, tmp_path, KEEPER, HELLO)
    _, done = answer_once(starter_path, tmp_path, KEEPER, HELLO, kv_type="q8_0")
    assert done.usage.cached_tokens == 0


@pytest.mark.parametrize("damage", [b"", b"not the states of a prompt", b"\x00" * 4000])
def test_a_damaged_file_is_written_again(starter_path: Path, tmp_path: Path, damage: bytes) -> None:
    """A file that is cut short, or holds something else, is ignored and written again."""
    first, _ = answer_once(starter_path, tmp_path, KEEPER, HELLO)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage or whole[: len(whole) // 2])
    again, done = answer_once(starter_path, tmp_path, KEEPER, HELLO)
    assert (again, done.usage.cached_tokens) == (first, 0)
    assert file.stat().st_size == len(whole)


def test_a_short_system_prompt_is_not_saved(starter_path: Path, tmp_path: Path) -> None:
    """Without a whole batch there is nothing to gain, and the batches of a first answer stay as they are."""
    short = Message(Role.SYSTEM, "You keep a lighthouse on a lonely coast, and like to talk.", cacheable=True)
    _, done = answer_once(starter_path, tmp_path, short, HELLO)
    assert done.usage.cached_tokens == 0
    assert list(tmp_path.iterdir()) == []


def test_an_unusable_folder_changes_no_answer(starter_path: Path, tmp_path: Path) -> None:
    """If the folder cannot be created, the answer is the same, and nothing is saved."""
    (tmp_path / "file").write_text("in the way")
    first, _ = answer_once(starter_path, tmp_path / "folder", KEEPER, HELLO)
    assert answer_once(starter_path, tmp_path / "file" / "folder", KEEPER, HELLO)[0] == first


@pytest.mark.parametrize("copies_mib", [0, 64])
def test_a_prompt_continues_the_copy_of_an_earlier_one(starter_path: Path, copies_mib: int) -> None:
    """As in a group. Without copies, only the common beginning of the prompts is kept."""
    settings = LlamaSettings(str(starter_path), context_size=512, threads=2, copies_mib=copies_mib)
    engine = LlamaCppEngine(read_header(starter_path), settings, name="starter")
    for system in (KEEPER, BAKER):
        answer(engine, system, HELLO)
    _, done = answer(engine, KEEPER, HELLO)
    engine.close()
    assert (done.usage.cached_tokens > 100) is bool(copies_mib)
