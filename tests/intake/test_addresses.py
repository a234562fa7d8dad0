"""Odd spellings of private addresses, against a listener that counts who comes: in a job, in a redirect, as a job's own bucket.

`test_fetch.py` holds the addresses themselves, redirects and rebinding; here it is the ways of writing them.
"""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery import Artifact, bucket_from_s3_config, deliver_s3
from delivery.bucket import Bucket
from pipeline import service
from pipeline.errors import Code, JobError
from pipeline.intake.fetch import check_endpoint, fetch
from pipeline.intake.network import is_public
from pipeline.progress import Progress

#: Hosts that mean 127.0.0.2 (the last two: ::1), to one resolver or another.
SPELLINGS = [
    "127.0.0.2", "127.0.0.2.", "2130706434", "0x7f000002", "017700000002", "0177.0.0.2", "0x7f.0.0.2", "0x7F.0x0.0x0.0x2",
    "127.2", "127.0.2", "0177.0x0.2", "00000177.0.0.02", "１２７.0.0.2", "127。0。0。2", "127｡0｡0｡2", "①②⑦.⓪.⓪.②", "127.0.0.%32",
    "%31%32%37.0.0.2", "[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "[::ffff:7f00:0002%25lo]", "[::127.0.0.2]",
    "[0:0:0:0:0:ffff:127.0.0.2]", "[64:ff9b::7f00:2]", "[2002:7f00:2::]", "[::1]", "[::1%25lo]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]", "localhost", "LOCALHOST.", "ⓛocalhost", "loc\u00adalhost",
]  # fmt: skip
#: Hosts of other networks that only this worker can reach.
PRIVATE = [
    "169.254.169.254", "169.254.43518", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "[::ffff:a9fe:a9fe]",
    "[fe80::1%25eth0]", "[fd00:ec2::254]", "10.1", "0xa000001", "012.0.0.1", "192.168.257", "172.16.1", "0", "0.0.0.0", "[::]",
    "100.64.0.1", "198.18.0.1",
]  # fmt: skip
#: URLs that two parsers may read differently; each means 127.0.0.2 to one of them.
CONFUSING = [
    "http://a.example@127.0.0.2:{port}/", "http://127.0.0.2:{port}#@a.example/", "http://127.0.0.2:{port}?@a.example/",
    "http://127.0.0.2:{port}\\@a.example/", "http://a.example\\@127.0.0.2:{port}/", "http://a.example:80@127.0.0.2:{port}/",
    "http://127.0.0.2:{port}\t.a.example/", "http://127.0.0.2:{port}%23.a.example/", "http://127.0.0.2%2f.a.example:{port}/",
    "http://a.example%40127.0.0.2:{port}/", "http:127.0.0.2:{port}/", "http:/127.0.0.2:{port}/", "http:///127.0.0.2:{port}/",
    "//127.0.0.2:{port}/", "HTTP://127.0.0.2:{port}/", " http://127.0.0.2:{port}/ ",
    "http://[::ffff:127.0.0.2]@a.example:{port}/", "http://a.example@@127.0.0.2:{port}/", "http://127.0.0.2:{port}:80/",
    "http://127.0.0.2 .a.example:{port}/", "http://xn--127-0.0.2:{port}/", "http://xn--a.127.0.0.2:{port}/",
]  # fmt: skip
REFUSED = {Code.INPUT_FORBIDDEN, Code.INVALID_INPUT, Code.INPUT_UNREACHABLE}


