"""Signing in: the session's value by itself, the form, the cookie, and what the application answers to what a form may send."""

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from http.cookies import SimpleCookie

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp

from server import sign_in
from server.settings import read
from server.web import create

#: A key that a form has to write in another way: `pLaNt3d%20key%26x%3D%25%2B`.
KEY, WRITTEN = "pLaNt3d key&x=%+", "pLaNt3d%20key%26x%3D%25%2B"
NOW = 1_700_000_000
ENDS = 1_700_604_800  # a week after
#: By another hand: printf 'session until 1700604800' | openssl dgst -sha256 -hmac 'correct horse'
MAC = "80cefc9c55d273a833234c07e6047ab5cfabb34cfb4b855d6e62fdabbba145c1"
KEYS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40)


# --- the session's value


@pytest.mark.parametrize("now", [NOW, NOW + 0.001, NOW + 0.999])
def test_a_session_is_its_end_and_a_signature(now: float) -> None:
    """The same in every process and after a restart: with other ones all browsers would have to sign in again."""
    assert sign_in.cookie("correct horse", now) == f"{ENDS}.{MAC}"


@pytest.mark.parametrize(
    ("value", "now", "holds"),
    [
        pytest.param(f"{ENDS}.{MAC}", NOW, True, id="as it was made"),
        pytest.param(f"{ENDS}.{MAC}", ENDS - 0.001, True, id="to its last moment"),
        pytest.param(f"{ENDS}.{MAC}", ENDS, False, id="at its end"),
        pytest.param(f"{ENDS}.{MAC}", ENDS + 1e9, False, id="long after"),
        pytest.param(f"{ENDS}.{MAC}", 0, True, id="for a clock that was set back"),
        pytest.param(f"{ENDS + 1}.{MAC}", NOW, False, id="a second longer"),
        pytest.param(f"{ENDS}0.{MAC}", NOW, False, id="with one more digit"),
        pytest.param(f"0{ENDS}.{MAC}", NOW, False, id="the same number, written in another way"),
        pytest.param(f" {ENDS}.{MAC}", NOW, False, id="after a space"),
        pytest.param(f"{ENDS}.{MAC} ", NOW, False, id="before one"),
        pytest.param(f"{ENDS}.{MAC.upper()}", NOW, False, id="in capitals"),
        pytest.param(f"{ENDS}.{MAC[:-1]}", NOW, False, id="without the last digit"),
        pytest.param(f"{ENDS}.{MAC}0", NOW, False, id="with one too many"),
        pytest.param(f"{ENDS}.{'0' * 64}", NOW, False, id="signed by nobody"),
        pytest.param(f"{ENDS}.", NOW, False, id="not signed"),
        pytest.param(f"{ENDS}", NOW, False, id="without a point"),
        pytest.param(f"{ENDS}{MAC}", NOW, False, id="without the point between"),
        pytest.param(f"{ENDS}..{MAC}", NOW, False, id="with two points"),
        pytest.param(f"{ENDS}.{MAC}.{MAC}", NOW, False, id="signed twice"),
        pytest.param(f"{MAC}.{ENDS}", NOW, False, id="the wrong way round"),
        pytest.param(f".{MAC}", NOW, False, id="without an end"),
        pytest.param("", NOW, False, id="nothing"),
        pytest.param(".", NOW, False, id="a point"),
        pytest.param("٢٠٢٠.é\N{GRINNING FACE}", NOW, False, id="digits and letters of others"),
        pytest.param("9" * 10_000, NOW, False, id="endless digits"),
        # what somebody who has the key signs is no session either, unless it ends
        pytest.param(f"never.{sign_in._mac('correct horse', 'never')}", NOW, False, id="signed, without a number"),
        pytest.param(f".{sign_in._mac('correct horse', '')}", NOW, False, id="signed, without an end"),
        pytest.param(f"-1.{sign_in._mac('correct horse', '-1')}", NOW, False, id="signed, below zero"),
        pytest.param(f"{ENDS}.5.{sign_in._mac('correct horse', f'{ENDS}.5')}", NOW, False, id="signed, with a fraction"),
        pytest.param(f"²{ENDS}.{sign_in._mac('correct horse', f'²{ENDS}')}", NOW, False, id="signed, a digit that is no number"),
    ],
)
def test_a_session_holds_as_it_was_made_until_its_end(value: str, now: float, holds: bool) -> None:
    assert sign_in.is_session(value, "correct horse", now) is holds


