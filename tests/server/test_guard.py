"""The guard by itself, before an application that answers everybody: keys, names, other sites, rates, sizes, times, and what is told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import CapturingLogger

from pipeline.errors import Code
from pipeline.settings import load
from server import guard as module
from server import metrics, sign_in
from server.guard import Guard
from server.problems import PodCode, Problem
from server.settings import Pod, PodEnvironment, environment_of

KEY = "pLaNt3d-Guard-Key"
HERE, THERE = ("10.0.0.1", 1), ("10.0.0.2", 2)
#: Header names and values as a caller sends them, in this order and as often as they stand here.
Given = Sequence[tuple[str | bytes, str | bytes]]


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    """The application behind the guard: takes the whole body and says how long it was."""
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"inside, {len(body)} bytes")(scope, receive, send)


def guarded(app: ASGIApp = inside, limits: Mapping[str, int] | None = None, **settings: str) -> Guard:
    return Guard(app, Pod(environment_of(PodEnvironment, settings), load()), limits or {})


def ask(
    guard: Guard,
    method: str = "GET",
    path: str = "/api/v1/jobs",
    headers: Given = (),
    *,
    client: tuple[str, int] = HERE,
    body: bytes | AsyncIterator[bytes] = b"",
) -> httpx.Response:
    """The answer to one request. The host is `art.example` unless the headers say another."""

    async def answered() -> httpx.Response:
        request = httpx.Request(method, f"http://art.example{path}", headers=list(headers), content=body)
        answer = await httpx.ASGITransport(guard, client=client).handle_async_request(request)
        await answer.aread()
        return answer

    return asyncio.run(answered())


def tell(guard: Guard, *arriving: Message, **scope: Any) -> list[Message]:
    """What the guard sends for a request that no client library would write; nothing arrives after `arriving`."""
    sent: list[Message] = []
    coming = list(arriving)

    async def receive() -> Message:
        if not coming:
            await asyncio.sleep(3600)
        return coming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asked = {"type": "http", "method": "GET", "path": "/api/v1/jobs", "headers": [], "client": HERE} | scope
    asyncio.run(asyncio.wait_for(guard(asked, receive, send), 20))
    return sent


def counted(name: str, **labels: str) -> float:
    return metrics._HERE.get_sample_value(name, labels) or 0.0


def session(key: str = KEY, ago: float = 0) -> str:
    """A session's cookie, begun so many seconds ago."""
    return f"session={sign_in.cookie(key, time.time() - ago)}"


# --- the key


