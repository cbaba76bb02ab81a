"""The transformers library without hermes: `from_pretrained` on the CPU, as in its documentation."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedTokenizerFast
from transformers.generation.streamers import BaseStreamer


def _load(model: str, threads: int, precision: str) -> Any:
    torch.set_num_threads(threads)
    loader: Any = AutoModelForCausalLM
    return loader.from_pretrained(model, device_map={"": "cpu"}, dtype=precision).eval()


def _tokenizer(model: str) -> Any:
    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_file=str(Path(model) / "tokenizer.json"))


class _Streamer(BaseStreamer):  # type: ignore[misc]  # transformers is not typed
    """Calls `show` with each new id, after a call with the prompt's."""

    def __init__(self, show: Callable[[list[int]], object]) -> None:
        self._show = show

    def put(self, value: Any) -> None:
        self._show(value.flatten().tolist())

    def end(self) -> None:
        pass


def generate(
    model: Any, prompt: list[int], tokens: int, show: Callable[[list[int]], object], **settings: Any
) -> list[int]:
    """Return the greedy answer; see `_Streamer` for `show`."""
    ids = torch.tensor([prompt], device=model.device)
    settings |= {"attention_mask": torch.ones_like(ids), "max_new_tokens": tokens, "do_sample": False}
    made = model.generate(ids, streamer=_Streamer(show), pad_token_id=0, **settings)
    answer: list[int] = made[0, len(prompt) :].tolist()
    return answer


def write(prompt: list[int], tokens: int, **settings: Any) -> list[int]:
    """Write each token at once; transformers' TextStreamer writes whole words, which omits tokens."""
    tokenizer, ids, written = _tokenizer(settings["model"]), list[int](), 0

    def show(new: list[int]) -> None:
        nonlocal written
        ids.extend(new)
        text = tokenizer.decode(ids[len(prompt) :], clean_up_tokenization_spaces=False)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            sys.stdout.write(text[written:])
            sys.stdout.flush()
            written = len(text)

    return generate(_load(**settings), prompt, tokens, show)


def first_token_s(prompts: Sequence[list[int]], **settings: Any) -> list[float]:
    """Return the seconds until the first token of `generate` for each prompt, with nothing reused."""
    model = _load(**settings)
    times = []
    for prompt in prompts:
        began = time.perf_counter()
        generate(model, prompt, 1, lambda _: None)
        times.append(time.perf_counter() - began)
    return times


def loop(prompt: list[int], tokens: int, **settings: Any) -> None:
    """Write an answer. The prompt's last id is evaluated alone, as in hermes: equal shapes round equally."""
    model, ids = _load(**settings), list[int]()
    cache, new = DynamicCache(), torch.tensor([prompt[-1:]])
    with torch.inference_mode():
        model(torch.tensor([prompt[:-1]]), past_key_values=cache, logits_to_keep=1)
        while len(ids) < tokens:
            logits = model(new, past_key_values=cache, logits_to_keep=1).logits
            ids.append(int(logits[0, -1].argmax()))
            new = torch.tensor([ids[-1:]])
    sys.stdout.write(_tokenizer(settings["model"]).decode(ids, clean_up_tokenization_spaces=False))


def score(answers: Sequence[dict[str, Any]], **settings: Any) -> list[list[float]]:
    model = _load(**settings)
    return [gaps(model, **one) for one in answers]


@torch.inference_mode()
def gaps(model: Any, prompt: list[int], ids: list[int], *, ended: bool) -> list[float]:
    """Return how many nats each id is less likely than the likeliest one, in a pass without a cache.

    If the answer `ended`, there is one more gap, for the id that ended it.
    """
    answer = [*ids, *([model.generation_config.eos_token_id] if ended else [])]
    if not answer:
        return []
    whole = torch.tensor([[*prompt, *answer]])
    logits = model(whole, use_cache=False, logits_to_keep=len(answer) + 1).logits[0, :-1].float()
    chosen = logits[torch.arange(len(answer)), torch.tensor(answer)]
    found: list[float] = (logits.amax(-1) - chosen).tolist()
    return found
