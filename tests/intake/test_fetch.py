import datetime
import gzip
import ipaddress
import random
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import brotli
import pytest
from backports import zstd
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Code, JobError
from pipeline.intake import fetch as fetching
from pipeline.intake.content_encoding import unpacked
from pipeline.intake.fetch import is_url
from pipeline.intake.network import Deadline, is_public
from tests.support.pictures import encoded

BODY = b"the picture's bytes" * 100
fetch = partial(fetching.fetch, timeout=20.0)
check_endpoint = partial(fetching.check_endpoint, timeout=20.0)
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers each path with the function of that name in the server's table, and keeps what was asked."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        try:
            self.server.answers[self.path.partition("?")[0]](self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client had enough

    def send(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | {k.replace("_", "-"): v for k, v in headers.items()}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments) -> None:
        pass


@contextmanager
def serving(answers: dict[str, Answer], context: ssl.SSLContext | None = None) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.answers, server.asked = answers, []
    server.handle_error = lambda *arguments: None  # a refused handshake is not this server's concern
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def get(server: ThreadingHTTPServer, path: str = "/", **options) -> bytes:
    given = {"max_bytes": 10_000, "allow_private": True, "timeout": 5.0} | options
    return fetch(f"http://127.0.0.1:{server.server_port}{path}", **given)


def refusal(code: Code, function, *arguments, **options) -> str:
    with pytest.raises(JobError) as caught:
        function(*arguments, **options)
    assert caught.value.code is code, caught.value
    return caught.value.sentence


def answering(*addresses: str):
    """A name server that knows one answer."""

    def resolve(host, port, *_, **options):
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    return resolve


# --- transfer --------------------------------------------------------------------------------------------------------


def test_the_body_comes_as_it_is():
    with serving({"/photo.jpg": lambda h: h.send(body=BODY)}) as server:
        assert get(server, "/photo.jpg?signature=abc%2Fdef&x=1") == BODY
        path, headers = server.asked[0]
        assert path == "/photo.jpg?signature=abc%2Fdef&x=1"
        assert headers["Accept-Encoding"] == "identity"
        assert headers["Host"] == f"127.0.0.1:{server.server_port}"


def test_the_connection_goes_to_the_checked_address_under_the_name():
    with serving({"/": lambda h: h.send(body=BODY)}) as server:
        url = f"http://pictures.example:{server.server_port}/"
        assert fetch(url, max_bytes=10_000, allow_private=True, resolve=answering("127.0.0.1")) == BODY
        assert server.asked[0][1]["Host"] == f"pictures.example:{server.server_port}"


def test_a_dead_address_gives_way_to_the_next():
    with serving({"/": lambda h: h.send(body=BODY)}) as server:
        url = f"http://pictures.example:{server.server_port}/"
        assert fetch(url, max_bytes=10_000, allow_private=True, resolve=answering("::1", "127.0.0.2", "127.0.0.1")) == BODY


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving({"/": lambda h: h.send(body=BODY)}) as server:
        assert get(server) == BODY


def chunked(handler: Handler, chunks: Iterator[bytes], pause: float = 0.0) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for chunk in chunks:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        time.sleep(pause)
    handler.wfile.write(b"0\r\n\r\n")


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(1000)


def test_chunked_bodies_are_taken():
    with serving({"/": lambda h: chunked(h, iter([BODY[:700], BODY[700:]]))}) as server:
        assert get(server) == BODY


def test_the_size_limit_is_exact():
    with serving({"/": lambda h: h.send(body=BODY)}) as server:
        assert get(server, max_bytes=len(BODY)) == BODY
        refusal(Code.INPUT_TOO_LARGE, get, server, max_bytes=len(BODY) - 1)


def test_an_endless_body_ends_at_the_limit():
    with serving({"/": lambda h: chunked(h, endless())}) as server:
        start = time.monotonic()
        refusal(Code.INPUT_TOO_LARGE, get, server, timeout=30)
        assert time.monotonic() - start < 15


def test_a_giant_content_length_is_refused_unread():
    def giant(handler):
        handler.send(Content_Length=str(10**12))
        time.sleep(30)

    with serving({"/": giant}) as server:
        start = time.monotonic()
        refusal(Code.INPUT_TOO_LARGE, get, server, timeout=30)
        assert time.monotonic() - start < 15


def test_a_body_shorter_than_its_content_length_is_broken_off():
    with serving({"/": lambda h: h.send(body=b"short", Content_Length="500")}) as server:
        assert "127.0.0.1" in refusal(Code.INPUT_UNREACHABLE, get, server)
        assert len(server.asked) == 3


PICTURE = encoded("JPEG")
PAGE = b"<!doctype html><p>moved</p>"


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress(PICTURE),
    "x-gzip": gzip.compress(PICTURE),
    "GZip": gzip.compress(PICTURE[:900]) + gzip.compress(PICTURE[900:]),  # two members
    "deflate": zlib.compress(PICTURE),
    " deflate ": raw_deflate(PICTURE),
    "br": brotli.compress(PICTURE),
    "zstd": zstd.compress(PICTURE),
    "deflate, gzip": gzip.compress(zlib.compress(PICTURE)),
    "aws-chunked,gzip": gzip.compress(PICTURE),
    "gzip, utf-8": gzip.compress(PICTURE),
}


