"""The API of a running pod over HTTP: the guide's commands, every route, and what a caller does wrong."""

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from PIL import Image

from model_cache import embedded
from tests.conftest import NETWORKS
from tests.support.pictures import save
from tests.support.serving import JOB_SECONDS, QUICK, SLOW, Server, serving, until

GUIDE = "FF0000,00FF00,0000FF,FFFF00,FF00FF,00FFFF,000000,FFFFFF,808080,404040,C0C0C0,FFA500,800080,008080,FFB6C1"


def curl(folder: Path, command: str) -> bytes:
    return subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def done(server: Server, photo: bytes) -> str:
    """A job that is finished, with every file."""
    job_id = server.submit(photo, **QUICK, outputs=["svg", "png", "pdf", "report", "intermediates"], palette_hex_list=GUIDE)
    assert server.over(job_id)["status"] == "completed"
    return job_id


@pytest.fixture
def finding(tmp_path: Path) -> Iterator[Server]:
    """A server that finds vehicles by itself."""
    with serving(tmp_path / "out", **{embedded.VARIABLE: str(NETWORKS)}) as running:
        running.ready()
        yield running


@pytest.mark.networks
def test_the_guides_commands(finding: Server, photo: bytes, tmp_path: Path) -> None:
    """As the guide writes them but for host, port and file; the palette is without '#'."""
    server = finding
    (tmp_path / "test.jpg").write_bytes(photo)
    host = str(server.client.base_url)
    answer = json.loads(curl(tmp_path, f'curl -X POST {host}/api/v1/process -F "file=@test.jpg" -F "palette_hex_list={GUIDE}"'))
    assert set(answer) == {"job_id", "status"} and answer["status"] == "pending"
    job_id = answer["job_id"]

    def over() -> dict[str, object] | None:
        told = json.loads(curl(tmp_path, f"curl -s {host}/api/v1/jobs/{job_id}"))
        assert told["status"] in ("pending", "processing", "completed"), told
        return told if told["status"] == "completed" else None

    told = until(over, JOB_SECONDS, 0.5)
    # the first poll after the success has everything, and again: palette, paths, times, log
    again = json.loads(curl(tmp_path, f"curl -s {host}/api/v1/jobs/{job_id}"))
    assert told == again and told["job_id"] == told["result"]["job_id"] == job_id and told["error"] is None
    assert told["result"]["palette"] == [f"#{color}" for color in GUIDE.split(",")]
    assert (
        told["result"]["processing_time_ms"] > 0
        and Path(told["result"]["svg_path"]).is_file()
        and Path(told["result"]["png_path"]).is_file()
    )
    assert told["result"]["svg_path"] == str(server.folder / job_id / "illustration.svg")
    assert told["logs"] and {line["job_id"] for line in told["logs"]} == {job_id}
    assert next(line for line in told["logs"] if line["event"] == "job_summary")["status"] == "completed"
    curl(
        tmp_path, f"curl {host}/api/v1/jobs/{job_id}/output/svg -o output.svg && curl {host}/api/v1/jobs/{job_id}/output/png -o output.png"
    )
    assert (tmp_path / "output.svg").read_bytes() == Path(told["result"]["svg_path"]).read_bytes()
    assert (tmp_path / "output.png").read_bytes().startswith(b"\x89PNG")
    fills = set(re.findall(r'fill="(#\w+)"', (tmp_path / "output.svg").read_text()))
    assert fills <= {f"#{color}" for color in GUIDE.split(",")}
    assert "job_queue_size 0.0" in curl(tmp_path, f"curl -s {host}/metrics | grep job_queue_size").decode()


def test_two_palettes_give_two_drawings(server: Server, photo: bytes) -> None:
    """The caller's palette, not the default one, nor another job's, and not the first one's for all."""
    palettes = (["#102030", "#E0E0E0", "#808890"], ["#FF0000", "#00FF00"])
    for palette in palettes:
        told = server.over(server.submit(photo, **QUICK, palette_hex_list=palette, outputs=["svg"]))
        svg = server.client.get(f"/api/v1/jobs/{told['job_id']}/output/svg").text
        assert told["result"]["palette"] == palette and set(re.findall(r'fill="(#\w+)"', svg)) <= set(palette)


