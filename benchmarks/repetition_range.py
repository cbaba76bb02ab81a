"""Measure the default of `repetition_range`: `python -m benchmarks.repetition_range`.

Prints two tables, for a repetition penalty of PENALTY. The first is the mean KL divergence of the penalized
distribution of the next token from the model's own, on the prose of Python's language reference
(`pydoc_data.topics`), computed with transformers' own processor. The second describes the answers of chats of
20 turns on llama.cpp: distinct-n, which is the share of different n-grams among all, and the share of 4-grams
that occurred before in the chat.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from pydoc_data.topics import topics
from statistics import mean, stdev
from typing import Any

from benchmarks.hermes import open_engine
from benchmarks.measure import ROOT
from hermes_cli.chat.members import Member
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Engine
from hermes_cli.messages import Opening, Role
from hermes_cli.models import hardware, starter
from hermes_cli.options import GenerationOptions, LayeredOptions

PENALTY = 1.1
RANGES = (64, 128, 256, 512, 1024, 2048, 0)
CHAT_RANGES = (64, 128, 256, 512, 1024, 0)
"""Without 2,048: the chats are shorter."""
LENGTHS = (256, 1024, 4096)
"""Tokens of context. The predicted tokens are the same for all lengths."""
TEXTS, PREDICTED = 3, 128
"""Number of texts, and of predicted tokens after each context."""
SEEDS = range(1, 4)
CHAT = GenerationOptions(max_tokens=48, repetition_penalty=PENALTY)
SYSTEM = "You are a helpful assistant."
QUESTIONS = (
    "I want to plant a small garden. Where do I begin?",
    "Which vegetables are easy for a beginner?",
    "How often do they need water?",
    "What do I do about snails?",
    "Can I grow tomatoes on a balcony?",
    "Which herbs grow well beside them?",
    "How do I know that a tomato is ripe?",
    "What can I cook with them?",
    "Give me a recipe for a soup.",
    "What bread goes well with it?",
    "How is such bread made?",
    "Why does dough rise?",
    "Tell me something about the history of bread.",
    "Who were the first farmers?",
    "What did they grow?",
    "How did they store grain?",
    "Did they keep animals?",
    "What was a day in their life like?",
    "Write a short story about one of them.",
    "How does the story end?",
)


def prose() -> str:
    """Return the paragraphs of Python's language reference that are sentences, without tables and code."""
    paragraphs = (part for name in sorted(topics) for part in topics[name].split("\n\n"))
    sentences = (" ".join(p.split()) for p in paragraphs if re.match("[A-Z]", p) and p.strip().endswith("."))
    return "\n\n".join(dict.fromkeys(text for text in sentences if len(text) > 200))


def divergences(folder: Path) -> Mapping[tuple[int, int], float]:
    """Return the mean KL divergence, in nats, for each length of context and range."""
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    loader: Any = AutoModelForCausalLM
    tokenizer: Any = PreTrainedTokenizerFast
    model = loader.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer(tokenizer_file=str(folder / "tokenizer.json"))(prose(), return_tensors="pt").input_ids[0]
    sums: dict[tuple[int, int], float] = defaultdict(float)
    with torch.inference_mode():
        for text in ids.split(max(LENGTHS) + PREDICTED)[:TEXTS]:
            for length in LENGTHS:
                context = text[-length - PREDICTED : -1]
                logits = model(context[None], use_cache=False, logits_to_keep=PREDICTED).logits[0]
                last = torch.arange(length - 1, len(context))[:, None]
                for counted in RANGES:
                    # Before the first id, which is in the whole context, the window repeats it.
                    window = (last - torch.arange(counted or len(context))).clamp(min=0)
                    sums[length, counted] += _divergence(context[window], logits)
    return {key: total / TEXTS / PREDICTED for key, total in sums.items()}


def _divergence(ids: Any, logits: Any) -> float:
    """Return the sum of KL(model's own distribution, penalized distribution) over the rows."""
    import torch
    from transformers.generation import logits_process

    library: Any = logits_process
    penalized = library.RepetitionPenaltyLogitsProcessor(PENALTY)(ids, logits.clone())
    own, other = (scores.log_softmax(-1) for scores in (logits, penalized))
    return float(torch.nn.functional.kl_div(other, own, reduction="sum", log_target=True))


def chat(engine: Engine, options: GenerationOptions) -> list[list[str]]:
    """Have the chat, and return the words of each answer."""
    session = Session(engine, [Member(opening=Opening(SYSTEM))], LayeredOptions(options))
    for question in QUESTIONS:
        for _ in session.send(question, Cancel()):
            pass
    answers = [m.text for m in session.conversation.messages if m.role is Role.ASSISTANT]
    return [re.findall(r"\w+|[^\w\s]", text.lower()) for text in answers]


def figures(answers: Sequence[Sequence[str]]) -> list[float]:
    """Return distinct-1, -2, -3, the share of repeated 4-grams, and the number of words."""
    distinct = []
    for n in range(1, 5):
        grams = [tuple(words[at : at + n]) for words in answers for at in range(len(words) - n + 1)]
        distinct.append(len(set(grams)) / len(grams))
    return [*distinct[:3], 1 - distinct[3], sum(map(len, answers))]


def chats(engine: Engine) -> Iterator[tuple[str, list[list[float]]]]:
    """Yield each setting with the figures of its chats, one for each seed."""
    settings = {_name(counted): replace(CHAT, repetition_range=counted) for counted in CHAT_RANGES}
    for name, options in {**settings, "penalty off": replace(CHAT, repetition_penalty=1)}.items():
        yield name, [figures(chat(engine, replace(options, seed=seed))) for seed in SEEDS]


def _name(counted: int) -> str:
    return str(counted) if counted else "whole"


def main() -> None:
    from tests.weights import starter_folder

    gguf = starter.fetch(ROOT / ".cache" / "models").resolve()
    kl = divergences(starter_folder(gguf))
    print("| range |", " | ".join(f"{length} tokens" for length in LENGTHS), "|")
    print("| --- |", " --- |" * len(LENGTHS), sep="")
    for counted in RANGES:
        cells = [f"{kl[length, counted]:.4f}" for length in LENGTHS]
        print("|", " | ".join([_name(counted), *cells]), "|")
    engine = open_engine(str(gguf), 4096, hardware.probe().physical_cores)
    print("\n| range | distinct-1 | distinct-2 | distinct-3 | repeated 4-grams | words |")
    print("| --- |", " --- |" * 5, sep="")
    for name, rows in chats(engine):
        columns = list(zip(*rows, strict=True))
        cells = [f"{mean(column):.3f} ± {stdev(column):.3f}" for column in columns[:4]]
        print("|", " | ".join([name, *cells, f"{mean(columns[4]):.0f}"]), "|", flush=True)
    engine.close()


if __name__ == "__main__":
    main()
