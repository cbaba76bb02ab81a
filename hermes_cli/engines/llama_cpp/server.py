"""A wrapper around xllamacpp that loads a model, encodes text, and runs completions.

xllamacpp always opens an HTTP listener on a random loopback port. A random API key restricts it to this
process, which uses it only for `/tokenize`, because xllamacpp has no other interface for encoding text.
"""

import http.client
import json
import os
import queue
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from hermes_cli.errors import HermesError, ResourcesExhausted
from hermes_cli.models.plan import Plan
from hermes_cli.models.plan.offload import BATCH

PREFILL_BATCH = 128
"""Number of tokens that are prefilled between two checks of `cancel`.

On a CPU, 128 is 7 % slower than 2048, but a cancelled prefill ends after 0.4 s instead of 7 s.
"""

DRAFT = 8
"""Number of matching ids that start a draft, and the length of a draft. llama.cpp makes no shorter drafts.

A rejected id costs 0.3 to 0.5 of a decode step on two cores. For summaries, the library's default of 48 is
therefore slower than no speculation (docs/measurements.md, `lookup-speculation`).
"""

NO_GPU = -1
"""The value of `main_gpu` that prevents llama.cpp from using a GPU, even for a part of the prefill."""
SILENT, DEBUG, REPORTS_DEVICES = -1, 3, 4
"""Log levels of llama.cpp. At REPORTS_DEVICES and above, it logs the layers on each device."""

OnEvent = Callable[[dict[str, Any]], bool]
"""A callback for each event of a completion. If it returns True, the completion stops at the next token."""


def import_library() -> ModuleType:
    """Import xllamacpp, after limiting how long OpenMP's threads spin while they wait for each other.

    By default they spin for a long time, on a core that another thread needs. On two cores shared with other
    processes, this reduced 115 tokens/s to between 14 and 37, and to less than 5 if no core was idle. Without
    any spinning, an idle machine reaches only 41 tokens/s. With this limit, an idle machine reaches about 90
    tokens/s and a busy one 40 (docs/measurements.md, `decode`).

    Raises ImportError if the system lacks a shared library that xllamacpp needs.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "300")
    import xllamacpp

    return xllamacpp  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class LlamaSettings:
    """The parameters for loading the model in the file `path`.

    `gpus` are indexes into llama.cpp's list of devices, and `layers` the number of layers on each. If `gpus`
    is empty, the model runs on the CPU. `verbosity` is llama.cpp's log level. `lookup` enables speculative
    decoding, which takes the ids that followed an earlier occurrence of the last ids as its draft.
    """

    path: str
    context_size: int
    threads: int
    gpus: tuple[int, ...] = ()
    layers: tuple[int, ...] = ()
    kv_type: str = "f16"
    verbosity: int = SILENT
    lookup: bool = False

    @classmethod
    def from_plan(cls, plan: Plan, verbosity: int, *, lookup: bool = False) -> "LlamaSettings":
        """Return the settings for the plan of a GGUF model."""
        gpus, layers = (plan.gpus, plan.layers) if plan.gpu_layers else ((), ())
        path, context_size = str(plan.path), plan.context_size
        return cls(path, context_size, plan.threads, gpus, layers, plan.kv_type, verbosity, lookup=lookup)


class LlamaServer:
    """A loaded model. Do not call `run` on the main thread or concurrently."""

    def __init__(self, settings: LlamaSettings) -> None:
        xllamacpp = import_library()
        self._key = secrets.token_urlsafe(32)
        params = xllamacpp.CommonParams()
        params.model.path = settings.path
        params.api_keys = [self._key]
        params.n_ctx = settings.context_size
        params.cpuparams.n_threads = settings.threads
        params.cpuparams_batch.n_threads = settings.threads
        _place(xllamacpp, params, settings)
        params.n_threads_http = 1
        params.fit_params = False  # the plan chose the context size; llama.cpp must not change it
        params.cache_ram_mib = 0  # the KV cache itself is reused; copies of it would take gigabytes
        params.ctx_shift = False  # a full context ends the answer; llama.cpp must not drop old tokens
        params.warmup = False
        params.ui = False
        params.endpoint_slots = False
        params.use_jinja = False  # prompts are token ids; the model's chat template is never run
        params.verbosity = settings.verbosity
        if settings.lookup:
            speculative = params.speculative
            speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
            speculative.ngram_simple.size_n = speculative.ngram_simple.size_m = DRAFT
        self._server = _load(xllamacpp.Server, params, Path(settings.path))
        self._address = urlsplit(str(self._server.listening_address)).netloc
        self._connection: http.client.HTTPConnection | None = None
        self._lock = threading.Lock()

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`. No ids are added, and tokens of type CONTROL are not recognized."""
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
        """Send a request, and return the status and the JSON object of the response."""
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        self._connection = self._connection or http.client.HTTPConnection(self._address, timeout=600)
        try:
            self._connection.request("POST", path, body.encode(), headers)
            response = self._connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._connection = None
            if retry:  # the server closes connections after a few idle seconds
                return self._post(path, body, retry=False)
            raise HermesError(f"llama.cpp does not respond: {error}") from None

    def run(self, request: dict[str, Any], on_event: OnEvent) -> None:
        """Run one completion to its end, and pass each event to `on_event`."""
        self._server.handle_completions(request, on_event)

    def close(self) -> None:
        """Free the model."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._server = None


def _place(xllamacpp: ModuleType, params: Any, settings: LlamaSettings) -> None:
    """Set the devices, the layers on each, the batch size, and the type of the KV cache."""
    modes = xllamacpp.llama_split_mode
    params.n_gpu_layers = sum(settings.layers) if settings.gpus else 0
    if len(settings.gpus) > 1:
        split = [0.0] * len(params.tensor_split)
        for index, count in zip(settings.gpus, settings.layers, strict=True):
            split[index] = float(count)
        params.split_mode = modes.LLAMA_SPLIT_MODE_LAYER
        params.tensor_split = split
    else:
        params.split_mode = modes.LLAMA_SPLIT_MODE_NONE
        params.main_gpu = settings.gpus[0] if settings.gpus else NO_GPU
    params.n_batch = params.n_ubatch = BATCH if settings.gpus else PREFILL_BATCH
    if settings.kv_type != "f16":
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type[
            f"GGML_TYPE_{settings.kv_type.upper()}"
        ]


def _load(server_class: Any, params: Any, path: Path) -> Any:
    """Load the model on a new thread, because loading on the main thread would block Ctrl-C."""
    loaded: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def load() -> None:
        try:
            loaded.put(server_class(params))
        except BaseException as error:  # noqa: BLE001 - raised in the calling thread
            loaded.put(error)

    threading.Thread(target=load, name="llama.cpp load", daemon=True).start()
    result = loaded.get()
    if isinstance(result, MemoryError):
        raise out_of_memory(path)
    if isinstance(result, BaseException):
        raise HermesError(
            f"llama.cpp could not load {path.name}: {result}",
            "run the same command with --debug to see llama.cpp's log",
        ) from result
    return result


def out_of_memory(path: Path) -> ResourcesExhausted:
    """Return the error for a model that does not fit in memory."""
    return ResourcesExhausted(f"not enough memory to load {path.name}", "use a smaller --context")
