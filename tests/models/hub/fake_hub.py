"""A fake Hugging Face hub for downloads, on a random port of 127.0.0.1.

It answers HEAD and GET of /owner/name/resolve/…/file with the hub's own headers and byte ranges, and lists
the files of a repository. Attributes switch on faults: a connection that breaks off after a number of bytes,
a wrong size, a gated repository.
"""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """`files` maps owner/name to {file name: content}. `served` lists (path, first byte, bytes sent)."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)
    wrong_sizes: dict[str, int] = field(default_factory=dict)
    wrong_hashes: dict[str, str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    ignore_ranges: bool = False
    status: int | None = None
    served: list[tuple[str, int, int]] = field(default_factory=list)

    def __enter__(self) -> Self:
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Return the address to pass as the endpoint."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_args: Any) -> None:
        """Suppress the request log."""

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        if self.hub.status is not None:
            return self._plain(self.hub.status, b"")
        if path == "/":
            return self._plain(200, b"")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/.*)?", path):
            return self._list(match.group(1))
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            return self._file(match.group(1), match.group(2), body=body)
        return self._plain(404, b"")

    def _list(self, repo: str) -> None:
        if repo not in self.hub.files:
            return self._error(401, "RepoNotFound")
        siblings = [
            {"rfilename": n, "size": len(c), "blobId": "0" * 40} for n, c in self.hub.files[repo].items()
        ]
        info = {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings, "private": False}
        return self._plain(200, json.dumps({**info, "tags": [], "downloads": 0}).encode())

    def _file(self, repo: str, name: str, *, body: bool) -> None:
        if repo not in self.hub.files:
            return self._error(401, "RepoNotFound")
        if repo in self.hub.gated:
            return self._error(403, "GatedRepo")
        if name not in self.hub.files[repo]:
            return self._error(404, "EntryNotFound")
        content = self.hub.files[repo][name]
        start = self._start() if body else 0
        if start >= len(content) > 0:
            return self._plain(416, b"")
        size = self.hub.wrong_sizes.get(name, len(content)) if not body else len(content) - start
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{self.hub.wrong_hashes.get(name, hashlib.sha256(content).hexdigest())}"')
        self.send_header("Content-Length", str(size))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        return self._send(name, content, start) if body else None

    def _start(self) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(match.group(1)) if match and not self.hub.ignore_ranges else 0

    def _send(self, name: str, content: bytes, start: int) -> None:
        limit = self.hub.break_after.pop(0) if self.hub.break_after else len(content)
        part = content[start : start + limit]
        self.hub.served.append((name, start, len(part)))
        self.wfile.write(part)
        if start + len(part) < len(content):
            self.close_connection = True

    def _error(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _plain(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
