"""A fake Hugging Face hub for downloads and searches, on a random port of 127.0.0.1.

It answers HEAD and GET of /owner/name/resolve/…/file with the hub's own headers and byte ranges, lists the
files of a repository, and finds repositories by a word in their names. Attributes switch on faults: a
connection that breaks off after a number of bytes, a wrong size, a gated repository, any other answer.
"""

import contextlib
import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """`files` maps owner/name to {file name: content}. `served` lists (path, first byte, bytes sent).

    `info` maps owner/name to more facts of a repository, such as "tags"; "sizes" maps file names to sizes.
    `answers` and `statuses` map paths to the bodies and statuses to send instead, with `headers`. Bodies are
    sent in 20 parts with `pause_s` seconds between them. `requests` lists the requested paths and queries,
    and `tokens` the values of their Authorization headers.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)
    wrong_sizes: dict[str, int] = field(default_factory=dict)
    wrong_hashes: dict[str, str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    ignore_ranges: bool = False
    status: int | None = None
    info: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    pause_s: float = 0.0
    requests: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
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

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client closed the connection early
            super().handle()

    def log_message(self, *_args: Any) -> None:
        """Suppress the request log."""

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        if self.hub.status is not None:
            return self._plain(self.hub.status, b"")
        self.hub.requests.append(self.path)
        self.hub.tokens.append(self.headers["Authorization"])
        if path in self.hub.answers or path in self.hub.statuses:
            return self._plain(self.hub.statuses.get(path, 200), self.hub.answers.get(path, b""))
        if path == "/":
            return self._plain(200, b"")
        if match := re.fullmatch(r"/api/models(/([^/]+/[^/]+)(/revision/.*)?)?", path):
            return self._list(match.group(2)) if match.group(1) else self._search()
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            return self._file(match.group(1), match.group(2), body=body)
        return self._plain(404, b"")

    def _search(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        words = query["search"][0].lower().split()
        found = [repo for repo in self.hub.files if all(word in repo.lower() for word in words)]
        rows = [{"tags": [], "downloads": 0, **self.hub.info.get(repo, {}), "id": repo} for repo in found]
        rows.sort(key=lambda row: -int(row["downloads"]) if query["sort"] == ["downloads"] else 0)
        self._plain(200, json.dumps(rows[: int(query["limit"][0])]).encode())

    def _list(self, repo: str) -> None:
        if repo not in self.hub.files:
            return self._error(401, "RepoNotFound")
        more = self.hub.info.get(repo, {})
        siblings = [
            {"rfilename": n, "size": more.get("sizes", {}).get(n, len(c)), "blobId": "0" * 40}
            for n, c in self.hub.files[repo].items()
        ]
        info = {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings, "private": False}
        return self._plain(200, json.dumps({**info, "tags": [], "downloads": 0, **more}).encode())

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
        for name, value in self.hub.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self._send_slowly(body)

    def _send_slowly(self, body: bytes) -> None:
        step = len(body) // 20 + 1 if self.hub.pause_s else len(body) + 1
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            self.wfile.flush()
            time.sleep(self.hub.pause_s)
