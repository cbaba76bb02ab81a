"""The bare engine: xllamacpp with the library's defaults, except for the given settings."""

import sys
import time
from collections.abc import Sequence
from typing import Any

import xllamacpp


def write(request: dict[str, Any], **settings: Any) -> None:

    def show(piece: dict[str, Any]) -> None:
        sys.stdout.write(piece["choices"][0]["text"])
        sys.stdout.flush()

    _server(**settings).handle_completions({"stream": True, "temperature": 0, **request}, show)


def answer(requests: Sequence[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    """Answer completion requests in order, and return the ids, counts and times of each.

    `likely` has the likeliest ids at each position with their log probabilities, if `n_probs` is requested.
    """
    server = _server(**settings)
    return [_answer(server, request) for request in requests]


def _server(model: str, threads: int, context: int, **settings: Any) -> Any:
    """Return a server; a context of 0 is the model's own."""
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.verbosity = model, context, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    for name, value in settings.items():
        setattr(params, name, value)
    return xllamacpp.Server(params)


def _answer(server: Any, request: dict[str, Any]) -> dict[str, Any]:
    pieces: list[dict[str, Any]] = []
    began, first = time.perf_counter(), 0.0

    def keep(piece: dict[str, Any]) -> None:
        nonlocal first
        first = first or time.perf_counter()
        pieces.append(piece)

    server.handle_completions({"stream": True, "temperature": 0, "verbose": True, **request}, keep)
    details = [piece["__verbose"] for piece in pieces]
    likely = [place["top_logprobs"] for one in details for place in one.get("completion_probabilities", ())]
    return {
        "ids": [token for one in details for token in one["tokens"]],
        "likely": [[(token["id"], token["logprob"]) for token in tokens] for tokens in likely],
        "prefilled": pieces[-1]["timings"]["prompt_n"],
        "first_s": first - began,
    }
