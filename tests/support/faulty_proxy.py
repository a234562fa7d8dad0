"""A proxy before a real S3 service that fails on demand."""

import http.client
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

#: What a fault may be besides a status: the connection stays open without an answer, or is dropped.
HANG, DROP = 0, -1
_CODES = {403: "AccessDenied", 500: "InternalError", 503: "SlowDown", 412: "PreconditionFailed"}


@contextmanager
def faulty_proxy(endpoint: str, fault: Callable[[str, str], int | None]) -> Iterator[tuple[str, list[str]]]:
    """A proxy before `endpoint` that answers with `fault(method, path)` where that is a status, HANG or DROP.

    Signed requests pass because the Host header is kept as the client wrote it. Yields its address and what it was asked.
    """
    asked: list[str] = []
    released = threading.Event()
    target = urlsplit(endpoint).netloc

    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append(f"{self.command} {self.path.partition('?')[0]}")
            status = fault(self.command, self.path)
            if status in (HANG, DROP):
                if status == HANG:
                    released.wait(30)
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if status is not None:
                self.reply(status, [], f"<Error><Code>{_CODES[status]}</Code><Message>secret prose</Message></Error>".encode())
                return
            upstream = http.client.HTTPConnection(target, timeout=20)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            kept = [(n, v) for n, v in answer.getheaders() if n.lower() not in {"content-length", "transfer-encoding", "connection"}]
            self.reply(answer.status, kept, answer.read())
            upstream.close()

        def reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = do_HEAD = pass_on  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] - a client that is killed hangs up
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()
