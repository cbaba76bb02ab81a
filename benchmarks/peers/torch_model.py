"""The transformers library without hermes: `from_pretrained` on the CPU, as in its documentation."""

import sys
import time
from collections.abc import Sequence
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


def _generate(model: Any, prompt: list[int], tokens: int, streamer: Any = None) -> list[int]:
    ids = torch.tensor([prompt])
    made = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        do_sample=False,
        pad_token_id=0,
        streamer=streamer,
    )
    answer: list[int] = made[0, len(prompt) :].tolist()
    return answer


class _TokenStreamer(BaseStreamer):  # type: ignore[misc]  # transformers is not typed
    """Writes each token at once, where transformers' TextStreamer writes whole words.

    The reader of the pipe measures from the first piece to the last; whole words would omit tokens.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] | None = None
        self._written = 0

    def put(self, value: Any) -> None:
        """Write the text of the new ids; the first call is for the prompt."""
        if self._ids is None:
            self._ids = []
            return
        self._ids += value.tolist()
        text = self._tokenizer.decode(self._ids, clean_up_tokenization_spaces=False)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            sys.stdout.write(text[self._written :])
            sys.stdout.flush()
            self._written = len(text)

    def end(self) -> None:
        pass


def write(prompt: list[int], tokens: int, **settings: Any) -> list[int]:
    streamer = _TokenStreamer(_tokenizer(settings["model"]))
    return _generate(_load(**settings), prompt, tokens, streamer)


def first_token_s(prompts: Sequence[list[int]], **settings: Any) -> list[float]:
    """Return the seconds until the first token of `generate` for each prompt, with nothing reused."""
    model = _load(**settings)
    times = []
    for prompt in prompts:
        began = time.perf_counter()
        _generate(model, prompt, 1)
        times.append(time.perf_counter() - began)
    return times


def loop(prompt: list[int], tokens: int, **settings: Any) -> None:
    """Write an answer of a bare loop over `model(...)` with a DynamicCache.

    The prompt's last id is evaluated alone, as in hermes: equal shapes round equally, so that the two texts
    are the same even at near ties.
    """
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
    """Return the gaps of given answers, each with prompt, ids, and ended (see `gaps`)."""
    model = _load(**settings)
    return [gaps(model, **one) for one in answers]


@torch.inference_mode()
def gaps(model: Any, prompt: list[int], ids: list[int], *, ended: bool) -> list[float]:
    """Return how many nats each id is less likely than the likeliest id at its position.

    It is one forward pass over a prompt and its answer, without a cache and without code of hermes. If the
    answer `ended`, there is one more gap, for the id that ended it.
    """
    answer = [*ids, *([model.generation_config.eos_token_id] if ended else [])]
    if not answer:
        return []
    whole = torch.tensor([[*prompt, *answer]])
    logits = model(whole, use_cache=False, logits_to_keep=len(answer) + 1).logits[0, :-1].float()
    chosen = logits[torch.arange(len(answer)), torch.tensor(answer)]
    found: list[float] = (logits.amax(-1) - chosen).tolist()
    return found
