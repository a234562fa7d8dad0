"""A hub on loopback: the routes that the builder asks, redirects to another origin for large files, ranges, and faults on demand.

`python -m tests.support.hub_server FOLDER` serves FOLDER/org--name/… by hand.
"""

import hashlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Fault:
    """What happens to one request for a file: a status in place of an answer, a pause before it, a cut after so many bytes, content
    that is not the file's, a range that is ignored."""

    status: int = 0
    retry_after: str = ""
    pause: float = 0.0
    cut: int | None = None
    wrong: bool = False
    ignore_range: bool = False


@dataclass(frozen=True)
class Sent:
    """Bytes `start` to `start + count` of a file, given to a connection."""

    file: str
    start: int
    count: int


@dataclass
class Hub:
    """What is served. `repositories`: name → commit → path → content; `heads`: name → its main commit; `files`: plain addresses.

    Files whose name ends in one of `large` are LFS files. `faults`: file → one for each request that it still spoils, API requests under
    `api/NAME`. `rate`: bytes a second of each connection, 0 for all that fit.
    """

    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    large: tuple[str, ...] = (".safetensors", ".bin", ".pt", ".pth")
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    token: str | None = None
    etags: bool = True
    rate: float = 0.0
    sent: list[Sent] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)  # files for which a token came to the wrong origin
    asked: list[str] = field(default_factory=list)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self.port}"

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        """A new revision, which becomes the main one; its name follows from the content."""
        text = repository + json.dumps({path: hashlib.sha256(data).hexdigest() for path, data in sorted(files.items())})
        name = hashlib.sha1(text.encode()).hexdigest()
        self.repositories.setdefault(repository, {})[name] = dict(files)
        self.heads[repository] = name
        return name

    def bytes_of(self, file: str) -> int:
        """Bytes of a file that were given out, all requests together."""
        with self.lock:
            return sum(it.count for it in self.sent if it.file == file)

    def overlap(self, file: str) -> int:
        """Bytes of a file that were given out more than once."""
        with self.lock:
            spans = sorted((it.start, it.start + it.count) for it in self.sent if it.file == file)
        twice, end = 0, 0
        for start, stop in spans:
            twice += max(0, min(stop, end) - start)
            end = max(end, stop)
        return twice


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub, answering on a free port of loopback."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = _Server(("127.0.0.1", 0), handler)
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that were killed are no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(path)
        try:
            if path.startswith("/api/models/"):
                self._info(path.removeprefix("/api/models/"))
            elif path.startswith("/cdn/"):
                repository, _, rest = path.removeprefix("/cdn/").partition("/at/")
                if self.headers.get("Authorization"):
                    self.hub.leaked.append(rest)
                commit, _, file = rest.partition("/")
                self._file(f"{repository}/{file}", self.hub.repositories[repository][commit][file])
            elif path.startswith("/files/"):
                file = path.removeprefix("/files/")
                self._file(file, self.hub.files[file]) if file in self.hub.files else self._answer(404)
            else:
                self._resolve(path.removeprefix("/"))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _info(self, path: str) -> None:
        if "/commits/" in path:
            return self._commits(path.partition("/commits/")[0])
        repository, _, revision = path.partition("/revision/")
        if self._spoiled(f"api/{repository}") or self._refused():
            return None
        commits = self.hub.repositories.get(repository)
        if commits is None:
            return self._answer(404, headers={"X-Error-Code": "RepoNotFound"})
        commit = self.hub.heads[repository] if revision in {"", "main"} else revision
        if commit not in commits:
            return self._answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        siblings = [self._sibling(file, data) for file, data in commits[commit].items()]
        return self._answer(200, json.dumps({"id": repository, "sha": commit, "siblings": siblings}).encode())

    def _commits(self, repository: str) -> None:
        """Every commit, the newest first, as far as huggingface_hub reads them."""
        about = {"title": "", "message": "", "date": "2026-01-01T00:00:00.000Z", "authors": []}
        commits = reversed(self.hub.repositories.get(repository, {}))
        return self._answer(200, json.dumps([{"id": commit, **about} for commit in commits]).encode())

    def _sibling(self, file: str, data: bytes) -> dict[str, Any]:
        row: dict[str, Any] = {"rfilename": file, "size": len(data), "blobId": git_blob(data)}
        if file.endswith(self.hub.large):
            row["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 100}
        return row

    def _resolve(self, path: str) -> None:
        repository, _, rest = path.partition("/resolve/")
        revision, _, file = rest.partition("/")
        commit = self.hub.heads.get(repository, "") if revision == "main" else revision
        data = self.hub.repositories.get(repository, {}).get(commit, {}).get(file)
        if self._refused():
            return None
        if data is None:
            return self._answer(404, headers={"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": commit}
        if file.endswith(self.hub.large):
            location = f"http://localhost:{self.hub.port}/cdn/{repository}/at/{commit}/{file}"
            linked = {"X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data)), "Location": location}
            return self._answer(302, headers=headers | linked)
        return self._file(f"{repository}/{file}", data, headers)

    def _refused(self) -> bool:
        if self.hub.token is None or self.headers.get("Authorization") == f"Bearer {self.hub.token}":
            return False
        self._answer(401, headers={"X-Error-Code": "GatedRepo"})
        return True

    def _fault(self, file: str) -> Fault:
        with self.hub.lock:
            waiting = self.hub.faults.get(file) or []
            return waiting.pop(0) if waiting else Fault()

    def _spoiled(self, file: str) -> Fault | None:
        fault = self._fault(file)
        time.sleep(fault.pause)
        if fault.status:
            self._answer(fault.status, headers={"Retry-After": fault.retry_after} if fault.retry_after else {})
            return fault
        return None

    def _file(self, file: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        fault = self._fault(file)
        time.sleep(fault.pause)
        if fault.status:
            return self._answer(fault.status, headers={"Retry-After": fault.retry_after} if fault.retry_after else {})
        start, end = 0, len(data)
        asked = self.headers.get("Range", "")
        changed = self.headers.get("If-Range") not in {None, f'"{git_blob(data)}"'}
        ranged = asked.startswith("bytes=") and not fault.ignore_range and not changed
        if ranged:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(len(data), int(last) + 1) if last else len(data)
            if start >= len(data):
                return self._answer(416, headers={"Content-Range": f"bytes */{len(data)}"})
        body = bytes(b ^ 0xFF for b in data[start:end]) if fault.wrong else data[start:end]
        self.send_response(206 if ranged else 200)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        if self.hub.etags:
            self.send_header("ETag", f'"{git_blob(data)}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return None
        return self._body(file, start, body if fault.cut is None else body[: fault.cut], fault.cut is not None)

    def _body(self, file: str, start: int, body: bytes, cut: bool) -> None:
        step = len(body) if not self.hub.rate else max(1, int(self.hub.rate / 50))
        done = 0
        try:
            while done < len(body):
                chunk = body[done : done + step]
                self.wfile.write(chunk)
                done += len(chunk)
                if self.hub.rate:
                    time.sleep(len(chunk) / self.hub.rate)
        finally:
            with self.hub.lock:
                self.hub.sent.append(Sent(file, start, done))
        if cut:
            self.close_connection = True

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def git_blob(data: bytes) -> str:
    """Git's name of a content."""
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


def main() -> None:
    """Serve a folder until interrupted."""
    hub = Hub()
    for home in Path(sys.argv[1]).glob("*--*"):
        hub.commit(home.name.replace("--", "/"), {p.relative_to(home).as_posix(): p.read_bytes() for p in home.rglob("*") if p.is_file()})
    with serving(hub):
        print(hub.endpoint)
        threading.Event().wait()


if __name__ == "__main__":
    main()
