"""`model.generate` with a streamer: the peer of row C2.

Takes one JSON object: the keys of `hf.load`, prompt (ids), n_predict, and report, the path for the ids.
"""

import json
import sys
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast
from transformers.generation.streamers import TextStreamer

from benchmarks.peers.hf import generate, load


class AtOnce(TextStreamer):  # type: ignore[misc]  # transformers is not typed
    """transformers' TextStreamer, except that it prints each token at once, not each word.

    The reader of the pipe measures from the first piece to the last; whole words would omit tokens.
    """

    token_cache: list[int]
    print_len: int
    next_tokens_are_prompt: bool

    def put(self, value: Any) -> None:
        """Decode everything since the last newline, as TextStreamer does, and print the new part."""
        if self.next_tokens_are_prompt:
            self.next_tokens_are_prompt = False
            return
        self.token_cache.extend(value.tolist())
        text = self.tokenizer.decode(self.token_cache, **self.decode_kwargs)
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return
        new = text[self.print_len :]
        self.print_len += len(new)
        if text.endswith("\n"):
            self.token_cache, self.print_len = [], 0
        self.on_finalized_text(new)


def main() -> None:
    """Answer once and write the ids to the report."""
    ask = json.loads(sys.argv[1])
    model = load(ask)
    make: Any = PreTrainedTokenizerFast
    tokenizer = make(tokenizer_file=str(Path(ask["model"]) / "tokenizer.json"))
    streamer = AtOnce(tokenizer, skip_prompt=True, clean_up_tokenization_spaces=False)
    ids = generate(model, ask["prompt"], ask["n_predict"], streamer=streamer)[0, len(ask["prompt"]) :]
    report = {"prompt": ask["prompt"], "ids": ids.tolist()}
    Path(ask["report"]).write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main()