@pytest.mark.parametrize("said", PACKED)
def test_what_was_packed_is_unpacked(said):
    with serving({"/": lambda h: h.send(body=PACKED[said], Content_Encoding=said)}) as server:
        assert get(server) == PICTURE


UNTRUE = ["base64", "aws-chunked", "utf-8", "UTF-8", "binary", "none", "", "identity", "image/jpeg", "null", "base64, aws-chunked", ",",
          "é", "gzip", "x-gzip", "deflate", "br", "zstd", "gzip, gzip", "utf-8, br"]  # fmt: skip


@pytest.mark.parametrize("said", UNTRUE)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP"])
def test_bytes_that_are_not_packed_are_taken_whatever_is_said(said, kind):
    picture = encoded(kind)
    assert unpacked(picture, said, "a.example", 10**6) == picture


@pytest.mark.parametrize("said", UNTRUE)
def test_an_untrue_content_encoding_over_a_connection(said):
    with serving({"/": lambda h: h.send(body=PICTURE, Content_Encoding=said)}) as server:
        assert get(server) == PICTURE


def test_a_page_that_is_not_packed_comes_as_it_is_too():
    for said in ("base64", "gzip", "deflate", "br", "zstd"):
        assert unpacked(PAGE, said, "a.example", 10_000) == PAGE


def test_content_encoding_in_two_headers():
    def twice(handler):
        body = gzip.compress(zlib.compress(PICTURE))
        handler.send_response(200)
        handler.send_header("Content-Encoding", "deflate")
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with serving({"/": twice}) as server:
        assert get(server) == PICTURE


ZEROS = bytes(30_000_000)
BOMBS = {
    "gzip": gzip.compress(ZEROS),
    "deflate": zlib.compress(ZEROS),
    "br": brotli.compress(ZEROS, quality=5),
    "zstd": zstd.compress(ZEROS),
    "gzip, gzip": gzip.compress(gzip.compress(ZEROS)),
    "br, gzip, gzip, base64": gzip.compress(gzip.compress(brotli.compress(ZEROS, quality=5))),
}


@pytest.mark.parametrize("said", BOMBS)
def test_a_bomb_is_unpacked_no_further_than_the_limit(said):
    tracemalloc.start()
    try:
        assert "a.example" in refusal(Code.INPUT_TOO_LARGE, unpacked, BOMBS[said], said, "a.example", 200_000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    with serving({"/": lambda h: h.send(body=BOMBS[said], Content_Encoding=said)}) as server:
        refusal(Code.INPUT_TOO_LARGE, get, server, max_bytes=200_000)


def test_the_size_limit_is_exact_for_packed_bodies():
    with serving({"/": lambda h: h.send(body=gzip.compress(BODY), Content_Encoding="gzip")}) as server:
        assert get(server, max_bytes=len(BODY)) == BODY
        refusal(Code.INPUT_TOO_LARGE, get, server, max_bytes=len(BODY) - 1)


def test_a_damaged_packed_body_is_named():
    damaged = bytearray(gzip.compress(random.Random(1).randbytes(3000)))
    damaged[40:60] = bytes(20)
    with serving({"/": lambda h: h.send(body=bytes(damaged), Content_Encoding="gzip, gzip")}) as server:
        assert "packed" in refusal(Code.INPUT_UNREACHABLE, get, server)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.lists(st.sampled_from([*UNTRUE, *PACKED]), max_size=7).map(",".join))