@pytest.mark.parametrize(
    ("headers", "comes"),
    [
        pytest.param([("X-API-Key", KEY)], True, id="the key"),
        pytest.param([("x-api-KEY", KEY)], True, id="names of headers have no case"),
        pytest.param([("X-API-Key", KEY.lower())], False, id="the key has"),
        pytest.param([("X-API-Key", "")], False, id="empty"),
        pytest.param([("X-API-Key", KEY[:-1])], False, id="without its last character"),
        pytest.param([("X-API-Key", KEY + KEY[-1])], False, id="with one too many"),
        pytest.param([("X-API-Key", f"{KEY}, {KEY}")], False, id="as a proxy joins two headers"),
        pytest.param([("X-API-Key", f'"{KEY}"')], False, id="in quotes"),
        pytest.param([("X-API-Key", KEY.replace("K", "К").encode())], False, id="with a Cyrillic К"),
        pytest.param([("X-API-Key", b"\xff\x00" + KEY.encode())], False, id="after bytes that are no text"),
        pytest.param([("Api-Key", KEY)], False, id="another header"),
        pytest.param([("Proxy-Authorization", f"Bearer {KEY}")], False, id="for a proxy"),
        pytest.param([("Authorization", f"BEARER   {KEY}  ")], True, id="schemes have no case, spaces do not count"),
        pytest.param([("Authorization", f"Bearer\t{KEY}")], False, id="a tab is no space"),
        pytest.param([("Authorization", f"Bearer{KEY}")], False, id="without a space"),
        pytest.param([("Authorization", KEY)], False, id="without a scheme"),
        pytest.param([("Authorization", f" {KEY}")], False, id="an empty scheme"),
        pytest.param([("Authorization", f"Token {KEY}")], False, id="another scheme"),
        pytest.param([("Authorization", f"Bearer {KEY} {KEY}")], False, id="two tokens"),
        pytest.param([("Authorization", "Bearer")], False, id="no token"),
        pytest.param([("X-API-Key", "wrong"), ("Authorization", f"Bearer {KEY}")], False, id="a wrong X-API-Key goes before a right token"),
        pytest.param([("X-API-Key", ""), ("Authorization", f"Bearer {KEY}")], True, id="an empty one is none"),
        pytest.param([("X-API-Key", KEY), ("Authorization", "Bearer wrong")], True, id="a right one goes before a wrong token"),
        pytest.param([("X-API-Key", KEY), ("X-API-Key", "wrong")], True, id="twice: the first counts"),
        pytest.param([("X-API-Key", "wrong"), ("X-API-Key", KEY)], False, id="twice: the second does not"),
        pytest.param([("Authorization", "Basic x"), ("Authorization", f"Bearer {KEY}")], False, id="the same for tokens"),
        pytest.param([("Cookie", session())], True, id="a session"),
        pytest.param([("Cookie", f"theme=dark; {session()} ; é=%".encode())], True, id="a session among other cookies"),
        pytest.param([("Cookie", session(ago=sign_in.HOLDS - 6 * 3600))], True, id="one of nearly a week"),
        pytest.param([("Cookie", session(ago=sign_in.HOLDS + 1))], False, id="one of a week"),
        pytest.param([("Cookie", session("another key"))], False, id="one of another key"),
        pytest.param([("Cookie", f"session={KEY}")], False, id="the key as a cookie"),
        pytest.param([("Cookie", session().replace("session", "Session"))], False, id="cookies' names have case"),
        pytest.param([("Cookie", session().partition("=")[2])], False, id="a cookie without its name"),
        pytest.param([("X-API-Key", session().partition("=")[2])], False, id="a session in place of the key"),
        pytest.param([("Cookie", "session=" + "9" * 5000 + "." + "0" * 64)], False, id="an end of more digits than Python reads"),
        pytest.param([("Cookie", "session=\N{SUPERSCRIPT TWO}.".encode("latin-1"))], False, id="an end of digits that are no number"),
        pytest.param([("X-API-Key", "wrong"), ("Cookie", session())], True, id="a session beside a wrong key"),
        pytest.param([], False, id="nothing"),
    ],
)
def test_who_has_the_key_comes_and_nobody_else(headers: Given, comes: bool) -> None:
    """Whatever was wrong, the refusal is the same to the byte: it does not tell how near a guess was."""
    answer = ask(guarded(API_KEY=KEY), headers=headers)
    if comes:
        assert (answer.status_code, answer.text) == (200, "inside, 0 bytes")
        return
    nothing = ask(guarded(API_KEY=KEY))
    assert answer.status_code == nothing.status_code == 401
    assert answer.content == nothing.content and answer.headers == nothing.headers
    assert answer.headers["www-authenticate"] == "Bearer" and "set-cookie" not in answer.headers
    assert answer.json()["code"] == "UNAUTHORIZED" and KEY not in answer.text + str(answer.headers)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/ready?verbose=1", 200),
        ("DELETE", "/health", 200),  # the route itself says which methods it takes
        ("GET", "/health/", 401),
        ("GET", "/Health", 401),
        ("GET", "/healthz", 401),
        ("GET", "//health", 401),
        ("GET", "/health%00", 401),
        ("GET", "/api/v1/jobs?path=/health", 401),
        ("GET", f"/api/v1/jobs?key={KEY}&X-API-Key={KEY}", 401),  # addresses stand in histories and logs
        ("POST", "/", 200),  # signing in: the route judges the key
        ("PUT", "/", 401),
        ("POST", "//", 401),
        ("OPTIONS", "/api/v1/process", 401),
        ("BREW", "/api/v1/process", 401),
    ],
)
def test_what_is_open_without_the_key(method: str, path: str, status: int) -> None:
    answer = ask(guarded(API_KEY=KEY), method, path)
    assert answer.status_code == status and KEY not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/", "text/html; charset=utf-8"),
        ("GET", "/?from=mail", "text/html; charset=utf-8"),
        ("HEAD", "/", "application/problem+json"),
        ("GET", "/page/page.js", "application/problem+json"),
        ("GET", "/index.html", "application/problem+json"),
    ],
)
def test_only_a_browser_at_the_page_is_shown_the_form(method: str, path: str, kind: str) -> None:
    answer = ask(guarded(API_KEY=KEY), method, path)
    assert (answer.status_code, answer.headers["content-type"], answer.headers["www-authenticate"]) == (401, kind, "Bearer")


