"""The bare engine: xllamacpp answers a prompt in ten lines. The peer of rows C1, C9 and C10.

Takes one JSON object: model, threads, n_ctx (0: the model's own), `request`, a completion request of
llama.cpp's server, and `params`, further settings by name. All other settings keep the library's defaults.
"""

import json
import sys
from typing import Any

import xllamacpp

ask = json.loads(sys.argv[1])
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.verbosity = ask["model"], ask["n_ctx"], -1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = ask["threads"]
for name, value in ask.get("params", {}).items():
    setattr(params, name, value)
server = xllamacpp.Server(params)


def show(piece: dict[str, Any]) -> None:
    """Write the text as it arrives."""
    sys.stdout.write(piece["choices"][0]["text"])
    sys.stdout.flush()


server.handle_completions({"stream": True, "temperature": 0, **ask["request"]}, show)