def test_any_bytes_under_any_content_encoding_are_bytes_or_a_refusal(data, said):
    try:
        assert len(unpacked(data, said, "a.example", 5000)) <= 5000
    except JobError as refused:
        assert refused.code in (Code.INPUT_UNREACHABLE, Code.INPUT_TOO_LARGE)


def drip_body(handler):
    chunked(handler, endless(), pause=0.05)


def drip_head(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-Drip: 1\r\n")
        time.sleep(0.05)


def silence(handler):
    time.sleep(30)


@pytest.mark.parametrize("answer", [drip_body, drip_head, silence])
def test_slow_servers_end_by_the_deadline(answer):
    with serving({"/": answer}) as server:
        start = time.monotonic()
        assert "0.7 s" in refusal(Code.INPUT_UNREACHABLE, get, server, timeout=0.7, max_bytes=10**8)
        assert 0.6 < time.monotonic() - start < 15


def test_a_slow_name_server_ends_by_the_deadline():
    def resolve(*arguments, **options):
        time.sleep(4)
        return answering("127.0.0.1")("x", 80)

    start = time.monotonic()
    refusal(Code.INPUT_UNREACHABLE, fetch, "http://slow.example/", max_bytes=1, allow_private=True, timeout=0.3, resolve=resolve)
    assert time.monotonic() - start < 3.5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 304, 300])
def test_refusals_of_the_server_are_final_and_named(status):
    with serving({"/": lambda h: h.send(status, b"no")}) as server:
        assert str(status) in refusal(Code.INPUT_UNREACHABLE, get, server)
        assert len(server.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_failures_are_tried_three_times(status):
    with serving({"/": lambda h: h.send(status)}) as server:
        assert str(status) in refusal(Code.INPUT_UNREACHABLE, get, server)
        assert len(server.asked) == 3


def test_a_failure_that_passes():
    with serving({"/": lambda h: h.send(500) if len(h.server.asked) < 3 else h.send(body=BODY)}) as server:
        assert get(server) == BODY


def test_tries_stay_within_the_deadline():
    def slow_failure(handler):
        time.sleep(5 if len(handler.server.asked) > 1 else 0.2)
        handler.send(500)

    with serving({"/": slow_failure}) as server:
        start = time.monotonic()
        refusal(Code.INPUT_UNREACHABLE, get, server, timeout=0.8)
        assert time.monotonic() - start < 4.5


def test_an_empty_body_is_named():
    with serving({"/": lambda h: h.send()}) as server:
        assert "empty" in refusal(Code.INPUT_UNREACHABLE, get, server)


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/secret?token=secret"
    assert "secret" not in refusal(Code.INPUT_UNREACHABLE, fetch, url, max_bytes=1, allow_private=True)


def test_what_speaks_no_http():
    with serving({"/": lambda h: h.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")}) as server:
        assert "HTTP" in refusal(Code.INPUT_UNREACHABLE, get, server)


@pytest.mark.parametrize("spelling", ["HTTP://", "Http://", " http://", "\thTTp://"])
def test_the_scheme_in_capitals(spelling):
    with serving({"/": lambda h: h.send(body=BODY)}) as server:
        assert fetch(f"{spelling}127.0.0.1:{server.server_port}/ \n", max_bytes=10_000, allow_private=True) == BODY


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("https://a/b", True),
        ("HTTPS://a/b", True),
        (" Http://a", True),
        ("s3://bucket/key", True),
        ("\nS3://bucket/key", True),
        ("https:/a", False),
        ("car.jpg", False),
        ("C:\\http://", False),
        ("ftp://a", False),
        ("://", False),
        ("", False),
    ],
)
def test_what_is_meant_as_a_url(text, is_one):
    assert is_url(text, "http", "https", "s3") is is_one


# --- redirects -------------------------------------------------------------------------------------------------------


def to(location: str, status: int = 302) -> Answer:
    return lambda handler: handler.send(status, Location=location)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(status):
    with serving({"/a/b": to("../c?x=1", status), "/c": lambda h: h.send(body=BODY)}) as server:
        assert get(server, "/a/b") == BODY
        assert server.asked[1][0] == "/c?x=1"


def test_five_redirects_and_no_more():
    chain = {f"/{i}": to(f"/{i + 1}") for i in range(6)} | {"/6": lambda h: h.send(body=BODY)}
    with serving(chain) as server:
        assert get(server, "/1") == BODY
        refusal(Code.INPUT_UNREACHABLE, get, server, "/0")


def test_a_loop_of_redirects():
    with serving({"/": to("/")}) as server:
        assert "redirects" in refusal(Code.INPUT_UNREACHABLE, get, server)
        assert len(server.asked) == 6


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://x/",
        "http://me:secret@127.0.0.1/",
        "data:,x",
        "http://a b/",
        "http://host:99999/",
    ],
)
def test_redirects_to_anything_else_are_refused(target):
    with serving({"/": to(target)}) as server:
        assert "secret" not in refusal(Code.INPUT_FORBIDDEN, get, server)
        assert len(server.asked) == 1


