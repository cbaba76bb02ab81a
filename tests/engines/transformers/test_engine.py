"""Tests of the engine over a tiny Mistral: transformers' own answers, and only new tokens evaluated."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
import torch
from transformers import AutoModelForCausalLM, LogitsProcessorList
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

from benchmarks.rows.lookup_speculation import PROMPTS
from benchmarks.rows.lookup_speculation import conversation as conversation_with
from hermes_cli.chat.members import Member
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Chunk, Completion, FinishReason
from hermes_cli.engines.prompt_cache_dir import PromptCacheDir
from hermes_cli.engines.tokenizer_json import Vocabulary, read_vocabulary
from hermes_cli.engines.transformers.decode import Decoder
from hermes_cli.engines.transformers.engine import TransformersEngine
from hermes_cli.engines.transformers.prompt_cache import PromptCache
from hermes_cli.errors import HermesError, ResourcesExhausted
from hermes_cli.messages import Conversation, Message, Opening, Role
from hermes_cli.models.plan.planner import Plan
from hermes_cli.options import GenerationOptions, LayeredOptions
from tests.engines.transformers.conftest import CPU, Failure, engine_over
from tests.weights import SMALL_WINDOW

COPY = Conversation(tuple(conversation_with(*PROMPTS["copy"][1])))
"""A prompt that the starter copies."""

GREEDY = GenerationOptions(temperature=0, repetition_penalty=1, max_tokens=24, loop_guard=0)
SYSTEM = "You are a lighthouse keeper who answers in short and patient sentences, whatever is asked of you."
CONVERSATION = Conversation(
    (Message(Role.SYSTEM, SYSTEM, cacheable=True), Message(Role.USER, "Good evening! Is the lamp lit?"))
)


def answer(
    engine: TransformersEngine, conversation: Conversation, options: GenerationOptions = GREEDY
) -> tuple[str, Completion]:
    """Return an answer's text and its completion."""
    chunks = list(engine.stream(conversation.messages, options, Cancel()))
    done = chunks[-1].completion
    assert done is not None
    return "".join(chunk.text for chunk in chunks), done


def generated_ids(engine: TransformersEngine, conversation: Conversation, done: Completion) -> list[int]:
    """Return the ids that were generated, from the turn's recorded ids."""
    assert done.turn_ids is not None
    opening = engine._vocabulary.format.open_turn_ids(conversation.messages)
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


