"""A wrapper around xllamacpp, for the child process: load a model, encode text, complete a prompt of ids.

It imports little, because every `hermes ask` starts a child process, and it raises no HermesError: the parent
process turns the errors into messages for the user.

xllamacpp always opens an HTTP listener on a random loopback port, and has no other interface to tokenize
text. A random key restricts it to this process. While the model loads, the listener answers 503 to every
request, with or without the key; it tells only that a model is loading.
"""

import json
import os
import queue
import secrets
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from hermes_cli.engines.llama_cpp.settings import LlamaSettings

DRAFT: Final = 8
"""The number of equal ids that start a draft, and its length; llama.cpp makes no shorter draft.

A rejected id costs 0.3 to 0.5 of a decode step on two cores, so with the library's default of 48, summaries
are slower than without speculation (docs/measurements/llama-cpp.md, `lookup-speculation`).
"""
NO_GPU: Final = -1
"""The value of `main_gpu` with which llama.cpp uses no GPU, not even for a part of the prefill."""
CHAT_TEMPLATE: Final = "chatml"
"""A built-in template, which is never used: prompts are token ids.

Without it, llama.cpp parses and runs the chat template of the file while it loads, whatever `use_jinja` is. A
hostile template would then hang or crash it, and an invalid one would make it refuse a good model.
"""

OK: Final = 200

OnEvent = Callable[[dict[str, Any]], bool]
"""Called with each event of a completion; returning True stops the completion at the next token.

Events: {"progress": [cached, evaluated, total]}, numbers of prompt tokens; {"text", "ids", "generated"}: new
text, its last ids, and the number of ids so far; {"finish", "generated", "accepted"}: the reason of the end,
and the number of accepted draft ids; {"error": an object}.
"""


def import_library() -> ModuleType:
    """Import xllamacpp, after setting the environment variable that OpenMP reads on import.

    Its threads then spin briefly and sleep while they wait for each other. By default they spin for a long
    time, on the core that the other thread needs. On two cores shared with other processes, 115 tokens/s
    became 14 to 37, and less than 5 if no core was idle. Threads that sleep at once reach 41 tokens/s on an
    idle machine; with this spin they reach about 90 idle and 40 busy (`decode` in
    docs/measurements/llama-cpp.md).

    Raises ImportError if the system lacks a shared library that xllamacpp needs.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "300")
    import xllamacpp

    return xllamacpp  # type: ignore[no-any-return]


class LlamaServer:
    """A loaded model. Do not call `run` on the main thread: xllamacpp would block Ctrl-C.

    Raises MemoryError or RuntimeError if the model cannot be loaded.
    """

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
        params.cache_ram_mib = settings.copies_mib
        params.ctx_shift = False  # a full context ends the answer; llama.cpp must not drop old tokens
        params.warmup = False
        params.ui = False
        params.endpoint_slots = False
        params.slot_save_path = settings.states_folder and f"{settings.states_folder}/"
        params.use_jinja = False
        params.chat_template = CHAT_TEMPLATE
        params.verbosity = settings.verbosity
        if settings.lookup:
            speculative = params.speculative
            speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
            speculative.ngram_simple.size_n = speculative.ngram_simple.size_m = DRAFT
        self._server = _load(xllamacpp.Server, params)
        self._connection: Any = None
        self._lock = threading.Lock()

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`. No ids are added, and tokens of type CONTROL are not recognized.

        Raises RuntimeError if llama.cpp reports an error.
        """
        body = json.dumps({"content": text, "parse_special": False, "add_special": False})
        with self._lock:
            status, answer = self._post("/tokenize", body)
        if status != OK:
            raise RuntimeError(f"llama.cpp could not encode the text: {_error_message(answer)}")
        tokens: list[int] = answer["tokens"]
        return tokens

    def transfer_states(self, action: str, name: str) -> int:
        """Save the states of the KV cache to a file in the folder of the settings, or restore them from it.

        `action` is "save" or "restore". Return the number of tokens. Do not call it during a completion.

        Raises RuntimeError if llama.cpp reports an error.
        """
        with self._lock:
            status, answer = self._post(f"/slots/0?action={action}", json.dumps({"filename": name}))
        if status != OK:
            raise RuntimeError(f"llama.cpp could not {action} the states: {_error_message(answer)}")
        return int(answer["n_saved" if action == "save" else "n_restored"])

    def _post(self, path: str, body: str, *, retry: bool = True) -> tuple[int, dict[str, Any]]:
        """Send a request, and return the status and the JSON object of the response."""
        import http.client
        from urllib.parse import urlsplit

        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        if self._connection is None:
            address = urlsplit(str(self._server.listening_address)).netloc
            self._connection = http.client.HTTPConnection(address, timeout=600)
        try:
            self._connection.request("POST", path, body.encode(), headers)
            response = self._connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._connection = None
            if retry:  # the server closes connections after a few idle seconds
                return self._post(path, body, retry=False)
            raise RuntimeError(f"llama.cpp does not respond: {error}") from None

    def run(self, request: dict[str, Any], on_event: OnEvent) -> None:
        """Run one completion to its end, and pass each event to `on_event`."""
        self._server.handle_completions(request, lambda event: on_event(_short(event)))


def _error_message(answer: dict[str, Any]) -> object:
    error = answer.get("error", {})
    return error.get("message", error) if isinstance(error, dict) else error


def _short(event: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a llama.cpp event that hermes uses."""
    if "error" in event:
        return {"error": event["error"]}
    if progress := event.get("prompt_progress"):
        return {"progress": [int(progress[name]) for name in ("cache", "processed", "total")]}
    choice, verbose = event["choices"][0], event["__verbose"]
    generated = int(verbose["tokens_predicted"])
    if reason := choice["finish_reason"]:
        accepted = int(event.get("timings", {}).get("draft_n_accepted", 0))
        return {"finish": str(reason), "generated": generated, "accepted": accepted}
    return {"text": str(choice["text"]), "ids": verbose["tokens"], "generated": generated}


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
    params.n_batch = params.n_ubatch = settings.batch
    if settings.kv_type != "f16":
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type[
            f"GGML_TYPE_{settings.kv_type.upper()}"
        ]


def _load(server_class: Any, params: Any) -> Any:
    """Load the model on a new thread, because loading on the main thread would block Ctrl-C."""
    loaded: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def load() -> None:
        try:
            loaded.put(server_class(params))
        except BaseException as error:  # noqa: BLE001 - raised in the calling thread
            loaded.put(error)

    threading.Thread(target=load, name="llama.cpp load", daemon=True).start()
    result = loaded.get()
    if isinstance(result, BaseException):
        raise result
    return result