@given(KEYS, KEYS, st.integers(0, 2**40), st.integers(-(10**6), 10**6) | st.integers(sign_in.HOLDS - 1, sign_in.HOLDS + 1))
def test_a_session_holds_for_a_week_and_for_its_key(key: str, other: str, now: int, later: int) -> None:
    value = sign_in.cookie(key, now)
    assert sign_in.is_session(value, key, now + later) is (later < sign_in.HOLDS)
    assert sign_in.is_session(value, other, now) is (key == other)


@given(KEYS, st.data())
def test_a_session_with_another_character_anywhere_is_none(key: str, data: st.DataObject) -> None:
    value = sign_in.cookie(key, NOW)
    place = data.draw(st.integers(0, len(value) - 1))
    other = data.draw(st.sampled_from("0123456789abcdef.A é").filter(lambda c: c != value[place]))
    assert not sign_in.is_session(value[:place] + other + value[place + 1 :], key, NOW)


@pytest.mark.parametrize(
    ("given_key", "key", "same"),
    [
        ("correct horse", "correct horse", True),
        ("correct hors", "correct horse", False),
        ("correct horse ", "correct horse", False),
        ("Correct horse", "correct horse", False),
        ("correct horsE", "correct horse", False),
        ("", "correct horse", False),
        ("сorrect horse", "correct horse", False),  # a Cyrillic с; text of others is no fault
        ("x" * 100_000, "correct horse", False),
        ("correct horse\0", "correct horse", False),
    ],
)
def test_a_key_is_itself_alone(given_key: str, key: str, same: bool) -> None:
    assert sign_in.is_key(given_key, key) is same


# --- the form