def test_a_redirect_to_a_private_address_is_refused():
    """The first hop counts as public, the second does not; nothing is asked of the second."""
    answers = {"public.example": answering("127.0.0.1"), "private.example": answering("10.0.0.1")}

    def resolve(host, port, **options):
        return answers[host](host, port)

    with serving({"/": to("http://private.example/")}) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.intake.network.is_public", lambda address: address == "127.0.0.1" or is_public(address))
        url = f"http://public.example:{server.server_port}/"
        sentence = refusal(Code.INPUT_FORBIDDEN, fetch, url, max_bytes=1000, allow_private=False, resolve=resolve)
        assert "private.example" in sentence


def test_a_name_that_changes_its_answer_gains_nothing():
    """The address that was checked is the one that is connected to: the name is resolved once a connection."""
    asked = []

    def resolve(host, port, **options):
        asked.append(host)
        return answering("93.184.215.14" if len(asked) == 1 else "127.0.0.1")(host, port)

    with serving({"/": lambda h: h.send(body=BODY)}) as server:
        url = f"http://rebinding.example:{server.server_port}/"
        with pytest.raises(JobError):
            fetch(url, max_bytes=10_000, allow_private=False, timeout=1.0, resolve=resolve)
        assert server.asked == []


# --- addresses -------------------------------------------------------------------------------------------------------

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1",
    "255.255.255.255", "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:808:808::", "2001:0:1234::1", "2001:db8::1", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "100::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "93.184.215.14", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001:80b::200e", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address):
    assert not is_public(address)
    sentence = refusal(
        Code.INPUT_FORBIDDEN, fetch, "http://name.example/p?token=secret", max_bytes=1, allow_private=False, resolve=answering(address)
    )
    assert "secret" not in sentence
    assert "name.example" in sentence


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address):
    assert is_public(address)
    check_endpoint("https://storage.example:9000", allow_private=False, resolve=answering(address))


def test_one_private_address_among_public_ones_is_enough():
    refusal(Code.INPUT_FORBIDDEN, check_endpoint, "https://x.example", allow_private=False, resolve=answering("8.8.8.8", "10.0.0.1"))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "0x7f000001",
        "2130706433",
        "127.1",
        "017700000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0",
        "１２７.0.0.1",
    ],
)
def test_every_spelling_of_this_machine_is_refused(host):
    with pytest.raises(JobError) as caught:
        fetch(f"http://{host}/", max_bytes=1, allow_private=False)
    assert caught.value.code in (Code.INPUT_FORBIDDEN, Code.INVALID_INPUT)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.ip_addresses(v=4))
def test_an_address_inside_ipv6_is_judged_as_itself(address):
    assert (
        is_public(f"::ffff:{address}") == is_public(str(address)) == is_public(str(ipaddress.IPv6Address((0x64FF9B << 96) | int(address))))
    )


def test_check_endpoint():
    check_endpoint("http://127.0.0.1:9000", allow_private=True)
    refusal(Code.INPUT_FORBIDDEN, check_endpoint, "http://127.0.0.1:9000", allow_private=False)
    refusal(Code.INVALID_INPUT, check_endpoint, "127.0.0.1:9000", allow_private=True)
    refusal(Code.INPUT_UNREACHABLE, check_endpoint, "http://empty.example", allow_private=False, resolve=answering())


