"""A real llama.cpp server on a loopback port, in a process of its own: that of xllamacpp, with a key.

As a script, it loads the model in its first argument with the context window in its second, prints the
address of the server, and serves until its standard input is closed.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hermes_cli.engines.llama_cpp.server import import_library

BATCH = 64
"""The tokens that the server evaluates at a time."""
KEY = "sk-peer"
KEY_VARIABLE = "PEER_KEY"


@contextmanager
def llama_peer(model: Path, context_size: int = 1024) -> Iterator[str]:
    """Yield the URL of a running server's OpenAI API."""
    command = [sys.executable, "-P", "-m", "tests.engines.remote.llama_peer", str(model), str(context_size)]
    project = str(Path(__file__).parents[3])
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": project},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip() + "/v1"
        finally:
            process.kill()


def main() -> None:
    """Serve."""
    xllamacpp = import_library()
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.n_ctx = int(sys.argv[2])
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
    params.api_keys = [KEY]
    params.n_gpu_layers = 0
    params.n_batch = params.n_ubatch = BATCH
    params.ctx_shift = False
    params.warmup = params.ui = False
    params.cache_ram_mib = 0
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