class Page(HTMLParser):
    """The tags of a page with their attributes, the style and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said += data


@pytest.mark.parametrize(
    "sentence", ["This server wants its API key.", "", "<script>alert(1)</script>", "a & b", "\"quoted\" 'too'", "é 😀"]
)
def test_the_form_says_a_sentence_and_nothing_of_it_is_markup(sentence: str) -> None:
    page = Page(bytes(sign_in.page(sentence).body).decode())
    assert sentence in page.said and [tag for tag, _ in page.tags] == [tag for tag, _ in Page(bytes(sign_in.page("").body).decode()).tags]


def test_the_form_loads_nothing_and_sends_to_this_server_alone() -> None:
    response = sign_in.page("Sign in.")
    text = bytes(response.body).decode()
    page, policy = Page(text), response.headers["content-security-policy"]
    assert not {"script", "link", "img", "iframe", "base", "object"} & {tag for tag, _ in page.tags}
    assert not [
        name for _, attributes in page.tags for name in attributes if name in ("src", "href", "style", "formaction") or name[:2] == "on"
    ]
    (form,) = (attributes for tag, attributes in page.tags if tag == "form")
    assert form == {"method": "post", "action": "/"}  # never a GET: the key would stand in the address
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )  # a browser shows the style only if the digest is its own
    (field,) = (attributes for tag, attributes in page.tags if tag == "input" and attributes["name"] == "key")
    assert field["type"] == "password" and "value" not in field and "required" in field
    assert [attributes["value"] for tag, attributes in page.tags if tag == "input" and attributes["name"] == "user"] == ["api-key"]


def test_the_form_is_a_refusal_that_nobody_keeps() -> None:
    response = sign_in.page("Sign in.")
    assert response.status_code == 401 and response.media_type == "text/html"
    told = {name: response.headers[name] for name in ("www-authenticate", "cache-control", "referrer-policy")}
    assert told == {"www-authenticate": "Bearer", "cache-control": "no-store", "referrer-policy": "same-origin"}
    assert "set-cookie" not in response.headers


# --- the cookie


@pytest.mark.parametrize("secure", [True, False])
def test_the_cookie_goes_to_this_server_alone_and_no_script_reads_it(monkeypatch: pytest.MonkeyPatch, secure: bool) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW + 0.5)
    response = sign_in.signed_in("correct horse", secure=secure)
    assert (response.status_code, response.headers["location"], response.headers["cache-control"]) == (303, "/", "no-store")
    (written,) = response.headers.getlist("set-cookie")
    (cookie,) = SimpleCookie(written).values()
    assert (cookie.key, cookie.value) == ("session", f"{ENDS}.{MAC}")
    told = {name: value for name, value in cookie.items() if value}
    assert told == {"httponly": True, "max-age": "604800", "path": "/", "samesite": "strict"} | ({"secure": True} if secure else {})
    assert "domain" not in written.lower()  # with one, the servers of all names below it would get it, too
    assert "correct horse" not in str(response.headers)


# --- the application


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ASGIApp]:
    yield create(read({"OUTPUT_DIR": str(tmp_path_factory.mktemp("signing")), "WORKERS": "0", "API_KEY": KEY}))


def send(app: ASGIApp, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b"") -> httpx.Response:
    async def answered() -> httpx.Response:
        answer = await httpx.ASGITransport(app).handle_async_request(httpx.Request(method, url, headers=headers, content=body))
        await answer.aread()
        return answer

    return asyncio.run(answered())


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        pytest.param("", f"user=api-key&key={WRITTEN}", 303, id="the form"),
        pytest.param("", f"key={WRITTEN.replace('%20', '+')}", 303, id="a space as a plus, as browsers write it"),
        pytest.param("", f"key={WRITTEN}&key=wrong", 303, id="twice: the first counts"),
        pytest.param("", f"key=wrong&key={WRITTEN}", 401, id="twice: the second does not"),
        pytest.param("", f"key=&key={WRITTEN}", 303, id="an empty one is none"),
        pytest.param("", f"key={WRITTEN}%20", 401, id="with a space behind"),
        pytest.param("", f"key={WRITTEN}%0A", 401, id="with a line's end"),
        pytest.param("", f"key={WRITTEN}%00", 401, id="with a NUL"),
        pytest.param("", f"key={WRITTEN}%FF", 401, id="with a byte that is no text"),
        pytest.param("", f"key={WRITTEN.upper()}", 401, id="in capitals"),
        pytest.param("", f"Key={WRITTEN}", 401, id="fields' names have case"),
        pytest.param("", f"key[]={WRITTEN}", 401, id="another field"),
        pytest.param("", "key=", 401, id="empty"),
        pytest.param("", "key", 401, id="without a value"),
        pytest.param("", "", 401, id="nothing"),
        pytest.param(f"?key={WRITTEN}", "", 401, id="in the address, which stands in histories"),
        pytest.param("", f'{{"key": "{KEY}"}}', 401, id="JSON"),
        pytest.param("", "key=%pLaNt3d<script>&\udcff", 401, id="no form at all"),
        pytest.param("", "key=" + "x" * 63_996, 401, id="as long as it may be"),
        pytest.param("", "key=" + "x" * 63_997, 413, id="too long"),
    ],
)
def test_who_signs_in(app: ASGIApp, query: str, body: str, status: int) -> None:
    """Who does not sees the form again, without a cookie, and never what was written into it."""
    answer = send(app, "POST", f"http://art.example/{query}", FORM, body.encode("utf-8", "surrogateescape"))
    assert answer.status_code == status and "pLaNt3d" not in answer.text + str(answer.headers)
    assert ("set-cookie" in answer.headers) is (status == 303)
    if status == 401:
        assert "not the server&#x27;s API key" in answer.text and Page(answer.text).tags
    if status == 303:
        session = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
        assert send(app, "GET", "http://art.example/api/v1/jobs", session).status_code == 200


@pytest.mark.parametrize(
    ("url", "forwarded", "secure"),
    [
        ("http://art.example/", None, False),
        ("http://art.example/", "http", False),
        ("http://art.example/", "", False),
        ("http://art.example/", "https", True),  # TLS ends at a proxy
        ("https://art.example/", None, True),
        ("https://art.example/", "http", True),
    ],
)
def test_over_https_the_cookie_never_goes_without_it(app: ASGIApp, url: str, forwarded: str | None, secure: bool) -> None:
    headers = FORM | ({} if forwarded is None else {"X-Forwarded-Proto": forwarded})
    answer = send(app, "POST", url, headers, f"key={WRITTEN}".encode())
    assert answer.status_code == 303 and ("; Secure" in answer.headers["set-cookie"]) is secure


def test_without_a_key_there_is_nothing_to_sign_in_to(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Back to the page; a cookie under no key would be one that anybody can make."""
    free = create(read({"OUTPUT_DIR": str(tmp_path_factory.mktemp("free")), "WORKERS": "0"}))
    answer = send(free, "POST", "http://art.example/", FORM, b"key=anything")
    assert (answer.status_code, answer.headers["location"]) == (303, "/") and "set-cookie" not in answer.headers


def test_a_new_key_ends_all_sessions(app: ASGIApp, tmp_path_factory: pytest.TempPathFactory) -> None:
    answer = send(app, "POST", "http://art.example/", FORM, f"key={WRITTEN}".encode())
    session = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    renewed = create(read({"OUTPUT_DIR": str(tmp_path_factory.mktemp("renewed")), "WORKERS": "0", "API_KEY": KEY + "2"}))
    assert [send(one, "GET", "http://art.example/docs", session).status_code for one in (app, renewed)] == [200, 401]
