"""A wrapper around xllamacpp: load a model, encode text, run a prompt of token ids.

xllamacpp always opens an HTTP listener on a random loopback port. A random key restricts it to this process,
which uses it only for `/tokenize`, since xllamacpp has no other interface for that.
"""

import http.client
import json
import os
import queue
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from hermes_cli.errors import HermesError, ResourcesExhausted

PREFILL_BATCH = 128
"""Tokens prefilled between two checks of `cancel`.

On a CPU, 128 costs 7 % of the prefill speed of 2048, and a cancelled prompt ends after 0.4 s instead of 7 s.
"""

OnEvent = Callable[[dict[str, Any]], bool]
"""Called with each event of a completion; returning True stops the completion at the next token."""


def import_library() -> ModuleType:
    """Import xllamacpp, after setting the environment variable that OpenMP reads on import.

    Its threads then spin briefly and sleep while they wait for each other. By default they spin for a long
    time, on the core that the other thread needs. On two cores shared with other processes, 115 tokens/s
    became 14 to 37, and less than 5 if no core was idle. Threads that sleep at once reach 41 tokens/s on an
    idle machine; with this spin they reach about 90 idle and 40 busy (docs/measurements.md, `decode`).

    Raises ImportError if the system lacks a shared library that xllamacpp needs.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "300")
    import xllamacpp

    return xllamacpp  # type: ignore[no-any-return]


class LlamaServer:
    """A loaded model. Call `run` from any thread but the main one, one call at a time."""

    def __init__(self, path: Path, *, context_size: int, threads: int, verbose: bool = False) -> None:
        xllamacpp = import_library()
        self._key = secrets.token_urlsafe(32)
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.api_keys = [self._key]
        params.n_ctx = context_size
        params.n_batch = PREFILL_BATCH
        params.n_ubatch = PREFILL_BATCH
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
        params.n_threads_http = 1
        params.fit_params = False  # the plan chose the context size; llama.cpp must not change it
        params.cache_ram_mib = 0  # the KV cache itself is reused; copies of it would take gigabytes
        params.ctx_shift = False  # a full context ends the answer; llama.cpp must not drop its beginning
        params.warmup = False
        params.ui = False
        params.endpoint_slots = False
        params.use_jinja = False  # prompts are token ids; the model's chat template is never run
        params.verbosity = 3 if verbose else -1
        self._server = _load(xllamacpp.Server, params, path)
        self._address = urlsplit(str(self._server.listening_address)).netloc
        self._connection: http.client.HTTPConnection | None = None
        self._lock = threading.Lock()

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`, without adding any. Tokens of type CONTROL are not recognized."""
        body = json.dumps({"content": text, "parse_special": False, "add_special": False})
        if self._server is None:
            raise HermesError("no model is loaded", "load one with /model NAME")
        with self._lock:
            status, answer = self._post("/tokenize", body)
        if status != http.client.OK:
            error = answer.get("error", {})
            message = error.get("message", error) if isinstance(error, dict) else error
            raise HermesError(f"llama.cpp could not encode the text: {message}")
        tokens: list[int] = answer["tokens"]
        return tokens

    def _post(self, path: str, body: str, *, retry: bool = True) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON of the response."""
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        self._connection = self._connection or http.client.HTTPConnection(self._address, timeout=600)
        try:
            self._connection.request("POST", path, body.encode(), headers)
            response = self._connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._connection = None
            if retry:  # the server closes a connection that was idle for a few seconds
                return self._post(path, body, retry=False)
            raise HermesError(f"llama.cpp does not respond: {error}") from None

    def run(self, request: dict[str, Any], on_event: OnEvent) -> None:
        """Run one completion and pass each event to `on_event`. Returns when the completion has ended."""
        self._server.handle_completions(request, on_event)

    def close(self) -> None:
        """Free the model."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._server = None


def _load(server_class: Any, params: Any, path: Path) -> Any:
    """Load the model on a new thread: a load on the main thread swallows Ctrl-C."""
    loaded: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def load() -> None:
        try:
            loaded.put(server_class(params))
        except BaseException as error:  # noqa: BLE001 - raised in the calling thread
            loaded.put(error)

    threading.Thread(target=load, name="llama.cpp load", daemon=True).start()
    result = loaded.get()
    if isinstance(result, MemoryError):
        raise ResourcesExhausted(f"not enough memory to load {path.name}", "use a smaller --context")
    if isinstance(result, BaseException):
        raise HermesError(
            f"llama.cpp could not load {path.name}: {result}",
            "run the same command with --debug to see llama.cpp's log",
        ) from result
    return result
