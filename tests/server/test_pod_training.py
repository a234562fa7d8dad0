"""Training a style by the pod: a real server and its trainer process; in place of the builder a program that tells the same lines."""

import io
import json
import os
import signal
import stat
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.errors import Code, JobError
from server import training
from server.training import Asked, Told, heard
from server.unpack import Limits, unpack
from tests.support.serving import QUICK, Server, serving, until
from tests.support.stand_in_builder import PNG

COMMAND = [sys.executable, "-m", "tests.support.stand_in_trainer", "--port", "{port}"]
#: For busy machines: the real builder's start alone can take a minute there.
SECONDS = 300


def a_zip(count: int = 5, names: dict[str, bytes] | None = None, *, beneath: str = "") -> bytes:
    """Pairs as a zip, or files as given."""
    pairs = {f"photos/car{k}.png": PNG for k in range(count)} | {f"drawings/car{k}.svg": b"<svg/>" for k in range(count)}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (pairs if names is None else names).items():
            archive.writestr(beneath + name, content)
    return out.getvalue()


def told(server: Server) -> dict[str, Any]:
    answer = server.client.get("/api/v1/training")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def send(server: Server, content: bytes) -> httpx.Response:
    return server.client.post("/api/v1/training/pairs", files={"file": ("pairs.zip", content)})


def start(server: Server, name: str, **options: Any) -> httpx.Response:
    return server.client.post("/api/v1/training", json={"name": name, "epochs": 3, **options})


def reached(server: Server, *statuses: str) -> dict[str, Any]:
    return dict(until(lambda: (now := told(server))["status"] in statuses and now, SECONDS))


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("volume")


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory, volume: Path) -> Iterator[Server]:
    """A server without engines, to which pairs were sent."""
    folder = tmp_path_factory.mktemp("training")
    with serving(folder, command=COMMAND, WORKERS="0", MODEL_VOLUME_PATH=str(volume), KILL_GRACE_SECONDS="1") as running:
        assert send(running, a_zip()).status_code == 200
        yield running


def work(volume: Path, name: str) -> Path:
    return volume / ".builder" / "training" / name


def test_train_download_install(pod: Server, volume: Path) -> None:
    answer = start(pod, "quick", trigger="--anew", rank=8, mirror=False)
    assert answer.status_code == 202 and answer.json()["status"] in ("waiting", "running")
    done = reached(pod, "completed", "failed")
    assert (done["status"], done["error"], done["trained"], done["installed"]) == ("completed", None, True, False)
    assert (done["part"], done["done"], done["of"]) == ("step", 12, 12)
    assert [(one["epoch"], one["judged"]) for one in done["epochs"]] == [(1, 0.6), (2, 0.3), (3, pytest.approx(0.2))]
    assert [one["epoch"] for one in done["pictures"]] == [0, 1, 2, 3]
    assert done["pairs"] == {"png": 5, "svg": 5}
    assert any('"event": "done"' in line for line in done["logs"])
    arguments = json.loads((work(volume, "quick") / "arguments.json").read_text())
    assert arguments[0] == "train-style" and arguments[2:5] == [f"--volume={volume}", "--json", "--no-install"]
    assert sorted(arguments[5:]) == ["--epochs=3", "--name=quick", "--no-mirror", "--rank=8", "--trigger=--anew"]

    style = pod.client.get("/api/v1/training/style")
    assert (style.status_code, style.content) == (200, b"a style")
    assert style.headers["content-disposition"] == 'attachment; filename="quick.safetensors"'
    report = pod.client.get("/api/v1/training/report")
    assert "Epoch 3" in report.text and report.headers["content-security-policy"].startswith("sandbox")
    picture = pod.client.get(f"/api/v1/training/pictures/{done['pictures'][0]['name']}")
    assert (picture.content, picture.headers["content-type"]) == (PNG, "image/png")
    for name in ("../arguments.json", "..%2farguments.json", "0123456789ab-009.png", "arguments.json"):
        assert pod.client.get(f"/api/v1/training/pictures/{name}").status_code == 404

    assert not (volume / "styles").exists()
    assert pod.client.post("/api/v1/training/install").status_code == 202
    assert reached(pod, "completed", "failed")["installed"]
    assert (volume / "styles" / "quick.safetensors").read_bytes() == b"a style"


