"""Tests of the engine over a tiny Mistral: transformers' own answers, and only new tokens evaluated."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
import torch

from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Chunk, Completion, FinishReason
from hermes_cli.engines.prompt_cache_dir import PromptCacheDir
from hermes_cli.engines.tokenizer_json import Vocabulary
from hermes_cli.engines.transformers.decode import Decoder
from hermes_cli.engines.transformers.engine import TransformersEngine
from hermes_cli.engines.transformers.prompt_cache import PromptCache
from hermes_cli.errors import HermesError, ResourcesExhausted
from hermes_cli.messages import Conversation, Message, Opening, Role
from hermes_cli.models.plan import Plan
from hermes_cli.options import GenerationOptions, Sourced
from tests.engines.transformers.conftest import CPU, Failure, engine_over
from tests.weights import SMALL_WINDOW

GREEDY = GenerationOptions(temperature=0, repetition_penalty=1, max_tokens=24, loop_guard=0)
SYSTEM = "You are a lighthouse keeper who answers in short and patient sentences, whatever is asked of you."
TALK = Conversation(
    (Message(Role.SYSTEM, SYSTEM, cacheable=True), Message(Role.USER, "Good evening! Is the lamp lit?"))
)


def said(
    engine: TransformersEngine, talk: Conversation, options: GenerationOptions = GREEDY
) -> tuple[str, Completion]:
    """Return an answer's text and its completion."""
    chunks = list(engine.stream(talk.messages, options, Cancel()))
    done = chunks[-1].completion
    assert done is not None
    return "".join(chunk.text for chunk in chunks), done


def generated(engine: TransformersEngine, talk: Conversation, done: Completion) -> list[int]:
    """Return the ids that were generated, from the turn's recorded ids."""
    assert done.turn_ids is not None
    opening = engine._vocabulary.chatml.open_turn_ids(talk.messages)
    return list(done.turn_ids.ids[len(opening) :])


def library_ids(model: Any, prompt: list[int], count: int, **settings: Any) -> list[int]:
    """Return the greedy ids of transformers' own `generate`."""
    with torch.inference_mode():
        out = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
            max_new_tokens=count,
            do_sample=False,
            pad_token_id=0,
            **settings,
        )
    return cast("list[int]", out[0, len(prompt) :].tolist())


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_ids_are_those_of_generate(
    mistral: Any, mistral_vocabulary: Vocabulary, penalty: float
) -> None:
    """Greedy ids are those of `generate`, with and without reuse, past the sliding window of 64."""
    options = GenerationOptions(temperature=0, repetition_penalty=penalty, max_tokens=60, loop_guard=0)
    engine = engine_over(mistral, mistral_vocabulary)
    talk = TALK
    for turn in range(4):
        prompt = engine._vocabulary.chatml.ids(talk.messages)
        text, done = said(engine, talk, options)
        wanted = library_ids(mistral, prompt, 60, repetition_penalty=penalty)
        assert generated(engine, talk, done) == wanted[:60]
        assert done.usage.cached_tokens > 0 or turn == 0
        talk = talk.add(Message(Role.ASSISTANT, text, done.turn_ids), Message(Role.USER, "And then?"))
    assert len(prompt) > 3 * SMALL_WINDOW


def test_every_turn_prefills_what_is_new_and_nothing_else(
    mistral: Any, mistral_vocabulary: Vocabulary
) -> None:
    """Over 20 turns with stops, retries, undos and edits, only ids outside of the cache are evaluated."""
    engine = engine_over(mistral, mistral_vocabulary)
    held: list[int] = []
    talk = TALK
    for turn in range(20):
        prompt = mistral_vocabulary.chatml.ids(talk.messages)
        cancel = Cancel()
        chunks: list[Chunk] = []
        with Evaluated(mistral) as evaluated:
            for chunk in engine.stream(talk.messages, GREEDY, cancel):
                chunks.append(chunk)
                if turn % 4 == 1 and sum(bool(one.text) for one in chunks) == 5:
                    cancel.set()
        done = chunks[-1].completion
        assert done is not None
        new = len(prompt) - min(common(prompt, held), len(prompt) - 1)
        assert done.usage.prefilled_tokens == new
        assert evaluated.ids == new + done.usage.completion_tokens - 1  # the last one waits for the next turn
        held = prompt + generated(engine, talk, done)[: done.usage.completion_tokens - 1]
        text = "".join(chunk.text for chunk in chunks)
        talk = next_turn(turn, talk, Message(Role.ASSISTANT, text, done.turn_ids))
    assert len(prompt) > 4 * SMALL_WINDOW