def test_every_file_is_served_with_its_type_and_no_scripts(server: Server, done: str, photo: bytes) -> None:
    beginnings = {
        "output/svg": (b"<?xml", "image/svg+xml"),
        "output/png": (b"\x89PNG", "image/png"),
        "output/pdf": (b"%PDF", "application/pdf"),
        "output/report": (b"<!doctype html>", "text/html; charset=utf-8"),
        "output/clean_plate": (b"\x89PNG", "image/png"),
        "output/labels": (b"\x89PNG", "image/png"),
        "input": (b"\xff\xd8\xff", "image/jpeg"),
    }
    for path, (beginning, media) in beginnings.items():
        answer = server.client.get(f"/api/v1/jobs/{done}/{path}")
        assert answer.status_code == 200 and answer.content.startswith(beginning) and answer.headers["content-type"] == media
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and ("script-src" in policy) == (path == "output/report")
        assert answer.headers["x-content-type-options"] == "nosniff" and done in unquote(answer.headers["content-disposition"])
    assert server.client.get(f"/api/v1/jobs/{done}/input").content == photo
    assert server.client.get(f"/api/v1/jobs/{done}/output/svg?download=1").headers["content-disposition"].startswith("attachment")
    assert server.client.get("/api/v1/sample").content.startswith(b"\xff\xd8\xff")