class LastIdsPenalty(RepetitionPenaltyLogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """transformers' penalty on the last `count` ids."""

    def __init__(self, penalty: float, count: int) -> None:
        super().__init__(penalty)
        self._count = count

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> Any:
        return super().__call__(input_ids[:, -self._count :], scores)


@pytest.mark.parametrize(("penalty", "counted"), [(1.0, 0), (1.3, 0), (1.3, 12)])
def test_greedy_ids_are_those_of_generate(
    mistral: Any, mistral_vocabulary: Vocabulary, penalty: float, counted: int
) -> None:
    """Greedy ids are those of `generate`, with and without reuse, past the sliding window of 64."""
    options = GenerationOptions(
        temperature=0, repetition_penalty=penalty, repetition_range=counted, max_tokens=60, loop_guard=0
    )
    engine = engine_over(mistral, mistral_vocabulary)
    conversation = CONVERSATION
    for turn in range(4):
        prompt = engine._vocabulary.format.ids(conversation.messages)
        text, done = answer(engine, conversation, options)
        processors = LogitsProcessorList([LastIdsPenalty(penalty, counted)])
        expected = library_ids(mistral, prompt, 60, logits_processor=processors)
        assert generated_ids(engine, conversation, done) == expected[:60]
        assert done.usage.cached_tokens > 0 or turn == 0
        conversation = conversation.add(
            Message(Role.ASSISTANT, text, done.turn_ids), Message(Role.USER, "And then?")
        )
    assert len(prompt) > 3 * SMALL_WINDOW


def test_every_turn_prefills_only_new_ids(mistral: Any, mistral_vocabulary: Vocabulary) -> None:
    """Over 20 turns with stops, retries, undos and edits, only ids outside of the cache are evaluated."""
    engine = engine_over(mistral, mistral_vocabulary)
    cached: list[int] = []
    conversation = CONVERSATION
    for turn in range(20):
        prompt = mistral_vocabulary.format.ids(conversation.messages)
        cancel = Cancel()
        chunks: list[Chunk] = []
        with Evaluated(mistral) as evaluated:
            for chunk in engine.stream(conversation.messages, GREEDY, cancel):
                chunks.append(chunk)
                if turn % 4 == 1 and sum(bool(chunk.text) for chunk in chunks) == 5:
                    cancel.set()
        done = chunks[-1].completion
        assert done is not None
        new = len(prompt) - min(common_prefix(prompt, cached), len(prompt) - 1)
        assert done.usage.prefilled_tokens == new
        assert evaluated.ids == new + done.usage.completion_tokens - 1  # the last one waits for the next turn
        cached = prompt + generated_ids(engine, conversation, done)[: done.usage.completion_tokens - 1]
        text = "".join(chunk.text for chunk in chunks)
        conversation = next_turn(turn, conversation, Message(Role.ASSISTANT, text, done.turn_ids))
    assert len(prompt) > 4 * SMALL_WINDOW


def next_turn(turn: int, conversation: Conversation, reply: Message) -> Conversation:
    """Return the next conversation: mostly one more question, but also a retry, an undo, and an edit."""
    question = Message(Role.USER, f"Question {turn}: what of the {'wind and the ' * (turn % 7)}sea?")
    if turn % 7 == 2:
        return conversation  # a retry: the same prompt again
    if turn % 7 == 3:
        return Conversation((*conversation.messages[:-1], question))  # an undo, and another question instead
    if turn % 7 == 4:
        return Conversation((*conversation.messages[:-3], question))  # an edit of the turn before
    return conversation.add(reply, question)


def common_prefix(one: list[int], other: list[int]) -> int:
    """Return the length of the common prefix of two lists of ids."""
    differ = (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


class Evaluated:
    """Count the forward passes of a model, and the ids that it evaluates."""

    def __init__(self, model: Any) -> None:
        self.ids = self.calls = 0
        self._hook = model.get_decoder().register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, _: Any, __: Any, given: dict[str, Any]) -> None:
        self.calls += 1
        self.ids += given["input_ids"].shape[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def test_a_retry_with_the_same_seed_gives_the_same_answer(mistral_engine: TransformersEngine) -> None:
    """Two answers with the same seed are the same, although the second one reuses the cache."""
    options = GenerationOptions(seed=4, temperature=1.2, max_tokens=30)
    conversation = Conversation((Message(Role.USER, "Something that was never asked before."),))
    assert (
        answer(mistral_engine, conversation, options)[0] == answer(mistral_engine, conversation, options)[0]
    )


def test_a_banned_phrase_is_not_in_the_answer(mistral: Any, mistral_vocabulary: Vocabulary) -> None:
    """A banned phrase is not in the answer, the text before it is unchanged, and the cache stays correct."""
    engine = engine_over(mistral, mistral_vocabulary)
    chunks = [chunk.text for chunk in engine.stream(CONVERSATION.messages, GREEDY, Cancel())]
    begun = "".join(chunks[:4])
    phrase = "".join(chunks[4:6]).strip().swapcase()
    text, done = answer(engine, CONVERSATION, GenerationOptions(**{**as_dict(GREEDY), "ban": (phrase,)}))
    assert phrase.lower() not in text.lower()
    assert text.startswith(begun)
    conversation = CONVERSATION.add(
        Message(Role.ASSISTANT, text, done.turn_ids), Message(Role.USER, "Go on.")
    )
    fresh = engine_over(mistral, mistral_vocabulary)
    assert answer(engine, conversation)[0] == answer(fresh, conversation)[0]


def test_a_ban_of_a_single_letter_evaluates_no_token_twice(
    mistral: Any, mistral_vocabulary: Vocabulary
) -> None:
    """A ban of one letter leaves it out in any case, and no token is evaluated twice."""
    engine = engine_over(mistral, mistral_vocabulary)
    with Evaluated(mistral) as evaluated:
        text, done = answer(engine, CONVERSATION, GenerationOptions(**{**as_dict(GREEDY), "ban": ("E",)}))
    assert "e" not in text.lower()
    assert evaluated.ids == done.usage.prompt_tokens + done.usage.completion_tokens - 1


def as_dict(options: GenerationOptions) -> dict[str, Any]:
    """Return options as keyword arguments."""
    return {name: getattr(options, name) for name in GenerationOptions.__slots__}


def test_the_loop_guard_ends_an_answer_that_repeats_a_token(
    mistral: Any, mistral_vocabulary: Vocabulary
) -> None:
    """The loop guard ends an answer that repeats one token, after 24 repeats."""
    engine = engine_over(mistral, mistral_vocabulary)
    options = GenerationOptions(temperature=0, repetition_penalty=1, loop_guard=24)
    with mistral.get_decoder().norm.register_forward_hook(lambda _, __, output: torch.ones_like(output)):
        _, done = answer(engine, CONVERSATION, options)
    assert done.finish_reason is FinishReason.LOOP
    assert done.usage.completion_tokens == 1 + 24  # the first token is new, the others repeat it


def test_out_of_memory_in_an_answer_keeps_its_text(mistral: Any, mistral_vocabulary: Vocabulary) -> None:
    """If memory runs out in mid-answer, the session keeps the text so far and can go on."""
    engine = engine_over(mistral, mistral_vocabulary)
    session = Session(
        engine, [Member(opening=Opening.behind(CONVERSATION.messages[:1]))], LayeredOptions(GREEDY)
    )
    full = torch.OutOfMemoryError("CUDA out of memory.")
    text = ""
    stream = session.send("Good evening!", Cancel())
    with Failure(mistral, 1, full, times=99, spared=12):
        for _ in range(5):
            text += next(stream).text
        with pytest.raises(ResourcesExhausted):
            text += "".join(chunk.text for chunk in stream)
    assert session.conversation.messages[-1].text.startswith(text)
    assert "".join(chunk.text for chunk in session.send("Go on.", Cancel()))


def test_running_out_of_memory_once_does_not_change_the_answer(
    mistral: Any, mistral_vocabulary: Vocabulary
) -> None:
    """If memory runs out once, the answer is the same as without the failure."""
    engine = engine_over(mistral, mistral_vocabulary)
    plain, _ = answer(engine, CONVERSATION)
    with Failure(mistral, 1, torch.OutOfMemoryError("CUDA out of memory."), spared=10):
        again, done = answer(engine_over(mistral, mistral_vocabulary), CONVERSATION)
    assert again == plain
    assert done.finish_reason is FinishReason.LENGTH


def test_ids_that_are_evaluated_again_are_not_counted_as_cached(
    mistral: Any, mistral_vocabulary: Vocabulary
) -> None:
    """If the cache had to be evaluated again, its ids are not counted as cached."""
    engine = engine_over(mistral, mistral_vocabulary)
    text, done = answer(engine, CONVERSATION)
    conversation = CONVERSATION.add(
        Message(Role.ASSISTANT, text, done.turn_ids), Message(Role.USER, "Go on.")
    )
    with Failure(mistral, 1, torch.OutOfMemoryError("CUDA out of memory.")):
        _, done = answer(engine, conversation)
    assert done.usage.cached_tokens == 0


def test_nan_logits_end_the_answer_with_an_error(mistral: Any, mistral_vocabulary: Vocabulary) -> None:
    """NaN logits end the answer with an error, and the next answer is correct."""
    engine = engine_over(mistral, mistral_vocabulary)

    def spoil(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        return output * float("nan")

    with (
        mistral.get_decoder().norm.register_forward_hook(spoil),
        pytest.raises(HermesError, match="logits that are not finite"),
    ):
        answer(engine, CONVERSATION)
    assert (
        answer(engine, CONVERSATION)[0] == answer(engine_over(mistral, mistral_vocabulary), CONVERSATION)[0]
    )


def engine_with_cache(
    model: Any, vocabulary: Vocabulary, cache_dir: PromptCacheDir, weights: Path, precision: str = "fp32"
) -> TransformersEngine:
    """Return a new engine that keeps its system prompts."""
    facts = {"path": weights, "revision": None, "devices": ("cpu",), "precision": precision}
    plan = cast("Plan", SimpleNamespace(**facts, dtype="float32", quantization=""))
    return TransformersEngine(
        Decoder(model, CPU, 1024),
        vocabulary,
        name="tiny",
        context_size=1024,
        prefixes=PromptCache(cache_dir, plan),
    )


def test_the_next_start_reuses_the_kept_system_prompt(
    mistral: Any, mistral_vocabulary: Vocabulary, mistral_folder: Path, tmp_path: Path
) -> None:
    """A second engine reads the kept system prompt and gives the same answer; no file has its text."""
    first, done = answer(
        engine_with_cache(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder), CONVERSATION
    )
    assert done.usage.cached_tokens == 0
    system = mistral_vocabulary.format.cacheable_ids(CONVERSATION.messages)
    again, done = answer(
        engine_with_cache(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder), CONVERSATION
    )
    assert (again, done.usage.cached_tokens) == (first, len(system))
    assert bytes("lighthouse", "utf-8") not in b"".join(p.read_bytes() for p in tmp_path.iterdir())


def test_a_kept_system_prompt_is_reused_after_another_one(
    mistral: Any, mistral_vocabulary: Vocabulary, mistral_folder: Path, tmp_path: Path
) -> None:
    """A system prompt that is used again after another one is read from its file, and both files are kept."""
    engine = engine_with_cache(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder)
    first, _ = answer(engine, CONVERSATION)
    other = Message(Role.SYSTEM, "You are somebody else. " * 40, cacheable=True)
    answer(engine, Conversation((other, *CONVERSATION.messages[1:])))
    again, done = answer(engine, CONVERSATION)
    system = mistral_vocabulary.format.cacheable_ids(CONVERSATION.messages)
    assert (again, done.usage.cached_tokens) == (first, len(system))
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_a_system_prompt_that_is_not_cacheable_is_not_kept(
    mistral: Any, mistral_vocabulary: Vocabulary, mistral_folder: Path, tmp_path: Path
) -> None:
    """A system prompt that is not cacheable leaves no file; one that is does."""
    uncacheable = Conversation((Message(Role.SYSTEM, SYSTEM), *CONVERSATION.messages[1:]))
    engine = engine_with_cache(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder)
    answer(engine, uncacheable)
    answer(engine, Conversation(CONVERSATION.messages[1:]))
    assert list(tmp_path.iterdir()) == []
    answer(engine, CONVERSATION)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_kept_prompt_is_not_used_for_another_precision_or_prompt(
    mistral: Any, mistral_vocabulary: Vocabulary, mistral_folder: Path, tmp_path: Path
) -> None:
    """A kept prefix is not used for another precision or another system prompt."""
    answer(
        engine_with_cache(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder), CONVERSATION
    )
    _, done = answer(
        engine_with_cache(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder, "bf16"),
        CONVERSATION,
    )
    assert done.usage.cached_tokens == 0
    other = Conversation((Message(Role.SYSTEM, SYSTEM + "!", cacheable=True), *CONVERSATION.messages[1:]))
    _, done = answer(
        engine_with_cache(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder), other
    )
    assert done.usage.cached_tokens == 0


def test_the_answer_is_complete_if_the_prompt_cannot_be_kept(
    mistral: Any, mistral_vocabulary: Vocabulary, mistral_folder: Path, tmp_path: Path
) -> None:
    """If the prefix cannot be kept, the answer is still complete."""
    (tmp_path / "prefixes").write_text("a file is in the way of the folder")
    engine = engine_with_cache(
        mistral, mistral_vocabulary, PromptCacheDir(tmp_path / "prefixes"), mistral_folder
    )
    assert answer(engine, CONVERSATION)[1].finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize("damage", [b"", b"\x10\x00\x00\x00\x00\x00\x00\x00{not a header}", b"x" * 4000])
def test_a_damaged_prefix_file_is_written_again(
    mistral: Any, mistral_vocabulary: Vocabulary, mistral_folder: Path, tmp_path: Path, damage: bytes
) -> None:
    """A damaged prefix file is ignored and written again, and the answer is the same."""
    first, _ = answer(
        engine_with_cache(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder), CONVERSATION
    )
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(damage)
    again, done = answer(
        engine_with_cache(mistral, mistral_vocabulary, PromptCacheDir(tmp_path), mistral_folder), CONVERSATION
    )
    assert (again, done.usage.cached_tokens) == (first, 0)
    assert file.read_bytes() != damage


def test_a_closed_engine_raises_an_error(mistral: Any, mistral_vocabulary: Vocabulary) -> None:
    """A closed engine can be closed again, and a question to it raises a HermesError."""
    engine = engine_over(mistral, mistral_vocabulary)
    engine.close()
    engine.close()
    with pytest.raises(HermesError, match="no model"):
        answer(engine, CONVERSATION)


@pytest.mark.parametrize(
    "options",
    [
        GREEDY,
        replace(GREEDY, repetition_penalty=1.3),
        replace(GREEDY, temperature=0.8, seed=7),
        replace(GREEDY, temperature=0.8, seed=7, xtc_probability=0.5, dry_multiplier=0.8),
        replace(GREEDY, ban=("a",)),
        replace(GREEDY, max_tokens=1),
        replace(GREEDY, max_tokens=2),
    ],
    ids=["greedy", "penalty", "sampled", "xtc-dry", "ban", "one", "two"],
)
def test_answers_with_lookup_are_those_without_it(
    mistral: Any, mistral_vocabulary: Vocabulary, options: GenerationOptions
) -> None:
    """Text, ids, counts and the KV cache are the same over several turns; the prompts repeat each other."""
    engines = [engine_over(mistral, mistral_vocabulary, lookup=lookup) for lookup in (False, True)]
    decoder, drafting_decoder = (engine._decoder for engine in engines)
    assert decoder is not None
    assert drafting_decoder is not None
    conversation = CONVERSATION
    for turn in range(4):
        (text, done), (drafted_text, drafted) = (answer(engine, conversation, options) for engine in engines)
        assert drafted_text == text
        assert (drafted.turn_ids, drafted.usage) == (done.turn_ids, done.usage)
        assert drafting_decoder.ids == decoder.ids
        reply = Message(Role.ASSISTANT, text, done.turn_ids)
        conversation = conversation.add(reply, Message(Role.USER, f"{text[: 40 * turn]} Again: {text}"))


@pytest.mark.slow
def test_lookup_copies_text_in_fewer_steps(starter_weights: Path) -> None:
    """A copy of a list in the prompt takes at most half of the steps, with the same ids."""
    model = AutoModelForCausalLM.from_pretrained(starter_weights, dtype=torch.float32).eval()
    ids, steps = {}, {}
    for lookup in (False, True):
        engine = engine_over(model, read_vocabulary(starter_weights), lookup=lookup)
        with Evaluated(model) as evaluated:
            _, done = answer(engine, COPY, replace(GREEDY, max_tokens=60))
        ids[lookup], steps[lookup] = done.turn_ids, evaluated.calls
    assert ids[True] == ids[False]
    assert steps[True] <= steps[False] / 2