@contextmanager
def listening(host: str = "127.0.0.2", answer: bytes = b"") -> Iterator[tuple[int, list[str]]]:
    """A port on a loopback address and who connected to it; each is sent `answer`."""
    came: list[str] = []
    with socket.create_server((host, 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    came.append(connection.recv(4000).decode("latin-1"))
                    connection.sendall(answer)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A port of 127.0.0.2 that nobody may have come to in the end."""
    with listening() as (port, came):
        yield port
        assert came == []


def resolve(host: str, port: int, **options: int) -> list[tuple[object, ...]]:
    """The system's resolver, asked for no name of the network: addresses in any spelling, and the names of this machine."""
    if not re.fullmatch(r"[0-9a-fx.]+|.*:.*|localhost\.?", host, re.IGNORECASE):
        raise socket.gaierror(-2, "Name or service not known")
    return list(socket.getaddrinfo(host, port, **options))


def refused(url: str) -> JobError:
    with pytest.raises(JobError) as caught:
        fetch(url, max_bytes=100, allow_private=False, timeout=1.0, resolve=resolve)
    assert caught.value.code in REFUSED
    return caught.value


def test_the_spellings_lead_there_where_private_addresses_are_allowed() -> None:
    """So that the tests below could fail: without the check, most of these reach the listener."""
    arrived = []
    with listening(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (port, came):
        for host in SPELLINGS:
            before = len(came)
            try:
                fetch(f"http://{host}:{port}/", max_bytes=100, allow_private=True, timeout=1.0, resolve=resolve)
            except JobError:
                continue
            arrived += [host] * (len(came) > before)
    assert {"2130706434", "0x7f000002", "017700000002", "127.2", "127。0。0。2", "[::ffff:7f00:2]"} <= set(arrived), arrived


@pytest.mark.parametrize("host", [*SPELLINGS, *PRIVATE], ids=ascii)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_spelling_of_a_private_address_is_fetched(scheme: str, host: str, port: int) -> None:
    refused(f"{scheme}://{host}:{port}/p?token=secret")


@pytest.mark.parametrize("url", CONFUSING)
def test_what_parsers_read_differently_leads_nowhere_private(url: str, port: int) -> None:
    refused(url.format(port=port))


@pytest.mark.parametrize("host", [*SPELLINGS, *PRIVATE], ids=ascii)
def test_no_redirect_leads_to_a_private_address(host: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first hop, 127.0.0.1, counts as public here."""
    monkeypatch.setattr("pipeline.intake.network.is_public", lambda address: address == "127.0.0.1" or is_public(address))
    answer = f"HTTP/1.1 302 Found\r\nLocation: http://{host}:{port}/x\r\nContent-Length: 0\r\n\r\n".encode()
    with listening("127.0.0.1", answer) as (first, came):
        refused(f"http://127.0.0.1:{first}/")
        assert len(came) >= 1


@pytest.mark.parametrize("url", CONFUSING)
def test_no_confusing_redirect_leads_to_a_private_address(url: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.intake.network.is_public", lambda address: address == "127.0.0.1" or is_public(address))
    answer = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % url.format(port=port).encode()
    with listening("127.0.0.1", answer) as (first, _):
        refused(f"http://127.0.0.1:{first}/")


def own_bucket(host: str, port: int) -> dict[str, str]:
    return {"accessId": "a", "accessSecret": "b", "bucketName": "theirs", "endpointUrl": f"http://{host}:{port}"}


@pytest.mark.parametrize("host", [*SPELLINGS, *PRIVATE], ids=ascii)
def test_no_private_address_is_a_jobs_own_bucket(host: str, port: int) -> None:
    check = partial(check_endpoint, allow_private=False, timeout=1.0, resolve=resolve)
    with pytest.raises(JobError) as caught:
        bucket_from_s3_config(own_bucket(host, port), check_endpoint=check, url_expiry_seconds=60)
    assert caught.value.code in REFUSED


@pytest.mark.parametrize("host", ["127.0.0.2", "2130706434", "[::ffff:127.0.0.2]", "localhost"])
def test_a_bucket_whose_name_led_elsewhere_when_it_was_checked(host: str, port: int) -> None:
    """Rebinding: the endpoint has passed its check, and now it is private. Every connection is checked again."""
    bucket = Bucket(f"http://{host}:{port}", "a", "b", "theirs", max_attempts=1, deployments=False, allow_private=False)
    with pytest.raises(JobError) as caught:
        deliver_s3([Artifact.of("illustration.svg", b"<svg/>")], bucket, "orders/42")
    assert caught.value.code is Code.INPUT_FORBIDDEN


@pytest.mark.parametrize("key", ["image_url", "matte_url", "palette_from_url", "s3Config"])
def test_every_door_of_a_job_is_shut(key: str, port: int, worker: service.Worker) -> None:
    job: dict[str, object] = {"image_base64": "AAAA"} if key != "image_url" else {}
    url = f"http://0x7f.2:{port}/a.jpg"
    if key in ("matte_url", "palette_from_url"):
        from tests.support.bad_inputs import GOOD

        job = {"image_base64": GOOD}
    config = own_bucket("0x7f.2", port) if key == "s3Config" else None
    with pytest.raises(JobError) as caught:
        service.perform("order", job if config else {**job, key: url}, worker, Progress(), config)
    assert caught.value.code is Code.INPUT_FORBIDDEN


@settings(max_examples=200, deadline=None)
@given(st.ip_addresses(v=4, network="127.0.0.0/8") | st.ip_addresses(v=4, network="10.0.0.0/8"), st.data())
def test_any_mixture_of_bases_is_seen_through(address: object, data: st.DataObject) -> None:
    """inet_aton's forms: one to four numbers, each decimal, octal or hexadecimal, the last one holding what is left."""
    number = int(address)  # type: ignore[call-overload]
    count = data.draw(st.integers(1, 4))
    parts = [(number >> 8 * (3 - n)) & 255 for n in range(count - 1)]
    parts.append(number & ((1 << 8 * (5 - count)) - 1))
    host = ".".join(data.draw(st.sampled_from([str, "0{:o}".format, hex, "0X{:X}".format]))(part) for part in parts)
    refused(f"http://{host}:9/")