def test_one_at_a_time_and_stopped(pod: Server, volume: Path) -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(start(pod, "slow").status_code)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [202] + 7 * [409]
    until(lambda: told(pod)["epochs"][-1:] and told(pod)["epochs"][-1]["epoch"] == 2, SECONDS)
    for refused in (start(pod, "quick"), send(pod, a_zip()), pod.client.post("/api/v1/training/install")):
        assert (refused.status_code, refused.json()["code"]) == (409, "CONFLICT")
        assert "under way" in refused.json()["detail"]
    pids = [int((work(volume, "slow") / name).read_text()) for name in ("pid", "child")]
    assert pod.client.get("/ready").json()["detail"] == training.SENTENCE
    assert pod.client.post("/api/v1/training/stop").status_code == 202
    stopped = reached(pod, "stopped", "failed")
    assert (stopped["status"], stopped["error"], stopped["trained"]) == ("stopped", None, False)
    until(lambda: all(gone(pid) for pid in pids))
    assert pod.client.post("/api/v1/training/stop").status_code == 409
    assert pod.client.post("/api/v1/training/install").status_code == 409
    assert pod.client.get("/api/v1/training/style").status_code == 404


def test_one_that_does_not_end_is_killed(pod: Server, volume: Path) -> None:
    start(pod, "deaf")
    until(lambda: told(pod)["epochs"][-1:] and told(pod)["epochs"][-1]["epoch"] == 2, SECONDS)
    assert pod.client.post("/api/v1/training/stop").json()["stopping"]
    assert reached(pod, "stopped", "failed")["status"] == "stopped"
    until(lambda: all(gone(int((work(volume, "deaf") / name).read_text())) for name in ("pid", "child")))


def test_the_log_is_bounded(pod: Server) -> None:
    start(pod, "noisy", epochs=1)
    done = reached(pod, "completed", "failed")
    assert done["status"] == "completed"
    assert len(done["logs"]) <= training.TAIL and max(map(len, done["logs"])) <= 2000
    logs = list((pod.folder / ".server" / "training").glob("training.log*"))
    assert len(logs) == 2 and sum(path.stat().st_size for path in logs) < 2_100_000


def test_what_fails_says_why(pod: Server) -> None:
    start(pod, "broken")
    failed = reached(pod, "completed", "failed")
    assert (failed["status"], failed["error"]) == ("failed", "The builder ended with status 1: RuntimeError: a bug")
    assert send(pod, a_zip(2)).json()["pairs"] == {"png": 2, "svg": 2}
    start(pod, "quick")
    failed = reached(pod, "completed", "failed")
    assert failed["problems"] == ["2 whole pairs: at least 5 are needed"]
    assert failed["error"].endswith("cannot be trained with as it is; nothing was loaded.")
    assert send(pod, a_zip(beneath="my pairs/")).json()["pairs"] == {"png": 5, "svg": 5}


