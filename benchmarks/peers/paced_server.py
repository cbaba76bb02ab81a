"""A fake server that sends a token every few milliseconds: `python -m benchmarks.peers.paced_server KIND MS`.

It prints the URL of its OpenAI API, and serves until its standard input is closed.
"""

import sys

from tests.engines.remote.clients import FAKES
from tests.engines.remote.fakes.http_server import Fault

PATHS = {"openai": "/v1/chat/completions", "llama-server": "/completion"}
"""The path of the answers of each kind."""


def main() -> None:
    kind, pace_ms = sys.argv[1:]
    with FAKES[kind]() as fake:
        fake.model.context_size = 4096
        fake.fault = Fault(between_s=float(pace_ms) / 1000, path=PATHS[kind])
        print(fake.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