def test_a_key_of_blanks_is_none() -> None:
    """As an unset variable: nobody can be locked out by a template that was left empty."""
    assert ask(guarded(API_KEY="  ")).status_code == 200


# --- the server's names


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (["good.example"], 200),
        (["GOOD.Example:5090"], 200),
        (["10.0.0.9:80"], 200),
        (["[::1]:5090"], 200),
        (["[::1]"], 200),
        (["::1"], 403),  # without brackets it is the port of nobody
        (["good.example.evil.example"], 403),
        (["evil.good.example"], 403),
        (["good.example."], 403),
        (["good.example@evil.example"], 403),
        (["evil.example/good.example"], 403),
        (["evil.example, good.example"], 403),
        ([""], 403),
        ([":5090"], 403),
        (["good.exam\N{LATIN SMALL LETTER P WITH ACUTE}le"], 403),
        (["[good.example]"], 403),  # in brackets stands an address, or nothing that can be read
        (["["], 403),
        (["::1]"], 403),
        (["evil.example", "good.example"], 403),  # the first counts, and it is the one that the application reads
        (["good.example", "evil.example"], 200),
    ],
)
def test_the_server_goes_by_its_names_alone(hosts: list[str], status: int) -> None:
    """Neither the key nor a session opens it under another one, and the refusal does not tell those it has."""
    guard = guarded(API_KEY=KEY, ALLOWED_HOSTS="Good.example, 10.0.0.9,[::1]")
    for proof in ([("X-API-Key", KEY)], [("Cookie", session())]):
        answer = ask(guard, headers=[*(("Host", host.encode()) for host in hosts), *proof])
        assert answer.status_code == status, answer.text
        assert status == 200 or (answer.json()["code"] == "FORBIDDEN" and "good.example" not in answer.text.lower())
    assert ask(guarded(API_KEY=KEY), headers=[("Host", hosts[0].encode()), ("X-API-Key", KEY)]).status_code == 200


def test_a_request_without_any_host_has_no_name() -> None:
    """HTTP/1.0; where no names are set it may come."""
    nothing: Message = {"type": "http.request", "body": b""}
    assert [tell(guarded(**settings), nothing)[0]["status"] for settings in ({"ALLOWED_HOSTS": "good.example"}, {})] == [403, 200]


# --- pages of other sites

OWN, SHOP = "http://art.example", "https://shop.example"