@pytest.mark.parametrize(
    "options",
    [
        {"name": "../x"},
        {"name": ""},
        {"name": "-x"},
        {"epochs": 0},
        {"rank": "many"},
        {"rank": "8"},
        {"epochs": True},
        {"anew": 1},
        {"config": "/etc/passwd"},
        {"rate": float("inf")},
    ],
    ids=str,
)
def test_options_are_checked(pod: Server, options: dict[str, Any]) -> None:
    content = json.dumps({"name": "quick", "epochs": 1} | options)
    answer = pod.client.post("/api/v1/training", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT")


def test_other_sites_may_not(pod: Server) -> None:
    for path in ("", "/pairs", "/stop", "/install"):
        answer = pod.client.post(f"/api/v1/training{path}", headers={"Sec-Fetch-Site": "cross-site"})
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


def test_a_server_without_a_volume_says_so(intake: Server) -> None:
    (sentence,) = told(intake)["lacking"]
    assert "MODEL_VOLUME_PATH" in sentence
    assert send(intake, a_zip()).status_code == 200
    answer = start(intake, "quick")
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert sentence in answer.json()["detail"]


def test_an_interrupted_one_goes_on(tmp_path: Path) -> None:
    """Killed with its web process it is known as interrupted, and the same request takes it up."""
    volume, settings = tmp_path / "volume", {"WORKERS": "0", "MODEL_VOLUME_PATH": str(tmp_path / "volume")}
    volume.mkdir()
    with serving(tmp_path / "out", command=COMMAND, **settings) as server:
        send(server, a_zip())
        start(server, "slow")
        until(lambda: told(server)["epochs"][-1:] and told(server)["epochs"][-1]["epoch"] == 2, SECONDS)
        server.kill()
    until(lambda: all(gone(int((work(volume, "slow") / name).read_text())) for name in ("pid", "child")))
    with serving(tmp_path / "out", command=COMMAND, **settings) as server:
        now = reached(server, "interrupted")
        assert "goes on" in now["error"] and now["asked"]["name"] == "slow"
        (work(volume, "slow") / "step").write_text("3")
        assert server.client.post("/api/v1/training", json=now["asked"]).status_code == 202
        done = reached(server, "completed", "failed")
        assert done["status"] == "completed" and [one["epoch"] for one in done["epochs"]] == [1, 2, 3]
        start(server, "deaf", anew=True)
        until(lambda: told(server)["epochs"][-1:] and told(server)["epochs"][-1]["epoch"] == 2, SECONDS)
        pid = int((work(volume, "deaf") / "pid").read_text())
        children = Path(f"/proc/{pid}/status").read_text().partition("PPid:\t")[2].partition("\n")[0]
        os.kill(int(children), signal.SIGKILL)  # the trainer's process
        assert reached(server, "interrupted", "failed")["error"] == training.INTERRUPTED
        until(lambda: gone(pid))
        os.kill(int((work(volume, "deaf") / "child").read_text()), signal.SIGKILL)  # the stand-in's own


@pytest.mark.parametrize("mode", ["wait", "refuse"])
def test_no_engine_works_meanwhile(tmp_path: Path, photo: bytes, mode: str) -> None:
    (tmp_path / "volume").mkdir()
    settings = {"MODEL_VOLUME_PATH": str(tmp_path / "volume"), "WHILE_TRAINING": mode}
    with serving(tmp_path / "out", command=COMMAND, **settings) as server:
        server.ready()
        engine = server.engine()
        kept = server.submit(photo, {"Idempotency-Key": "before"}, **QUICK)
        server.over(kept)
        send(server, a_zip())
        start(server, "slow")
        reached(server, "running")
        assert gone(engine)
        assert server.submit(photo, {"Idempotency-Key": "before"}, **QUICK) == kept  # it is known already
        if mode == "refuse":
            answer = server.client.post("/api/v1/process", files={"file": ("car.jpg", photo)})
            assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (409, "CONFLICT", "60")
            assert "A style is being trained" in answer.json()["detail"]
        else:
            waits = server.submit(photo, **QUICK)
            time.sleep(1)
            assert server.job(waits)["status"] == "pending"
        server.client.post("/api/v1/training/stop")
        reached(server, "stopped")
        if mode == "wait":
            assert server.over(waits)["status"] == "completed"
        else:
            server.ready()
        assert server.metric('engine_restarts_total{slot="0"}') == 0


def test_the_real_builder_says_what_is_wrong_with_pairs(pod: Server) -> None:
    send(pod, a_zip(1))
    start(pod, "real")
    failed = reached(pod, "failed", "completed", "interrupted")
    assert failed["status"] == "failed"
    assert failed["problems"][-1].startswith("0 whole pairs: at least 5 are needed")
    assert any(problem.startswith("car0.") for problem in failed["problems"])


# --- what is told, as a value


def test_heard_and_what_is_no_event() -> None:
    first = Told()
    assert heard(first, {"event": "else"}) == heard(first, {}) == first
    now = heard(first, {"event": "step", "step": 3, "steps": 8, "epoch": 1, "loss": 0.5, "lean": False})
    assert (now.part, now.done, now.of, now.loss) == ("step", 3, 8, 0.5)


def test_pictures_are_bounded_and_the_first_stay() -> None:
    now = Told()
    for epoch in range(200):
        for k in range(2):
            now = heard(now, {"event": "picture", "epoch": epoch, "pair": f"car{k}", "file": f"/v/{k:012x}-{epoch:03d}.png"})
    assert [one["epoch"] for one in now.pictures[:2]] == [0, 0] and len(now.pictures) == 2 + training.PICTURES
    assert now.pictures[-1]["epoch"] == 199


def test_arguments_cannot_be_other_options() -> None:
    given = Asked(name="flat", trigger="--insist", licence="-x y", anew=True)
    assert given.arguments() == ["--name=flat", "--trigger=--insist", "--licence=-x y", "--anew"]


# --- zips


LIMITS = Limits(1_000_000, 100_000, 20)


def _zip(*infos: tuple[zipfile.ZipInfo | str, bytes], packed: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packed) as archive:
        for info, content in infos:
            archive.writestr(info, content)
    return out.getvalue()


def _link(name: str, kind: int = stat.S_IFLNK) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


def _encrypted() -> bytes:
    content = bytearray(_zip(("a.svg", b"<svg/>")))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + offset] |= 1
    return bytes(content)