def test_an_unknown_name():
    def resolve(*arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    sentence = refusal(Code.INPUT_UNREACHABLE, fetch, "http://nowhere.invalid/", max_bytes=1, allow_private=False, resolve=resolve)
    assert sentence == "The name nowhere.invalid cannot be resolved."
    refusal(Code.INPUT_UNREACHABLE, check_endpoint, "http://nowhere.invalid/", allow_private=False, resolve=resolve)


# --- URLs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "photo.jpg", "ftp://host/x", "file:///etc/passwd", "data:image/png;base64,QUJD", "http://", "https:///x", "http://host:99999/",
     "http://[::1/", "javascript:alert(1)", "http://a b/", "http://user:secret@host/", "http://user@host/", "http://x/" + "a" * 9000,
     "//host/x", "http://host:0/", "http://host/\n"[:-1] + "\x00"],
)  # fmt: skip
def test_wrong_urls(url):
    def resolve(*arguments, **options):
        raise AssertionError("no wrong URL gets as far as the name server")

    assert "secret" not in refusal(Code.INVALID_INPUT, fetch, url, max_bytes=1, allow_private=False, resolve=resolve)


@pytest.mark.parametrize("host", ["xn--", "a" * 70 + ".example", "..", "-.-"])
def test_names_that_cannot_exist(host):
    def resolve(name, *arguments, **options):
        name.encode("idna")
        raise socket.gaierror(-2, "Name or service not known")

    refusal(Code.INPUT_UNREACHABLE, fetch, f"http://{host}/", max_bytes=1, allow_private=False, resolve=resolve)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.one_of(st.text(max_size=40), st.text(max_size=30).map(lambda t: "http://" + t), st.text(max_size=20).map(lambda t: "http://h/" + t))
)
def test_any_text_is_refused_as_a_job_error(text):
    with pytest.raises(JobError):
        fetch(text, max_bytes=1, allow_private=False, resolve=answering("127.0.0.1"))


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A self-signed certificate for pictures.example, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pictures.example")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("pictures.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "pair.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def secure(certificate) -> Iterator[ThreadingHTTPServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving({"/": lambda h: h.send(body=BODY)}, context) as server:
        yield server


def secure_get(server, name: str, tls: ssl.SSLContext | None) -> bytes:
    url = f"https://{name}:{server.server_port}/"
    return fetch(url, max_bytes=10_000, allow_private=True, timeout=5, resolve=answering("127.0.0.1"), tls=tls)


def test_a_self_signed_certificate_is_refused(secure):
    assert "certificate" in refusal(Code.INPUT_UNREACHABLE, secure_get, secure, "pictures.example", None)


def test_a_certificate_is_held_against_the_name(secure, certificate):
    assert secure_get(secure, "pictures.example", ssl.create_default_context(cafile=str(certificate))) == BODY
    sentence = refusal(Code.INPUT_UNREACHABLE, secure_get, secure, "other.example", ssl.create_default_context(cafile=str(certificate)))
    assert "certificate" in sentence


def test_the_environment_adds_no_authority(secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    refusal(Code.INPUT_UNREACHABLE, secure_get, secure, "pictures.example", None)


def test_ending_a_transfer_never_takes_its_encryption_off(certificate, monkeypatch):
    """A thread that writes its request while another one ends everything must not go on in clear: it writes here in that very moment."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    mine, theirs = socket.socketpair()
    with mine, theirs:
        server = threading.Thread(target=lambda: context.wrap_socket(theirs.dup(), server_side=True, suppress_ragged_eofs=True))
        server.start()
        trusting = ssl.create_default_context(cafile=str(certificate))
        connection = trusting.wrap_socket(mine.dup(), server_hostname="pictures.example")
        server.join()
        shut = socket.socket.shutdown

        def meanwhile(beneath: socket.socket, how: int) -> None:
            connection.send(b"GET /?signature=secret HTTP/1.1")
            shut(beneath, how)

        monkeypatch.setattr(socket.socket, "shutdown", meanwhile)
        deadline = Deadline(5.0)
        deadline.opened(connection)
        deadline.abort()
        monkeypatch.undo()
        theirs.settimeout(5.0)
        wire = bytearray()
        while chunk := theirs.recv(65536):
            wire += chunk
        assert wire
        assert b"secret" not in wire
        with pytest.raises(OSError, match=r".+"):
            connection.send(b"more")
        connection.close()