def next_turn(turn: int, talk: Conversation, answer: Message) -> Conversation:
    """Return the next conversation: mostly one more question, but also a retry, an undo, and an edit."""
    asked = Message(Role.USER, f"Question {turn}: what of the {'wind and the ' * (turn % 7)}sea?")
    if turn % 7 == 2:
        return talk  # a retry: the same prompt again
    if turn % 7 == 3:
        return Conversation((*talk.messages[:-1], asked))  # an undo, and another question instead
    if turn % 7 == 4:
        return Conversation((*talk.messages[:-3], asked))  # an edit of the turn before
    return talk.add(answer, asked)


def common(one: list[int], other: list[int]) -> int:
    """Return the length of the common prefix of two lists of ids."""
    differ = (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


class Evaluated:
    """Count the ids that a model evaluates."""

    def __init__(self, model: Any) -> None:
        self.ids = 0
        self._hook = model.get_decoder().register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, _: Any, __: Any, given: dict[str, Any]) -> None:
        self.ids += given["input_ids"].shape[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def test_a_retry_with_the_same_seed_says_the_same(mistral_engine: TransformersEngine) -> None:
    """Two answers with the same seed are the same, although the second one reuses the cache."""
    options = GenerationOptions(seed=4, temperature=1.2, max_tokens=30)
    talk = Conversation((Message(Role.USER, "Something that was never asked before."),))
    assert said(mistral_engine, talk, options)[0] == said(mistral_engine, talk, options)[0]


def test_a_banned_phrase_is_never_said_and_the_rest_is_what_the_model_says(
    mistral: Any, mistral_vocabulary: Vocabulary
) -> None:
    """A banned phrase is not in the answer, the text before it is unchanged, and the cache stays correct."""
    engine = engine_over(mistral, mistral_vocabulary)
    chunks = [chunk.text for chunk in engine.stream(TALK.messages, GREEDY, Cancel())]
    begun = "".join(chunks[:4])
    phrase = "".join(chunks[4:6]).strip().swapcase()
    text, done = said(engine, TALK, GenerationOptions(**{**as_dict(GREEDY), "ban": (phrase,)}))
    assert phrase.lower() not in text.lower()
    assert text.startswith(begun)
    talk = TALK.add(Message(Role.ASSISTANT, text, done.turn_ids), Message(Role.USER, "Go on."))
    fresh = engine_over(mistral, mistral_vocabulary)
    assert said(engine, talk)[0] == said(fresh, talk)[0]


def test_a_ban_of_a_single_letter_costs_no_second_try(mistral: Any, mistral_vocabulary: Vocabulary) -> None:
    """A ban of one letter leaves it out in any case, and no token is evaluated twice."""
    engine = engine_over(mistral, mistral_vocabulary)
    with Evaluated(mistral) as evaluated:
        text, done = said(engine, TALK, GenerationOptions(**{**as_dict(GREEDY), "ban": ("E",)}))
    assert "e" not in text.lower()
    assert evaluated.ids == done.usage.prompt_tokens + done.usage.completion_tokens - 1


def as_dict(options: GenerationOptions) -> dict[str, Any]:
    """Return options as keyword arguments."""
    return {name: getattr(options, name) for name in GenerationOptions.__slots__}


def test_an_answer_that_repeats_itself_is_ended(mistral: Any, mistral_vocabulary: Vocabulary) -> None:
    """The loop guard ends an answer that repeats one token, after 24 repeats."""
    engine = engine_over(mistral, mistral_vocabulary)
    options = GenerationOptions(temperature=0, repetition_penalty=1, loop_guard=24)
    hook = mistral.get_decoder().norm.register_forward_hook(lambda _, __, output: torch.ones_like(output))
    _, done = said(engine, TALK, options)
    hook.remove()
    assert done.finish_reason is FinishReason.LOOP
    assert done.usage.completion_tokens == 1 + 24  # the first token is new, the others repeat it


def test_memory_that_runs_out_in_an_answer_keeps_what_was_said(
    mistral: Any, mistral_vocabulary: Vocabulary
) -> None:
    """If memory runs out in mid-answer, the session keeps the text so far and can go on."""
    engine = engine_over(mistral, mistral_vocabulary)
    session = Session(engine, Opening.behind(TALK.messages[:1]), Sourced(GREEDY))
    full = torch.OutOfMemoryError("CUDA out of memory.")
    text = ""
    answer = session.send("Good evening!", Cancel())
    with Failure(mistral, 1, full, times=99, spared=12):
        for _ in range(5):
            text += next(answer).text
        with pytest.raises(ResourcesExhausted):
            text += "".join(chunk.text for chunk in answer)
    assert session.conversation.messages[-1].text.startswith(text)
    assert "".join(chunk.text for chunk in session.send("Go on.", Cancel()))


def test_memory_that_runs_out_once_changes_nothing(mistral: Any, mistral_vocabulary: Vocabulary) -> None:
    """If memory runs out once, the answer is the same as without the failure."""
    engine = engine_over(mistral, mistral_vocabulary)
    plain, _ = said(engine, TALK)
    with Failure(mistral, 1, torch.OutOfMemoryError("CUDA out of memory."), spared=10):
        again, done = said(engine_over(mistral, mistral_vocabulary), TALK)
    assert again == plain
    assert done.finish_reason is FinishReason.LENGTH


def test_ids_that_had_to_be_evaluated_again_are_not_counted_as_held(
    mistral: Any, mistral_vocabulary: Vocabulary
) -> None:
    """If the cache had to be evaluated again, its ids are not counted as cached."""
    engine = engine_over(mistral, mistral_vocabulary)
    text, done = said(engine, TALK)
    talk = TALK.add(Message(Role.ASSISTANT, text, done.turn_ids), Message(Role.USER, "Go on."))
    with Failure(mistral, 1, torch.OutOfMemoryError("CUDA out of memory.")):
        _, done = said(engine, talk)
    assert done.usage.cached_tokens == 0


def test_numbers_that_overflow_end_the_answer_with_words(
    mistral: Any, mistral_vocabulary: Vocabulary
) -> None:
    """NaN logits end the answer with an error, and the next answer is correct."""
    engine = engine_over(mistral, mistral_vocabulary)

    def spoil(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        return output * float("nan")

    hook = mistral.get_decoder().norm.register_forward_hook(spoil)
    with pytest.raises(HermesError, match="overflowed"):
        said(engine, TALK)
    hook.remove()
    assert said(engine, TALK)[0] == said(engine_over(mistral, mistral_vocabulary), TALK)[0]


def keeping(
    model: Any, vocabulary: Vocabulary, kept: PromptCacheDir, weights: Path, precision: str = "fp32"
) -> TransformersEngine:
    """Return a new engine that keeps its system prompts."""
    facts = {"path": weights, "revision": None, "devices": ("cpu",), "precision": precision}
    plan = cast("Plan", SimpleNamespace(**facts, dtype="float32", quantization=""))
    return TransformersEngine(
        Decoder(model, CPU, 1024),
        vocabulary,
        name="tiny",
        context_size=1024,
        prefixes=PromptCache(kept, plan),
    )


def test_the_next_start_begins_with_the_system_prompt(
    mistral: Any, mistral_vocabulary: Vocabulary, mistral_folder: Path, tmp_path: Path
) -> None:
    """A second engine reads the kept system prompt and gives the same answer; no file has its text."""
    first, done = said(keeping(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder), TALK)
    assert done.usage.cached_tokens == 0
    system = mistral_vocabulary.chatml.system_ids(TALK.messages)
    again, done = said(keeping(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder), TALK)
    assert (again, done.usage.cached_tokens) == (first, len(system))
    assert bytes("lighthouse", "utf-8") not in b"".join(p.read_bytes() for p in tmp_path.iterdir())


def test_a_kept_prompt_comes_back_in_the_middle_of_a_run(
    mistral: Any, mistral_vocabulary: Vocabulary, mistral_folder: Path, tmp_path: Path
) -> None:
    """A system prompt that is used again after another one is read from its file, and both files are kept."""
    engine = keeping(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder)
    first, _ = said(engine, TALK)
    other = Message(Role.SYSTEM, "You are somebody else. " * 40, cacheable=True)
    said(engine, Conversation((other, *TALK.messages[1:])))
    again, done = said(engine, TALK)
    system = mistral_vocabulary.chatml.system_ids(TALK.messages)
    assert (again, done.usage.cached_tokens) == (first, len(system))
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_a_prompt_that_somebody_typed_is_not_kept(
    mistral: Any, mistral_vocabulary: Vocabulary, mistral_folder: Path, tmp_path: Path
) -> None:
    """A system prompt that is not cacheable leaves no file; one that is does."""
    typed = Conversation((Message(Role.SYSTEM, SYSTEM), *TALK.messages[1:]))
    engine = keeping(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder)
    said(engine, typed)
    said(engine, Conversation(TALK.messages[1:]))
    assert list(tmp_path.iterdir()) == []
    said(engine, TALK)
    assert len(list(tmp_path.iterdir())) == 1


def test_another_precision_or_prompt_does_not_find_it(
    mistral: Any, mistral_vocabulary: Vocabulary, mistral_folder: Path, tmp_path: Path
) -> None:
    """A kept prefix is not used for another precision or another system prompt."""
    said(keeping(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder), TALK)
    _, done = said(
        keeping(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder, "bf16"), TALK
    )
    assert done.usage.cached_tokens == 0
    other = Conversation((Message(Role.SYSTEM, SYSTEM + "!", cacheable=True), *TALK.messages[1:]))
    _, done = said(keeping(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder), other)
    assert done.usage.cached_tokens == 0


def test_a_prompt_that_cannot_be_kept_is_no_fault_of_the_answers(
    mistral: Any, mistral_vocabulary: Vocabulary, mistral_folder: Path, tmp_path: Path
) -> None:
    """If the prefix cannot be kept, the answer is still complete."""
    (tmp_path / "prefixes").write_text("a file is in the way of the folder")
    engine = keeping(mistral, mistral_vocabulary, PromptCacheDir(tmp_path / "prefixes"), mistral_folder)
    assert said(engine, TALK)[1].finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize("damage", [b"", b"\x10\x00\x00\x00\x00\x00\x00\x00{not a header}", b"x" * 4000])
def test_a_damaged_file_is_computed_again(
    mistral: Any, mistral_vocabulary: Vocabulary, mistral_folder: Path, tmp_path: Path, damage: bytes
) -> None:
    """A damaged prefix file is ignored and written again, and the answer is the same."""
    first, _ = said(keeping(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder), TALK)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(damage)
    again, done = said(keeping(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder), TALK)
    assert (again, done.usage.cached_tokens) == (first, 0)
    assert file.read_bytes() != damage


def test_a_closed_engine_says_so(mistral: Any, mistral_vocabulary: Vocabulary) -> None:
    """A closed engine can be closed again, and a question to it raises a HermesError."""
    engine = engine_over(mistral, mistral_vocabulary)
    engine.close()
    engine.close()
    with pytest.raises(HermesError, match="no model"):
        said(engine, TALK)
