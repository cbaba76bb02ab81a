"""The first token of `model.generate` for a list of prompts, without reuse: a peer of row C4.

Takes one JSON object: the keys of `hf.load`, `requests`, a file with a list of prompts (ids), and `report`,
the path for the seconds until each prompt's first token.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.hf import generate, load


def main() -> None:
    """Answer every prompt with one token and write the seconds to the report."""
    ask = json.loads(sys.argv[1])
    model = load(ask)
    prompts = json.loads(Path(ask["requests"]).read_text(encoding="utf-8"))
    Path(ask["report"]).write_text(json.dumps([_first_s(model, one) for one in prompts]), encoding="utf-8")


def _first_s(model: Any, prompt: list[int]) -> float:
    began = time.perf_counter()
    generate(model, prompt, 1)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
