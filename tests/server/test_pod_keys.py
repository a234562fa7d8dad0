"""Who may ask: the API key on every route, the browser's session, pages of other sites; and nothing secret in any log."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from server.settings import read
from server.web import create
from tests.support.serving import QUICK, Server, serving

KEY = "pLaNt3d-correct-horse"
COOKIE = re.compile(r"session=([^;]+); HttpOnly; Max-Age=604800; Path=/; SameSite=strict")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("locked"), WORKERS="0", API_KEY=KEY, LOG_LEVEL="debug") as running:
        yield running


def all_routes(server: Server) -> list[tuple[str, str]]:
    """Every method and path of the application itself, so that none is forgotten."""
    app = create(read({"OUTPUT_DIR": str(server.folder / "other")}))
    found = []
    for route in app.routes:
        path = route.path.replace("{job_id}", "0" * 32).replace("{kind}", "svg")
        found += [(method, path) for method in sorted(getattr(route, "methods", None) or {"GET"})]
    return found


def test_every_route_wants_the_key(locked: Server) -> None:
    routes = all_routes(locked)
    assert len(routes) > 20 and ("GET", "/metrics") in routes and ("GET", "/openapi.json") in routes
    for method, path in [*routes, ("GET", "/page/page.js"), ("GET", "/nothing"), ("GET", "/viewer/viewer.js"), ("GET", "/docs/start.js")]:
        for headers in (
            {},
            {"X-API-Key": "wrong"},
            {"Authorization": f"Basic {KEY}"},
            {"Authorization": "Bearer"},
            {"Cookie": "session=1.x"},
        ):
            answer = locked.client.request(method, path, headers=headers)
            if path in ("/health", "/ready"):
                assert answer.status_code in (200, 405, 503) and answer.status_code != 401
            elif (method, path) == ("POST", "/") or (method, path) == ("GET", "/"):
                assert answer.status_code == 401 and "<form" in answer.text
            else:
                assert answer.status_code == 401, (method, path, answer.status_code)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert method == "HEAD" or answer.json()["code"] == "UNAUTHORIZED"
    for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"Authorization": f"bearer {KEY}"}):
        assert locked.client.get("/api/v1/jobs", headers=headers).status_code == 200
    assert locked.client.get("/api/v1/jobs", headers={"X-API-Key": f"{KEY}é".encode("latin-1")}).status_code == 401


def signed_in(server: Server) -> str:
    answer = server.client.post("/", data={"user": "api-key", "key": KEY})
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    found = COOKIE.fullmatch(answer.headers["set-cookie"])
    assert found and KEY not in answer.headers["set-cookie"]
    return found[1]


def test_a_browser_signs_in(locked: Server, photo: bytes) -> None:
    form = locked.client.get("/")
    assert form.status_code == 401 and "<script" not in form.text and "form-action 'self'" in form.headers["content-security-policy"]
    assert locked.client.post("/", data={"key": "wrong"}).status_code == 401
    session = {"Cookie": f"session={signed_in(locked)}"}
    fresh = httpx.Client(base_url=locked.client.base_url)  # one without a memory for cookies
    for path in ("/", "/page/page.js", "/docs", "/metrics", "/api/v1/jobs"):
        assert fresh.get(path, headers=session).status_code == 200, path
    forged = session["Cookie"][:-1] + ("0" if session["Cookie"][-1] != "0" else "1")  # in other ways: test_sign_in
    assert fresh.get("/api/v1/jobs", headers={"Cookie": forged}).status_code == 401
    secure = fresh.post("/", data={"key": KEY}, headers={"X-Forwarded-Proto": "https"}).headers["set-cookie"]
    assert secure.endswith("; Secure")


def test_pages_of_other_sites_change_nothing(locked: Server, photo: bytes) -> None:
    session, own = {"Cookie": f"session={signed_in(locked)}"}, str(locked.client.base_url).rstrip("/")
    fresh = httpx.Client(base_url=locked.client.base_url)

    def send(**headers: str) -> int:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        files = {"file": ("car.jpg", photo)}
        return fresh.post("/api/v1/process", files=files, data={"options": json.dumps(QUICK)}, headers=session | names).status_code

    assert send() == 403  # a browser always says where a change comes from
    assert send(Origin=own) == 202 and send(Sec_Fetch_Site="same-origin", Origin=own) == 202
    assert send(Origin="https://evil.example") == 403 and send(Origin="null") == 403
    assert send(Sec_Fetch_Site="cross-site") == 403 and send(Sec_Fetch_Site="same-site", Origin=own) == 403
    assert send(Sec_Fetch_Site="cross-site", X_API_Key=KEY) == 202  # who has the key needs no browser's word


def test_without_a_key_other_sites_change_nothing_either(intake_only: Server, photo: bytes) -> None:
    def send(**headers: str) -> int:
        return intake_only.client.post("/api/v1/process", files={"file": ("car.jpg", photo)}, headers=headers).status_code

    assert send() == 202 and send(Origin=str(intake_only.client.base_url).rstrip("/")) == 202
    assert send(Origin="https://evil.example") == 403
    assert intake_only.client.post("/").status_code == 303


def test_nothing_secret_is_logged_or_kept(locked: Server, photo: bytes) -> None:
    """At the level debug: neither the key nor a signed address stands in a log or an answer."""
    address = "https://example.com/car.jpg?X-Amz-Signature=pLaNt3dSignature"
    key = {"X-API-Key": KEY}
    answer = locked.client.post("/api/v1/process", data={"image_url": address, "matte_url": address}, headers=key)
    assert answer.status_code == 202, answer.text
    told = locked.client.get(f"/api/v1/jobs/{answer.json()['job_id']}", headers=key).text
    locked.client.get("/api/v1/jobs?token=pLaNt3dToken", headers=key)
    locked.client.get("/pLaNt3dPath", headers=key)
    locked.client.post("/", data={"key": KEY})
    printed = locked.log.read_text()
    assert '"event": "request"' in printed and "pLaNt3d" not in printed + told + locked.client.get("/metrics", headers=key).text