def _lying() -> bytes:
    """A megabyte that says it is ten bytes."""
    content = bytearray(_zip(("a.svg", b"<" * 1_000_000)))
    for mark, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        at = content.index(mark) + offset
        content[at : at + 4] = (10).to_bytes(4, "little")
    return bytes(content)


def _damaged() -> bytes:
    content = bytearray(_zip(("a.svg", b"<svg/>" * 100)))
    content[40] ^= 0xFF
    return bytes(content)


def _long_list() -> bytes:
    """An end that says that the list of files has 2 MB, as it has."""
    end = bytearray(_zip())
    end[12:16] = (2_000_000).to_bytes(4, "little")
    return bytes(2_000_000) + bytes(end)


BAD: dict[str, tuple[bytes, Code, str]] = {
    "no zip": (b"no zip at all" * 100, Code.INVALID_INPUT, "cannot be read"),
    "empty file": (b"", Code.INVALID_INPUT, "cannot be read"),
    "cut": (_zip(("a.svg", b"<svg/>" * 100))[:-30], Code.INVALID_INPUT, "cannot be read"),
    "damaged": (_damaged(), Code.INVALID_INPUT, "cannot be read"),
    "no files": (_zip(), Code.INVALID_INPUT, "no files"),
    "only what systems add": (_zip(("__MACOSX/a.svg", b"x"), (".DS_Store", b"x")), Code.INVALID_INPUT, "no files"),
    "traversal": (_zip(("../a.svg", b"<svg/>")), Code.INVALID_INPUT, "leads out"),
    "traversal beneath": (_zip(("photos/../../a.svg", b"<svg/>")), Code.INVALID_INPUT, "leads out"),
    "absolute": (_zip(("/etc/a.svg", b"<svg/>")), Code.INVALID_INPUT, "leads out"),
    "backslashes": (_zip(("..\\a.svg", b"<svg/>")), Code.INVALID_INPUT, "leads out"),
    "drive": (_zip(("C:a.svg", b"<svg/>")), Code.INVALID_INPUT, "leads out"),
    "control characters": (_zip(("a\n.svg", b"<svg/>")), Code.INVALID_INPUT, "no name"),
    "long name": (_zip(("a" * 300 + ".svg", b"<svg/>")), Code.INVALID_INPUT, "no name"),
    "link": (_zip((_link("a.svg"), b"/etc/passwd")), Code.INVALID_INPUT, "a link"),
    "device": (_zip((_link("a.svg", stat.S_IFCHR), b"")), Code.INVALID_INPUT, "a link or a device"),
    "twice": (_zip(("a.svg", b"<svg/>"), ("a.svg", b"<svg/>")), Code.INVALID_INPUT, "twice"),
    "deep": (_zip(("a/b/c/d.svg", b"<svg/>")), Code.INVALID_INPUT, "side by side"),
    "foreign folder": (_zip(("a.svg", b"<svg/>"), ("other/b.svg", b"<svg/>")), Code.INVALID_INPUT, "side by side"),
    "foreign kind": (_zip(("a.exe", b"MZ")), Code.UNSUPPORTED_IMAGE, "neither photograph"),
    "a program as a picture": (_zip(("a.png", b"MZ" * 100)), Code.UNSUPPORTED_IMAGE, "a.png is of an unknown format"),
    "a picture as a drawing": (_zip(("a.svg", PNG)), Code.UNSUPPORTED_IMAGE, "a.svg is no text"),
    "encrypted": (_encrypted(), Code.INVALID_INPUT, "encrypted"),
    "another method": (_zip(("a.svg", b"<svg/>"), packed=zipfile.ZIP_LZMA), Code.INVALID_INPUT, "another method"),
    "many": (_zip(*((f"{k}.svg", b"<svg/>") for k in range(21))), Code.INPUT_TOO_LARGE, "TRAINING_FILES"),
    "bomb": (_zip(*((f"{k}.svg", b"<" * 90_000) for k in range(20))), Code.INPUT_TOO_LARGE, "TRAINING_MB"),
    "large picture": (_zip(("a.png", PNG + bytes(200_000))), Code.INPUT_TOO_LARGE, "MAX_INPUT_MB"),
    "lying about its size": (_lying(), Code.INVALID_INPUT, "cannot be read"),
    "a list without end": (_long_list(), Code.INPUT_TOO_LARGE, "list of files"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_zips(fault: str, tmp_path: Path) -> None:
    content, code, said = BAD[fault]
    (tmp_path / "in").mkdir()
    with pytest.raises(JobError) as refused:
        unpack(io.BytesIO(content), tmp_path / "in", LIMITS, lambda _: None)
    assert (refused.value.code, said in refused.value.sentence) == (code, True), refused.value.sentence
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert sum(path.stat().st_size for path in (tmp_path / "in").rglob("*") if path.is_file()) <= LIMITS.total


def test_a_bad_zip_changes_nothing(intake: Server) -> None:
    assert send(intake, a_zip()).status_code == 200
    for fault, status in (("traversal", 422), ("foreign kind", 415), ("no zip", 422)):
        answer = send(intake, BAD[fault][0])
        assert (answer.status_code, answer.json()["code"]) == (status, str(BAD[fault][1]))
    assert intake.client.post("/api/v1/training/pairs", data={"file": "x"}).status_code == 422
    assert told(intake)["pairs"] == {"png": 5, "svg": 5}
    assert list((intake.folder / ".server" / "incoming").iterdir()) == []


def test_limits_are_settings(tmp_path: Path) -> None:
    with serving(tmp_path / "out", WORKERS="0", TRAINING_FILES="4", TRAINING_MB="0.02") as server:
        assert "TRAINING_FILES" in send(server, a_zip()).json()["detail"]
        assert "TRAINING_MB" in send(server, a_zip(names={"a.svg": b"<" * 50_000})).json()["detail"]
        answer = send(server, a_zip(names={"a.svg": os.urandom(50_000)}))
        assert (answer.status_code, answer.json()["code"]) == (413, "INPUT_TOO_LARGE")
