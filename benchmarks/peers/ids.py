"""The bare engine's ids and counts for a list of prompts: the gate of row C1, the peer of rows C3 and C4.

Takes one JSON object: model, threads, n_ctx, n_batch, `requests`, a file with a list of completion requests
of llama.cpp's server, and `report`, the path for one record each. A prompt of ids is used unchanged; one of
text is encoded by llama.cpp.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import xllamacpp


def main() -> None:
    """Answer every prompt and write the ids to the report."""
    ask = json.loads(sys.argv[1])
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.verbosity = ask["model"], ask["n_ctx"], -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = ask["threads"]
    params.n_batch = params.n_ubatch = ask["n_batch"]
    params.n_parallel = 1
    server = xllamacpp.Server(params)
    requests = json.loads(Path(ask["requests"]).read_text(encoding="utf-8"))
    records = [_answer(server, request) for request in requests]
    Path(ask["report"]).write_text(json.dumps(records), encoding="utf-8")


def _answer(server: Any, request: dict[str, Any]) -> dict[str, Any]:
    pieces: list[dict[str, Any]] = []
    began, first = time.perf_counter(), 0.0

    def keep(piece: dict[str, Any]) -> None:
        nonlocal first
        first = first or time.perf_counter()
        pieces.append(piece)

    server.handle_completions({"stream": True, "temperature": 0, "verbose": True, **request}, keep)
    ids = [token for piece in pieces for token in piece["__verbose"]["tokens"]]
    likely = [seen for piece in pieces for seen in piece["__verbose"].get("completion_probabilities", [])]
    return {
        "ids": ids,
        "prefilled": pieces[-1]["timings"]["prompt_n"],
        "first_s": first - began,
        "likely": [{one["id"]: one["logprob"] for one in seen["top_logprobs"]} for seen in likely],
    }


if __name__ == "__main__":
    main()
