"""Runs llama.cpp in a child process, with the interface of `server.LlamaServer`.

xllamacpp holds the GIL while it loads a model, which would prevent the user from typing for seconds. Parent
and child exchange lines of JSON over a socket, one request at a time. If the parent exits, the child exits.
If the child exits, the next call raises HermesError.
"""

import contextlib
import io
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from hermes_cli.engines.llama_cpp.child_log import ChildLog
from hermes_cli.engines.llama_cpp.server import (
    REPORTS_DEVICES,
    LlamaServer,
    LlamaSettings,
    OnEvent,
    out_of_memory,
)
from hermes_cli.errors import HermesError, ModelUnavailable, ResourcesExhausted, as_hermes_error

CHILD = (
    "import sys; sys.path[:] = {path!r}; "
    "from hermes_cli.engines.llama_cpp.subprocess_server import serve; serve({fd})"
)
GRACE_S = 5.0
_ERROR_TYPES: dict[str, type[HermesError]] = {
    error.__name__: error for error in (ModelUnavailable, ResourcesExhausted)
}

Message = dict[str, Any]


class LlamaProcess:
    """A model in a child process. `run` and `encode` may be called from any thread.

    `placement` is None if the log level in `settings` is too low for llama.cpp to report it. `log`
    is called with each line of the child's log.
    """

    def __init__(self, settings: LlamaSettings, log: Callable[[str], None] | None = None) -> None:
        parent_socket, child_socket = socket.socketpair()
        code = CHILD.format(path=[os.path.abspath(folder) for folder in sys.path], fd=child_socket.fileno())  # noqa: PTH100
        # -P keeps the current directory out of the child's module search path.
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=2,
            stderr=subprocess.PIPE,
            pass_fds=[child_socket.fileno()],
        )
        self._log = ChildLog(self._child.stderr, log)
        child_socket.close()
        self._socket = parent_socket
        self._stream = parent_socket.makefile("rwb")
        self._lock = threading.Lock()
        self._closed = False
        self._path = Path(settings.path)
        try:
            self._request(asdict(settings), "ready")
        except BaseException:  # including Ctrl-C: never leave a child process behind
            self.close()
            raise
        self.placement = self._log.placement() if settings.verbosity >= REPORTS_DEVICES else None

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`; see LlamaServer."""
        ids: list[int] = self._request({"encode": text}, "ids")
        return ids

    def run(self, request: dict[str, Any], on_event: OnEvent) -> None:
        """Run one completion to its end, and pass each event to `on_event`."""
        with self._lock:
            self._send({"run": request})
            cancelled = False
            while "event" in (message := self._receive()):
                if on_event(message["event"]) and not cancelled:
                    self._send({"cancel": True})
                    cancelled = True

    def _request(self, message: Message, result_key: str) -> Any:
        with self._lock:
            if self._closed:
                raise HermesError("no model is loaded", "load one with /model NAME")
            self._send(message)
            return self._receive()[result_key]

    def _send(self, message: Message) -> None:
        with contextlib.suppress(BrokenPipeError):  # the child has exited: `_receive` raises the error
            _write(self._stream, message)

    def _receive(self) -> Message:
        """Return the next message.

        Raises the error that the child reports, or HermesError if the child has exited.
        """
        line = b""
        with contextlib.suppress(ConnectionError):
            line = self._stream.readline()
        if not line:
            self._log.wait()
            if self._log.out_of_memory:
                raise out_of_memory(self._path)
            raise HermesError(
                "llama.cpp exited unexpectedly",
                "load the model again with /model NAME; --debug shows llama.cpp's log",
            )
        message: Message = json.loads(line)
        if error := message.get("error"):
            if self._log.out_of_memory:
                raise out_of_memory(self._path)
            error_type = _ERROR_TYPES.get(error["type"], HermesError)
            reason = self._log.first_error
            raise error_type(f"{error['message']}{f' ({reason})' if reason else ''}", error["hint"])
        return message

    def close(self) -> None:
        """End the child process, and thereby free the model."""
        self._closed = True
        self._socket.close()
        with contextlib.suppress(OSError):
            self._stream.close()
        self._child.terminate()
        try:
            self._child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._log.wait()


def _write(stream: IO[bytes] | io.BufferedRWPair, message: Message) -> None:
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()


def serve(descriptor: int) -> None:
    """Run the child: load the model that the first message describes, and serve until the parent exits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    connection = socket.socket(fileno=descriptor)
    incoming, outgoing = connection.makefile("rb"), connection.makefile("wb")
    requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
    cancel = threading.Event()
    threading.Thread(target=_handle, args=(requests, outgoing, cancel), daemon=True).start()
    for line in incoming:
        message = json.loads(line)
        if "cancel" in message:
            cancel.set()
        else:
            requests.put(message)
    os._exit(0)  # exits at once, even during a completion


def _handle(requests: "queue.SimpleQueue[Message]", outgoing: IO[bytes], cancel: threading.Event) -> None:
    server: LlamaServer | None = None

    def on_event(event: dict[str, Any]) -> bool:
        _write(outgoing, {"event": event})
        return cancel.is_set()

    while True:
        message = requests.get()
        try:
            if server is None:
                server = LlamaServer(LlamaSettings(**message))
                answer: Message = {"ready": True}
            elif "encode" in message:
                answer = {"ids": server.encode(message["encode"])}
            else:
                cancel.clear()
                server.run(message["run"], on_event)
                answer = {"done": True}
        except (HermesError, ImportError) as error:
            failure = as_hermes_error(error)
            name = type(failure).__name__
            answer = {"error": {"type": name, "message": failure.message, "hint": failure.hint}}
        except Exception as error:  # noqa: BLE001 - sent to the parent, which raises it
            hint = "--debug shows llama.cpp's log"
            answer = {"error": {"type": "", "message": f"llama.cpp failed: {error}", "hint": hint}}
        with contextlib.suppress(OSError):  # the parent has exited
            _write(outgoing, answer)