@pytest.mark.parametrize(
    ("headers", "session_may", "anybody_may"),
    [
        # what a browser says, whether a session may then change something, whether anybody may where no key is set
        ([], False, True),  # only others than browsers say nothing
        ([("Origin", OWN)], True, True),
        ([("Origin", "https://art.example")], True, True),  # TLS may end before this server
        ([("Origin", "http://art.example:81")], False, False),
        ([("Origin", "http://art.example.evil.example")], False, False),
        ([("Origin", "http://art.example@evil.example")], False, False),
        ([("Origin", "art.example")], False, False),
        ([("Origin", "")], False, False),
        ([("Origin", "null")], False, False),
        ([("Origin", "null"), ("Host", "")], False, False),  # nowhere is no place of ours
        ([("Origin", "http://[")], False, False),
        ([("Origin", "http://[art.example]")], False, False),
        ([("Origin", b"http://art.ex\xe4mple")], False, False),
        ([("Origin", SHOP)], True, True),
        ([("Origin", SHOP), ("Sec-Fetch-Site", "cross-site")], True, True),
        ([("Origin", f"{SHOP}/")], False, False),
        ([("Origin", "http://shop.example")], False, False),
        ([("Origin", "https://evil.shop.example")], False, False),
        ([("Origin", f"{SHOP}, {OWN}")], False, False),
        ([("Origin", "https://evil.example"), ("Origin", OWN)], False, False),
        ([("Sec-Fetch-Site", "same-origin")], True, True),
        ([("Sec-Fetch-Site", "none")], True, True),  # the address bar
        ([("Sec-Fetch-Site", "same-site")], False, False),
        ([("Sec-Fetch-Site", "SAME-ORIGIN")], False, False),
        ([("Sec-Fetch-Site", "")], False, False),
        ([("Sec-Fetch-Site", "cross-site"), ("Origin", OWN)], False, False),  # it goes before the origin
        ([("Referer", f"{OWN}/")], False, True),  # says nothing: it may be left out
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "BREW"])
def test_changes_come_from_pages_that_may(method: str, headers: Given, session_may: bool, anybody_may: bool) -> None:
    locked, free = guarded(API_KEY=KEY, CORS_ORIGINS=SHOP), guarded(CORS_ORIGINS=SHOP)
    for guard, proof, may in (
        (locked, [("Cookie", session())], session_may),
        (free, [], anybody_may),
        (locked, [("X-API-Key", KEY)], True),  # no page of another site has it
    ):
        answer = ask(guard, method, headers=[*headers, *proof])
        assert answer.status_code == (200 if may else 403), answer.text
        assert may or (answer.json()["code"] == "FORBIDDEN" and SHOP not in answer.text)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_changes_nothing_may_be_asked_for_from_anywhere(method: str) -> None:
    evil = [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")]
    assert ask(guarded(), method, headers=evil).status_code == 200
    assert ask(guarded(API_KEY=KEY), method, headers=[*evil, ("Cookie", session())]).status_code == 200


def test_signing_in_needs_no_own_page() -> None:
    """Whoever knows the key may come from anywhere; some browsers' privacy settings hide where a form stood."""
    assert ask(guarded(API_KEY=KEY), "POST", "/", [("Origin", "null")]).status_code == 200
    assert ask(guarded(API_KEY=KEY), "POST", "/api/v1/process", [("Origin", "null")]).status_code == 401


# --- how often

RIGHT, WRONG = [("X-API-Key", KEY)], [("X-API-Key", "wrong")]
Asked = tuple[str, str, Given, tuple[str, int], int]


def _asked(status: int, path: str = "/api/v1/jobs", *, by: Given = (), of: tuple[str, int] = HERE, method: str = "GET") -> Asked:
    return method, path, by, of, status


@pytest.mark.parametrize(
    ("settings", "requests"),
    [
        pytest.param({}, [_asked(200), _asked(200), _asked(429), _asked(200, of=THERE)], id="each address for itself"),
        pytest.param({}, [_asked(200), _asked(200, of=(HERE[0], 99)), _asked(429)], id="whatever its port"),
        pytest.param(
            {}, [_asked(200), _asked(200, "/api/v1/palette"), _asked(429, "/api/"), _asked(200, "/api")], id="all of /api/ together"
        ),
        pytest.param({}, [_asked(200, "/page/page.js")] * 4 + [_asked(200, "/")] * 4 + [_asked(200)], id="the page's own files are free"),
        pytest.param({}, [_asked(200, "/health")] * 4 + [_asked(200)], id="health is free"),
        pytest.param(
            {"API_KEY": KEY},
            [_asked(200, by=RIGHT), _asked(200, by=RIGHT, of=THERE), _asked(429, by=RIGHT), _asked(429, by=RIGHT, of=THERE)],
            id="the key wherever it comes from",
        ),
        pytest.param({"API_KEY": KEY}, [_asked(401, by=WRONG)] * 2 + [_asked(429, by=WRONG)] * 2, id="guesses"),
        pytest.param({"API_KEY": KEY}, [_asked(401, "/page/page.js"), _asked(401, "/"), _asked(429, "/docs")], id="guesses at any path"),
        pytest.param({"API_KEY": KEY}, [_asked(401, "/"), _asked(401, "/"), _asked(429, "/")], id="no form for who asks too often"),
        pytest.param(
            {"API_KEY": KEY},
            [_asked(200, "/", method="POST"), _asked(200, "/", method="POST"), _asked(429, "/", method="POST")],
            id="guesses in the form",
        ),
        pytest.param(
            {"API_KEY": KEY},
            [_asked(401, by=WRONG)] * 2 + [_asked(429, by=WRONG), _asked(200, by=RIGHT)],
            id="guesses of a neighbour do not lock the owner out",
        ),
        pytest.param(
            {"API_KEY": KEY},
            [_asked(401)] * 2 + [_asked(429), _asked(429, by=[("Cookie", session())]), _asked(200, by=[("Cookie", session())], of=THERE)],
            id="sessions by their address",
        ),
        pytest.param(
            {"ALLOWED_HOSTS": "art.example"}, [_asked(403, by=[("Host", "x")])] * 3 + [_asked(200)], id="other names count for nothing"
        ),
        pytest.param({"RATE_LIMIT_PER_MINUTE": "0"}, [_asked(200)] * 9, id="no limit"),
    ],
)
def test_so_many_requests_a_minute(settings: dict[str, str], requests: list[Asked]) -> None:
    """Two, in each case; what each request gets."""
    guard = guarded(**{"RATE_LIMIT_PER_MINUTE": "2"} | settings)
    answers = [ask(guard, method, path, by, client=of) for method, path, by, of, _ in requests]
    assert [answer.status_code for answer in answers] == [status for *_, status in requests]
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["code"] == "RATE_LIMITED" and 1 <= int(answer.headers["retry-after"]) <= 61
            assert "10.0.0" not in answer.text and KEY not in answer.text


def test_after_the_time_that_was_said_the_next_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The minute moves on with each request: the second to come has to wait for the first one's place, the third for the second's."""
    now = 1_700_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    guard = guarded(RATE_LIMIT_PER_MINUTE="2")
    told = []
    for second in (0, 15, 20.75, 60.75, 61, 75.25):
        now = 1_700_000_000.0 + second
        told.append(ask(guard).headers.get("retry-after"))
    # 60 - 20.75 = 39.25 and 15 + 60 - 61 = 14, each in whole seconds that suffice
    assert told == [None, None, "40", None, "14", None]


def test_callers_without_an_address_count_as_one() -> None:
    """Over a unix socket a server knows none."""
    guard = guarded(RATE_LIMIT_PER_MINUTE="2")
    nothing: Message = {"type": "http.request", "body": b""}
    assert [tell(guard, nothing, client=None)[0]["status"] for _ in range(3)] == [200, 200, 429]


# --- how much, and how long


@pytest.mark.parametrize(
    ("path", "parts", "status"),
    [
        ("/api/v1/process", [1000], 200),
        ("/api/v1/process", [1001], 413),
        ("/api/v1/process", [600, 0, 400], 200),
        ("/api/v1/process", [600, 0, 401], 413),
        ("/api/v1/process", [1] * 1001, 413),
        ("/api/v1/process/", [1001], 200),  # another path, with the usual limit
        ("/api/v1/jobs", [64_000], 200),
        ("/api/v1/jobs", [64_001], 413),
        ("/health", [64_001], 413),  # open, and no door for large bodies
        ("/api/v1/jobs", [], 200),
    ],
)
def test_a_body_has_so_many_bytes_at_most(path: str, parts: list[int], status: int) -> None:
    answer = ask(guarded(limits={"/api/v1/process": 1000}), "POST", path, body=_parts(parts))
    assert answer.status_code == status
    assert answer.text == f"inside, {sum(parts)} bytes" if status == 200 else answer.json()["code"] == "INPUT_TOO_LARGE"


async def _parts(sizes: list[int]) -> AsyncIterator[bytes]:
    for size in sizes:
        yield bytes(size)


def test_what_is_too_large_is_not_taken_to_its_end() -> None:
    taken = 0

    async def large() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < 1000:
            taken += 1
            yield bytes(10_000)

    assert ask(guarded(), "POST", body=large()).status_code == 413
    assert taken == 7  # the first that is over 64,000


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    began = time.monotonic()
    start, *_ = tell(guarded(UPLOAD_SECONDS="0.2"), {"type": "http.request", "body": b"x", "more_body": True}, method="POST")
    assert start["status"] == 408 and (b"connection", b"close") in start["headers"] and 0.2 <= time.monotonic() - began < 10


def test_the_time_is_for_the_body_as_a_whole() -> None:
    """A part now and then does not prolong it."""

    async def drops() -> AsyncIterator[bytes]:
        for _ in range(100):
            await asyncio.sleep(0.05)
            yield b"x"

    began = time.monotonic()
    answer = ask(guarded(UPLOAD_SECONDS="0.3"), "POST", body=drops())
    assert answer.status_code == 408 and answer.json()["code"] == "TIMED_OUT" and time.monotonic() - began < 4.5


def test_an_answer_may_take_longer_than_the_body() -> None:
    """Who listens to a job's events waits for the caller's going, for hours; that is no body that is late."""
    gone: list[Message] = []

    async def listening(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(0.3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.3)
        gone.append({"type": "none"})
        await Response()(scope, receive, send)

    (start, _) = tell(guarded(listening, UPLOAD_SECONDS="0.1"), {"type": "http.request", "body": b""})
    assert start["status"] == 200 and gone


def test_who_goes_in_mid_upload_is_no_error() -> None:
    before = counted("errors_total", code="INTERNAL"), counted("http_requests_total", method="POST", route="none", status="499")
    arriving: list[Message] = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}]
    assert tell(guarded(), *arriving, method="POST") == []
    after = counted("errors_total", code="INTERNAL"), counted("http_requests_total", method="POST", route="none", status="499")
    assert after == (before[0], before[1] + 1)


# --- what is answered


def _answering(headers: dict[str, str]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("inside", headers=headers)(scope, receive, send)

    return app


SAFE = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


@pytest.mark.parametrize(
    ("guard", "request_headers", "expected"),
    [
        pytest.param(guarded(_answering({})), [], SAFE, id="an answer"),
        pytest.param(guarded(_answering({}), API_KEY=KEY), [], SAFE, id="a refusal"),
        pytest.param(guarded(_answering({}), ALLOWED_HOSTS="x"), [], SAFE, id="a refused name"),
        pytest.param(
            guarded(_answering({"Cache-Control": "max-age=60", "CONTENT-SECURITY-POLICY": "sandbox"})),
            [],
            SAFE | {"cache-control": "max-age=60", "content-security-policy": "sandbox"},
            id="a route's own go before",
        ),
    ],
)
def test_every_answer_is_safe_to_show(guard: Guard, request_headers: Given, expected: dict[str, str]) -> None:
    headers = ask(guard, headers=request_headers).headers
    assert {name: headers.get_list(name) for name in SAFE} == {name: [value] for name, value in expected.items()}


def _failing(fault: Exception, *, begun: bool = False) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise fault

    return app


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (RuntimeError(f"the key is {KEY}"), 500, "INTERNAL"),
        (KeyError(KEY), 500, "INTERNAL"),
        (Problem(PodCode.NOT_FOUND, "There is no such job."), 404, "NOT_FOUND"),
        (Problem(Code.INVALID_INPUT, "Nothing.", status=415), 415, "INVALID_INPUT"),
        (Problem(PodCode.UNAUTHORIZED, "No."), 401, "UNAUTHORIZED"),
    ],
)
def test_faults_become_problems(fault: Exception, status: int, code: str) -> None:
    """A bug's words, which may hold anything, stay in the log: the caller gets an id alone."""
    before = counted("errors_total", code=code)
    answer = ask(guarded(_failing(fault)))
    assert answer.status_code == answer.json()["status"] == status and answer.json()["code"] == code
    assert (
        answer.headers["content-type"] == "application/problem+json" and KEY not in answer.text and "Error" not in answer.json()["detail"]
    )
    assert counted("errors_total", code=code) == before + 1


def test_an_answer_that_has_begun_is_cut_off() -> None:
    """A second one after it would seem to be a part of the first."""
    fault = RuntimeError("in the middle")
    with pytest.raises(RuntimeError) as raised:
        tell(guarded(_failing(fault, begun=True)), {"type": "http.request", "body": b""})
    assert raised.value is fault


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_what_is_no_request_passes(kind: str) -> None:
    """The server's own start and end; the application has no websockets."""
    passed: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append((scope["type"], send))
        await send({"type": "done"})

    assert tell(guarded(app, API_KEY=KEY, ALLOWED_HOSTS="x"), type=kind) == [{"type": "done"}] and passed[0][0] == kind


class Route:
    """What the framework leaves in the scope of a request it has found a route for."""

    path = "/api/v1/jobs/{job_id}"


def _routed(status: int) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if "missing" not in scope["path"]:
            scope["route"], scope["path_params"] = Route(), {"job_id": "7"}
        await Response(status_code=status)(scope, receive, send)

    return app


@pytest.mark.parametrize(
    ("method", "path", "status", "level", "told"),
    [
        ("GET", "/api/v1/jobs/7?key=secret", 200, "debug", {"method": "GET", "route": Route.path, "status": 200, "job_id": "7"}),
        ("HEAD", "/api/v1/jobs/7", 404, "debug", {"method": "HEAD", "route": Route.path, "status": 404, "job_id": "7"}),
        ("GET", "/api/v1/jobs/7", 500, "info", {"method": "GET", "route": Route.path, "status": 500, "job_id": "7"}),
        ("POST", "/api/v1/jobs/7", 202, "info", {"method": "POST", "route": Route.path, "status": 202, "job_id": "7"}),
        ("DELETE", "/missing/secret", 404, "info", {"method": "DELETE", "route": "none", "status": 404, "job_id": None}),
        ("SECRET", "/missing/secret", 405, "info", {"method": "other", "route": "none", "status": 405, "job_id": None}),
        ("get", "/missing/secret", 405, "info", {"method": "other", "route": "none", "status": 405, "job_id": None}),
    ],
)
def test_a_request_is_counted_and_logged_by_its_route(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str, status: int, level: str, told: dict[str, object]
) -> None:
    """Never by what a caller may write into it: a path, a query, a method of its own."""
    log = CapturingLogger()
    monkeypatch.setattr(module, "log", log)
    labels = {"method": str(told["method"]), "route": str(told["route"]), "status": str(status)}
    before = counted("http_requests_total", **labels)
    nothing: Message = {"type": "http.request", "body": b""}
    plain, _, query = path.partition("?")
    tell(guarded(_routed(status)), nothing, method=method, path=plain, query_string=query.encode())
    (line,) = log.calls
    assert (line.method_name, line.args) == (level, ("request",))
    assert {name: value for name, value in line.kwargs.items() if name != "ms"} == told and line.kwargs["ms"] >= 0
    assert counted("http_requests_total", **labels) == before + 1
    assert "secret" not in json.dumps(line.kwargs).lower()


@pytest.mark.parametrize(
    ("settings", "headers", "code"),
    [
        ({"API_KEY": KEY}, [], "UNAUTHORIZED"),
        ({"ALLOWED_HOSTS": "x"}, [], "FORBIDDEN"),
        ({}, [("Origin", "null")], "FORBIDDEN"),
    ],
)
def test_a_refused_request_does_not_reach_the_application(settings: dict[str, str], headers: Given, code: str) -> None:
    """And is counted once, whether or not it has a body that nobody takes."""
    reached: list[Callable[[], object]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(receive)

    before = counted("errors_total", code=code)
    assert ask(guarded(app, **settings), "POST", headers=headers, body=bytes(1000)).json()["code"] == code
    assert not reached and counted("errors_total", code=code) == before + 1
