"""llama.cpp in a child process.

Native code can crash, on a hostile file or with a faulty GPU driver, and xllamacpp blocks all other threads
while a model loads. In a child process, a crash is an error message, and the user can type meanwhile.
"""

import contextlib
import itertools
import json
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from hermes_cli import child_process
from hermes_cli.engines.llama_cpp.child_log import ChildLog
from hermes_cli.engines.llama_cpp.settings import REPORTS_DEVICES, LlamaSettings
from hermes_cli.errors import HermesError, ModelUnavailable, ResourcesExhausted, as_hermes_error

CHILD: Final = (
    "import sys; sys.path[:] = {path!r}; from hermes_cli.engines.llama_cpp.child import serve; serve({fd})"
)
ENVIRONMENT: Final = {"GGML_NO_BACKTRACE": "1"}  # else a crash starts a debugger, which prints 200 lines
GRACE_S: Final = 5.0
SEE_LOG: Final = "--debug shows llama.cpp's log"

Message = dict[str, Any]


class Request:
    """A request to the child process. Its answers arrive in `answers`; None means that the child exited."""

    def __init__(self, server: "LlamaProcess", number: int) -> None:
        self.answers: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._server = server
        self._number = number

    def next(self, timeout_s: float | None = None) -> Message:
        """Return the next answer. Raises the error that the child reports, and queue.Empty at the timeout."""
        answer = self.answers.get(timeout=timeout_s)
        if answer is None:
            raise self._server.crash()
        if error := answer.get("error"):
            raise self._server.reported(error)
        return answer

    def cancel(self) -> None:
        """Stop a completion at its next token, if it is still running."""
        self._server.send({"cancel": self._number})


class LlamaProcess:
    """A model in a child process. Requests can be started from any thread, and several can run at once.

    `placement` is the placement of the layers, if the log level of the settings makes llama.cpp report it.
    `log` is called with each line of the child's log.

    Raises ModelUnavailable if the file cannot be loaded, ResourcesExhausted if memory runs out, and
    HermesError.
    """

    def __init__(self, settings: LlamaSettings, log: Callable[[str], None] | None = None) -> None:
        self._exited = False
        self._path = Path(settings.path).absolute()
        self._ready = False
        self._closed = False
        self._numbers = itertools.count(1)
        self._requests: dict[int, Request] = {}
        self._sending = threading.Lock()
        ours, theirs = socket.socketpair()
        folders = [folder for folder in sys.path if Path(folder).is_absolute()]
        with theirs:
            self._child = child_process.start(
                [sys.executable, "-I", "-c", CHILD.format(path=folders, fd=theirs.fileno())],
                environ={**os.environ, **ENVIRONMENT},
                stack_bytes=settings.stack_bytes,
                stdin=child_process.DEVNULL,
                stdout=child_process.PIPE,
                stderr=child_process.STDOUT,
                pass_fds=[theirs.fileno()],
            )
        self._log = ChildLog(self._child.stdout, log)
        self._socket = ours
        self._stream = ours.makefile("rb")
        self._reader = threading.Thread(target=self._read, name="llama.cpp answers", daemon=True)
        self._reader.start()
        try:
            loading = self._requests[0] = Request(self, 0)
            self.send({**asdict(settings), "path": str(self._path)})
            loading.next()
        except BaseException:  # including Ctrl-C: never leave a child process behind
            self.close()
            raise
        self._ready = True
        self.placement = self._log.placement() if settings.verbosity >= REPORTS_DEVICES else None
        self._log.clear()

    @property
    def has_crashed(self) -> bool:
        """Whether the child process has exited although `close` was not called."""
        return not self._closed and (self._exited or self._child.poll() is not None)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`. No ids are added, and tokens of type CONTROL are not recognized."""
        ids: list[int] = self.start({"encode": text}).next()["ids"]
        return ids

    def save_states(self, name: str) -> int:
        """Save the states of the KV cache to a file in the folder of the settings; return their number."""
        return int(self.start({"save": name}).next()["tokens"])

    def restore_states(self, name: str) -> int:
        """Replace the states of the KV cache with those of a file; return their number."""
        return int(self.start({"restore": name}).next()["tokens"])

    def start(self, message: Message) -> Request:
        """Send a request; see `child.py`. Raises HermesError if `close` was called."""
        if self._closed:
            raise HermesError("no model is loaded", "load one with /model NAME")
        number = next(self._numbers)
        request = self._requests[number] = Request(self, number)
        if self._exited:
            request.answers.put(None)
        self.send({"id": number, **message})
        return request

    def send(self, message: Message) -> None:
        """Send a message. If the child has exited, do nothing: the reading thread reports it."""
        line = json.dumps(message).encode() + b"\n"
        with self._sending, contextlib.suppress(OSError):
            self._socket.sendall(line)

    def _read(self) -> None:
        """Pass each answer of the child to its request, until the child exits."""
        with contextlib.suppress(OSError, ValueError), self._stream:
            for line in self._stream:
                answer: Message = json.loads(line)
                number = answer.get("id", 0)
                request = self._requests[number] if "event" in answer else self._requests.pop(number)
                request.answers.put(answer)
        self._exited = True
        for request in list(self._requests.values()):
            request.answers.put(None)

    def reported(self, error: Message) -> HermesError:
        """Return the error for one that the child reports."""
        kind, message = error["type"], error["message"]
        if kind == "ImportError":
            return as_hermes_error(ImportError(message))
        if self._ready:
            return HermesError(f"llama.cpp failed: {message}", f"try again; {SEE_LOG}")
        if kind == "MemoryError" or self._log.out_of_memory:
            return out_of_memory(self._path)
        reason = self._log.first_error or message
        return ModelUnavailable(f"llama.cpp could not load {self._path.name}: {reason}", SEE_LOG)

    def crash(self) -> HermesError:
        """Return the error for a child process that has exited."""
        if self._closed:
            return HermesError("the model was closed", "load one with /model NAME")
        with contextlib.suppress(child_process.TimeoutExpired):
            self._child.wait(GRACE_S)
        self._log.wait()
        if self._log.out_of_memory:
            return out_of_memory(self._path)
        if self._child.returncode == -signal.SIGKILL:
            return ResourcesExhausted(
                "llama.cpp was killed, as the system does if memory runs out", "use a smaller --context"
            )
        if not self._ready:
            return ModelUnavailable(
                f"llama.cpp crashed while loading {self._path.name}: the file is damaged or not supported",
                SEE_LOG,
            )
        return HermesError("llama.cpp crashed", f"ask again, and the model is loaded again; {SEE_LOG}")

    def close(self) -> None:
        """End the child process, and thereby free the model."""
        self._closed = True
        self._child.terminate()
        try:
            self._child.wait(GRACE_S)
        except child_process.TimeoutExpired:
            child_process.kill(self._child)
        self._reader.join(GRACE_S)
        self._socket.close()
        self._log.wait()


def out_of_memory(path: Path) -> ResourcesExhausted:
    """Return the error for a model that does not fit in memory."""
    return ResourcesExhausted(f"not enough memory to load {path.name}", "use a smaller --context")