def test_progress_in_order_and_events_that_resume(server: Server, photo: bytes) -> None:
    job_id = server.submit(photo, **QUICK | {"size": 2048})
    events = read_events(server, job_id, None)
    kinds = [kind for kind, _, _ in events]
    assert kinds[-1] == "end" and events[-1][2] == {"job_id": job_id, "status": "completed", "error": None}
    progress = [data for kind, _, data in events if kind == "progress"]
    percents, phases = [p["percent"] for p in progress], list(dict.fromkeys(p["phase"] for p in progress))
    assert percents == sorted(percents) and percents[-1] == 100
    assert phases == ["fetch", "vehicle", "sanitize", "illustrate", "enforce", "vectorize", "deliver"]
    numbers = [int(number) for _, number, _ in events]
    assert numbers == sorted(numbers)
    told = server.job(job_id)
    assert [data for kind, _, data in events if kind == "log"] == told["logs"]  # polling gives the same
    assert told["progress"] == progress[-1] and told["last_event_id"] == events[-1][1]
    middle = len(events) // 2
    assert read_events(server, job_id, events[middle][1]) == events[middle + 1 :]
    assert server.client.get(f"/api/v1/jobs/{job_id}/events", headers={"Last-Event-ID": events[-1][1]}).status_code == 204
    wrong = server.client.get(f"/api/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "x"})
    assert wrong.status_code == 422 and wrong.json()["code"] == "INVALID_INPUT"


def read_events(server: Server, job_id: str, last: str | None) -> list[tuple[str, str, dict[str, object]]]:
    headers = {} if last is None else {"Last-Event-ID": last}
    with server.client.stream("GET", f"/api/v1/jobs/{job_id}/events", headers=headers, timeout=JOB_SECONDS) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        blocks = answer.read().decode().replace("\r\n", "\n").split("\n\n")
    found = []
    for block in blocks:
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((fields["event"], fields["id"], json.loads(fields["data"])))
    return found


def test_a_running_job_is_cancelled_and_stays_so(server: Server, photo: bytes) -> None:
    sample = server.client.get("/api/v1/sample").content
    job_id = server.submit(sample, **SLOW)
    behind = server.submit(photo, **QUICK)
    server.working(job_id)
    answer = server.client.post(f"/api/v1/jobs/{job_id}/cancel")
    assert answer.status_code == 202 and answer.json() == {"job_id": job_id, "status": "processing", "cancel_requested": True}
    told = server.over(job_id)
    assert told["status"] == "cancelled" and told["error"] == "CANCELLED: The job was cancelled." and told["result"] is None
    assert sorted(path.name for path in (server.folder / job_id).iterdir()) == ["input"]  # nothing was made of it
    assert server.client.get(f"/api/v1/jobs/{job_id}/output/svg").status_code == 404
    assert server.over(behind)["status"] == "completed"  # the same engine goes on
    assert server.job(job_id)["status"] == "cancelled"
    assert server.client.post(f"/api/v1/jobs/{job_id}/cancel").json()["status"] == "cancelled"
    refused = server.client.post(f"/api/v1/jobs/{behind}/cancel")
    assert refused.status_code == 409 and refused.json()["code"] == "CONFLICT" and refused.json()["job_id"] == behind


def test_what_is_no_picture_fails_and_serves_nothing(server: Server, photo: bytes) -> None:
    job_id = server.submit(photo[: len(photo) // 2], **QUICK)  # its first bytes are a JPEG's
    told = server.over(job_id)
    assert told["status"] == "failed" and told["error"].startswith("UNSUPPORTED_IMAGE: ")
    answer = server.client.get(f"/api/v1/jobs/{job_id}/output/svg")
    assert answer.status_code == 404 and answer.json()["job_id"] == job_id
    assert server.metric('errors_total{code="UNSUPPORTED_IMAGE"}') >= 1 and server.metric('jobs_total{status="failed"}') >= 1


def test_palette_of_a_picture(server: Server, photo: bytes) -> None:
    answer = server.client.post("/api/v1/palette", files={"file": ("car.jpg", photo)}, data={"colors": "5"})
    colors = answer.json()["palette"]
    assert answer.status_code == 200 and 2 <= len(colors) == len(set(colors)) <= 5
    assert all(re.fullmatch("#[0-9A-F]{6}", color) for color in colors)
    bad = server.client.post("/api/v1/palette", files={"file": ("car.jpg", b"nothing")})
    assert bad.status_code == 415 and bad.json()["code"] == "UNSUPPORTED_IMAGE"
    assert server.client.post("/api/v1/palette", files={"file": ("car.jpg", photo)}, data={"colors": "1"}).status_code == 422


def test_metrics_of_what_happened(server: Server, done: str) -> None:
    text = server.client.get("/metrics").text
    assert server.metric('jobs_total{status="completed"}') >= 1
    for name, kind in METRICS.items():
        assert f"# TYPE {name} {kind}\n" in text, name
    for line in (
        'job_duration_seconds_count{status="completed"}',
        'phase_duration_seconds_count{phase="vectorize"}',
        "job_wait_seconds_count",
        'http_requests_total{method="POST",route="/api/v1/process",status="202"}',
        'http_request_duration_seconds_count{method="GET",route="/api/v1/jobs/{job_id}"}',
        "stored_bytes",
        'engine_up{slot="0"}',
    ):
        assert server.metric(line) > 0, line
    assert server.metric("job_queue_size") == 0 and server.metric("oldest_pending_seconds") == 0


METRICS = {
    "job_queue_size": "gauge",
    "jobs_processing": "gauge",
    "jobs_total": "counter",
    "errors_total": "counter",
    "job_duration_seconds": "histogram",
    "phase_duration_seconds": "histogram",
    "job_wait_seconds": "histogram",
    "http_requests_total": "counter",
    "http_request_duration_seconds": "histogram",
    "peak_vram_bytes": "gauge",
    "engine_up": "gauge",
    "oldest_pending_seconds": "gauge",
    "stored_bytes": "gauge",
}


def test_the_list_is_paged_newest_first(server: Server, done: str) -> None:
    pages, before = [], ""
    while before is not None:
        answer = server.client.get("/api/v1/jobs", params={"limit": 2, **({"before": before} if before else {})}).json()
        pages.append(answer["jobs"])
        before = answer["next"]
    ids = [job["job_id"] for page in pages for job in page]
    assert len(ids) == len(set(ids)) and done in ids and all(len(page) == 2 for page in pages[:-1])
    created = [job["created_at"] for page in pages for job in page]
    assert created == sorted(created, reverse=True)
    for wrong in ("limit=0", "limit=x", "before=x"):
        answer = server.client.get(f"/api/v1/jobs?{wrong}")
        assert answer.status_code == 422 and answer.json()["code"] == "INVALID_INPUT"


def test_a_deleted_job_leaves_nothing(server: Server, photo: bytes) -> None:
    job_id = server.submit(photo, **QUICK, outputs=["svg"])
    server.over(job_id)
    assert (server.folder / job_id / "illustration.svg").is_file()
    assert server.client.delete(f"/api/v1/jobs/{job_id}").status_code == 204
    assert not (server.folder / job_id).exists()
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/output/svg"), ("GET", "/input"), ("GET", "/events")):
        answer = server.client.request(method, f"/api/v1/jobs/{job_id}{path}")
        assert answer.status_code == 404 and answer.json()["code"] == "NOT_FOUND"


def test_ready_health_docs_and_description(server: Server, done: str) -> None:
    ready = server.client.get("/ready").json()
    assert ready["status"] == "ready" and ready["engine"] == "classical"
    assert server.client.get("/health").json() == {"status": "ok"}
    page = server.client.get("/docs")
    assert (
        page.status_code == 200
        and "//" not in page.text.replace("<!doctype", "")
        and "unsafe-eval" not in page.headers["content-security-policy"]
    )
    for path in re.findall(r'(?:src|href)="(/docs/[^"]+)"', page.text):
        assert server.client.get(path).status_code == 200
    schema = server.client.get("/openapi.json").json()
    of_job = ("", "/events", "/cancel", "/output/{kind}", "/input")
    wanted = {
        *(f"/api/v1/jobs/{{job_id}}{path}" for path in of_job),
        *(f"/api/v1/{path}" for path in ("process", "palette", "jobs", "sample")),
        *(f"/api/v1/training{path}" for path in ("", "/pairs", "/stop", "/install", "/style", "/report", "/pictures/{name}")),
    }
    wanted |= {"/health", "/ready", "/metrics"}
    assert set(schema["paths"]) == wanted
    for path, methods in schema["paths"].items():
        for method, told in methods.items():
            assert told["summary"] and all(
                "problem+json" in str(told["responses"][code]) for code in told["responses"] if code[0] in "45"
            ), (path, method)
    keys = schema["paths"]["/api/v1/process"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"file", "options", "palette_hex_list", "vehicle_box", "stroke"} <= set(keys)


@pytest.mark.parametrize(
    ("fields", "code", "word"),
    [
        ({"palette_hex_list": "FF0000"}, "INVALID_PALETTE", "2 to 64"),
        ({"palette_hex_list": "FF0000,nonsense"}, "INVALID_PALETTE", "nonsense"),
        ({"palette_hex_list": ","}, "INVALID_PALETTE", "2 to 64"),
        ({"remove": "," * 100_000}, "INVALID_INPUT", "remove"),
        ({"matte": "matte.png"}, "INVALID_INPUT", "-F matte=@"),
        ({"seed": "abc"}, "INVALID_INPUT", "seed"),
        ({"seed": "-1"}, "INVALID_INPUT", "seed"),
        ({"vehicle_box": "0.1,0.2,0.3"}, "INVALID_INPUT", "vehicle_box"),
        ({"vehicle_box": "a,b,c,d"}, "INVALID_INPUT", "vehicle_box"),
        ({"allow_low_iou": "perhaps"}, "INVALID_INPUT", "allow_low_iou"),
        ({"stroke": "{"}, "INVALID_INPUT", "stroke"),
        ({"stroke": '{"widht": 2}'}, "INVALID_INPUT", "width"),
        ({"palete_hex_list": "FF0000,00FF00"}, "INVALID_INPUT", "palette_hex_list"),
        ({"options": "[]"}, "INVALID_INPUT", "options"),
        ({"options": '{"seed": 1}', "seed": "1"}, "INVALID_INPUT", "seed"),
        ({"outputs": "svg,gif"}, "INVALID_INPUT", "outputs"),
        ({"delivery": "inline"}, "INVALID_INPUT", "delivery"),
        ({"image_url": "https://example.com/car.jpg"}, "INVALID_INPUT", "exactly one"),
        ({"s3Config": "{}"}, "INVALID_INPUT", "s3Config"),
        ({"delivery": "s3"}, "INVALID_INPUT", "BUCKET_NAME"),
        ({"output_prefix": "../other"}, "INVALID_INPUT", "output_prefix"),
        ({"seed": "1_0"}, "INVALID_INPUT", "seed"),
        ({"detail": "٠.٠١"}, "INVALID_INPUT", "detail"),
    ],
)
def test_wrong_fields_are_named(server: Server, photo: bytes, fields: dict[str, str], code: str, word: str) -> None:
    answer = server.client.post("/api/v1/process", files={"file": ("car.jpg", photo)}, data=fields)
    problem = answer.json()
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == code and word in problem["detail"] and problem["status"] == 422 and problem["title"]


def test_wrong_requests(server: Server, photo: bytes) -> None:
    def refused(status: int, code: str, answer: httpx.Response) -> str:
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        return str(answer.json()["detail"])

    post = server.client.post
    before = len(list(server.folder.iterdir()))
    assert "no picture" in refused(422, "INVALID_INPUT", post("/api/v1/process", data={"seed": "1"}))
    refused(415, "UNSUPPORTED_IMAGE", post("/api/v1/process", files={"file": ("car.jpg", b"")}))
    refused(415, "UNSUPPORTED_IMAGE", post("/api/v1/process", files={"file": ("car.jpg", b"GIF89a....")}))
    refused(422, "INVALID_INPUT", post("/api/v1/process", files={"image": ("car.jpg", photo)}))
    refused(422, "INVALID_INPUT", post("/api/v1/process", data={"file": "car.jpg"}))
    refused(415, "INVALID_INPUT", post("/api/v1/process", json={"image_url": "https://example.com/car.jpg"}))
    broken = {"content-type": "multipart/form-data; boundary=x"}
    refused(400, "INVALID_INPUT", post("/api/v1/process", content=b"--x\r\nno header\r\n", headers=broken))
    refused(400, "INVALID_INPUT", post("/api/v1/process", files=[("file", ("a", photo)), ("file", ("b", photo))]))
    for matte in (b"", b"GIF89a....", b"nothing"):
        sent = {"file": ("car.jpg", photo), "matte": ("m.png", matte)}
        assert "The matte" in refused(415, "UNSUPPORTED_IMAGE", post("/api/v1/process", files=sent))
    both = {"file": ("car.jpg", photo), "matte": ("m.png", photo)}
    assert "matte_url" in refused(
        422, "INVALID_INPUT", post("/api/v1/process", files=both, data={"matte_url": "https://example.com/m.png"})
    )
    refused(422, "INVALID_INPUT", post("/api/v1/process", files={"matte": ("m.png", photo)}))
    refused(404, "NOT_FOUND", server.client.get("/api/v1/nothing"))
    assert "GET" in server.client.put("/health").headers["allow"]
    refused(405, "METHOD_NOT_ALLOWED", server.client.put("/health"))
    refused(404, "NOT_FOUND", server.client.get("/api/v1/jobs/%2e%2e%2f%2e%2e"))
    refused(422, "INVALID_INPUT", post("/api/v1/process", files={"file": ("a", photo)}, headers={"Idempotency-Key": "a b"}))
    assert len(list(server.folder.iterdir())) == before and not list((server.folder / ".server" / "incoming").iterdir())


def test_head_is_get_without_the_body(server: Server, done: str) -> None:
    """But of events, which would be made for nobody."""
    for path in ("/health", "/ready", "/metrics", "/", "/api/v1/jobs", f"/api/v1/jobs/{done}", f"/api/v1/jobs/{done}/output/svg"):
        head, whole = server.client.head(path), server.client.get(path)
        assert (head.status_code, head.headers["content-type"], head.content) == (200, whole.headers["content-type"], b""), path
    assert head.headers["content-length"] == str(len(whole.content))
    assert server.client.head("/api/v1/jobs/none").status_code == 404
    assert server.client.head("/api/v1/process").status_code == 405
    assert server.client.head(f"/api/v1/jobs/{done}/events").status_code == 405
    counted = server.client.get("/metrics").text
    assert 'method="HEAD",route="/api/v1/jobs/{job_id}",status="404"' in counted


def test_form_fields_base64_and_a_matte(server: Server, photo: bytes) -> None:
    """Each key as a field of its own, the picture as base64 in options; the same job each time."""
    fields = {"size": "1024", "vehicle_box": "0.1,0.1,0.9,0.9", "remove": "", "outputs": "svg", "stroke": '{"mode": "none"}'}
    by_fields = server.client.post("/api/v1/process", files={"file": ("car.jpg", photo)}, data=fields).json()["job_id"]
    text = base64.b64encode(photo).decode()
    options = QUICK | {"outputs": ["svg"], "stroke": {"mode": "none"}, "image_base64": text}
    by_options = server.client.post("/api/v1/process", data={"options": json.dumps(options)}).json()["job_id"]
    drawings = [Path(server.over(job_id)["result"]["svg_path"]).read_bytes() for job_id in (by_fields, by_options)]
    assert drawings[0] == drawings[1] and b"<path" in drawings[0]
    assert server.client.get(f"/api/v1/jobs/{by_options}/input").content == photo
    settings = server.job(by_options)["settings"]
    assert settings["stroke"] == {"mode": "none"} and "image_base64" not in settings


def test_an_address_that_cannot_be_fetched_fails_the_job(server: Server) -> None:
    answer = server.client.post("/api/v1/process", data={"image_url": "http://127.0.0.1:9/car.jpg?secret=1"})
    told = server.over(answer.json()["job_id"])
    assert told["status"] == "failed" and told["error"].startswith("INPUT_FORBIDDEN: ")
    assert "secret" not in json.dumps(told) and server.client.get(f"/api/v1/jobs/{told['job_id']}/input").status_code == 404


def test_a_matte_as_a_file(server: Server, photo: bytes, tmp_path: Path) -> None:
    """As curl sends it, beside what a browser sends for fields that nobody has filled in; the same job as with the matte in base64."""
    matte = Image.new("L", (320, 213))
    matte.paste(255, (100, 60, 240, 160))
    (tmp_path / "car.jpg").write_bytes(photo)
    (tmp_path / "m.png").write_bytes(save(matte, "PNG"))
    host = str(server.client.base_url)
    fields = ["file=@car.jpg", "matte=@m.png", "size=1024", "remove=", "outputs=svg,", f"palette_hex_list={GUIDE},"]
    fields += ["seed=", "prompt=", "options="]
    by_file = json.loads(curl(tmp_path, f"curl -s {host}/api/v1/process -F {' -F '.join(fields)}"))["job_id"]
    text = base64.b64encode(save(matte, "PNG")).decode()
    keys = {"size": 1024, "remove": [], "outputs": ["svg"], "palette_hex_list": GUIDE.split(","), "matte_base64": text}
    results = [server.over(job_id)["result"] for job_id in (by_file, server.submit(photo, **keys))]
    assert results[0]["vehicle_box"] == results[1]["vehicle_box"] == pytest.approx([100 / 320, 60 / 213, 240 / 320, 160 / 213], abs=0.005)
    assert Path(results[0]["svg_path"]).read_bytes() == Path(results[1]["svg_path"]).read_bytes()
    assert results[0]["palette"] == [f"#{color}" for color in GUIDE.split(",")]
    unchosen, unfilled = {"file": ("car.jpg", photo), "matte": ("", b"")}, {"stroke": "", "vehicle_box": "", "matte_base64": ""}
    assert server.client.post("/api/v1/process", files=unchosen, data=unfilled).status_code == 202
