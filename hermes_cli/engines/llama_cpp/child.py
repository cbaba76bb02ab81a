"""The child process of `subprocess_server.py`: it loads a model and serves requests for it.

Messages are JSON objects, one per line. The first one holds the settings; its answer is {"ready"} or
{"error"}. Each request has an `id`, which its answers repeat, and several requests may run at once:

    {"id", "encode": text}    → {"id", "ids"}
    {"id", "run": request}    → {"id", "event"} for each event, then {"id", "done"}
    {"cancel": id}            stops a completion at its next token
    {"id", "save": file}      → {"id", "tokens"}: saves the states of the KV cache, and returns their number
    {"id", "restore": file}   → {"id", "tokens"}: replaces the states of the KV cache with saved ones

A request that fails is answered with {"id", "error": {"type": an exception's name, "message"}}. The child
exits when its parent does.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import threading
from typing import IO, Any

from hermes_cli.engines.llama_cpp.server import LlamaServer
from hermes_cli.engines.llama_cpp.settings import LlamaSettings

Message = dict[str, Any]


def serve(descriptor: int) -> None:
    """Serve the requests that arrive on a socket, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    os.umask(0o077)  # llama.cpp writes the states of prompts
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash writes no file with the conversation
    connection = socket.socket(fileno=descriptor)
    incoming, outgoing = connection.makefile("rb"), connection.makefile("wb")
    _Requests(outgoing).serve(incoming)
    os._exit(0)  # at once, even during a completion: nobody reads it


class _Requests:
    """The running requests of the parent, which reads the answers from `outgoing`."""

    def __init__(self, outgoing: IO[bytes]) -> None:
        self._outgoing = outgoing
        self._sending = threading.Lock()
        self._running: dict[int, threading.Event] = {}
        """Whether each running request was cancelled."""
        self._loaded: list[LlamaServer] = []

    def serve(self, incoming: IO[bytes]) -> None:
        """Handle each message on a thread of its own, the first one before the others."""
        loading = threading.Thread(target=self._load, args=(json.loads(incoming.readline()),), daemon=True)
        loading.start()
        for line in incoming:
            message = json.loads(line)
            if "cancel" in message:
                if cancelled := self._running.get(message["cancel"]):
                    cancelled.set()
                continue
            loading.join()
            cancelled = self._running[message["id"]] = threading.Event()
            threading.Thread(target=self._answer, args=(message, cancelled), daemon=True).start()

    def _load(self, settings: Message) -> None:
        try:
            self._loaded.append(LlamaServer(LlamaSettings(**settings)))
            self._send({"ready": True})
        except Exception as error:  # noqa: BLE001 - sent to the parent
            self._send({"error": _description(error)})

    def _answer(self, message: Message, cancelled: threading.Event) -> None:
        number = message["id"]

        def on_event(event: Message) -> bool:
            self._send({"id": number, "event": event})
            return cancelled.is_set()

        try:
            if "encode" in message:
                answer: Message = {"ids": self._loaded[0].encode(message["encode"])}
            elif action := next((key for key in ("save", "restore") if key in message), None):
                answer = {"tokens": self._loaded[0].transfer_states(action, message[action])}
            else:
                if not cancelled.is_set():
                    self._loaded[0].run(message["run"], on_event)
                answer = {"done": True}
        except Exception as error:  # noqa: BLE001 - sent to the parent
            answer = {"error": _description(error)}
        del self._running[number]
        self._send({"id": number, **answer})

    def _send(self, message: Message) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._sending, contextlib.suppress(OSError):  # the parent has exited
            self._outgoing.write(line)
            self._outgoing.flush()


def _description(error: Exception) -> Message:
    return {"type": type(error).__name__, "message": str(error)}
