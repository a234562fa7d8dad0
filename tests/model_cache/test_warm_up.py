"""Being warm: jobs wait for their own models only, and what is wrong with a model is told by its name, when it can be told."""

import http.server
import os
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from model_cache import manifest
from model_cache.cache import ModelCache
from model_cache.catalogue import load_catalogue
from model_cache.errors import BrokenModel, MissingModels
from model_cache.reading import ReadAhead, pread
from model_cache.volume import Volume
from model_cache.warm_up import Changed, WarmUp, check
from tests.support import tiny_volume as volumes

pytestmark = pytest.mark.neural
ROOT = Path(__file__).parents[2]
NAMES = ("realesrgan-anime", "birefnet", "sdxl-vae")


@pytest.fixture
def volume(tiny_volume: Path, tmp_path: Path) -> Volume:
    return Volume(volumes.copy_volume(tiny_volume, tmp_path / "v"), load_catalogue())


def record(volume: Volume, *names: str) -> None:
    """A lock file of these models as they lie there."""
    records = {
        name: manifest.ModelRecord(
            source="somewhere",
            revision="r",
            sources={},
            files={file: manifest.record_of(volume.file(name, file)) for file in volume.catalogue[name].files},
        )
        for name in names
    }
    manifest.write_lock(volume.path, records)


class Gate:
    """A volume whose models arrive when a test says so."""

    def __init__(self, *held: str) -> None:
        self.events = {name: threading.Event() for name in held}

    def __call__(self, file: int, buffer: memoryview, offset: int) -> int:
        path = Path(f"/proc/self/fd/{file}").readlink()
        for name, event in self.events.items():
            if name in path.parts:
                event.wait()
        return pread(file, buffer, offset)


Warm = Callable[..., tuple[ModelCache, WarmUp]]


@pytest.fixture
def warm(volume: Volume) -> Iterator[Warm]:
    """Starts a warm-up; ends it afterwards, and looks that nothing is left."""
    started: list[WarmUp] = []
    gates: list[Gate] = []

    def start(*held: str, names: Sequence[str] = NAMES, changed: Changed | None = None, gate: Gate | None = None, **more):
        gate = gate or Gate(*held)
        groups = {name: [volume.file(name, file) for file in volume.catalogue[name].files] for name in names}
        cache = ModelCache(volume, torch.device("cpu"), None)
        reading = ReadAhead(groups, read=gate).start()
        started.append(WarmUp(cache, names, reading, changed or {}, **more).start())
        gates.append(gate)
        return cache, started[-1]

    yield start
    for gate in gates:
        for event in gate.events.values():
            event.set()
    for one in started:
        one.close()
    assert not [t for t in threading.enumerate() if t.name.startswith(("warm-up", "read-ahead"))]


def test_an_early_job_waits_for_its_own_models_only(warm: Warm) -> None:
    gate = Gate("birefnet", "sdxl-vae")
    cache, warming = warm(gate=gate)
    cache.take("realesrgan-anime")
    taken = threading.Event()

    def job() -> None:
        cache.take("birefnet")
        taken.set()

    early = threading.Thread(target=job)
    early.start()
    assert not taken.is_set()
    assert set(cache.loads) == {"realesrgan-anime"}
    gate.events["birefnet"].set()
    early.join(60)
    assert taken.is_set()
    assert set(cache.loads) == {"realesrgan-anime", "birefnet"}, "the last weights are still on their way"
    gate.events["sdxl-vae"].set()
    warming.join()
    cache.take(*NAMES)
    assert set(cache.loads.values()) == {1}


def test_a_model_that_is_not_expected_is_read_at_once(warm: Warm) -> None:
    cache, _ = warm("realesrgan-anime")
    cache.take("sdxl-scheduler")
    assert cache.loads == {"sdxl-scheduler": 1}


def test_what_breaks_is_kept_and_told_by_name(warm: Warm, volume: Volume) -> None:
    """It breaks after the check, as a disk does."""
    gate = Gate("birefnet")
    cache, warming = warm(gate=gate)
    cache.take("realesrgan-anime")
    path = volume.file("birefnet", "model.safetensors")
    volumes.replace(path, path.read_bytes()[:-100])
    gate.events["birefnet"].set()
    for _ in range(2):
        with pytest.raises(BrokenModel, match=r"birefnet.*cut off"):
            cache.take("sdxl-vae", "birefnet")
    with pytest.raises(BrokenModel, match="birefnet"):
        warming.join()
    cache.take("sdxl-vae")
    assert cache.loads == {"realesrgan-anime": 1, "sdxl-vae": 1}


def test_a_disk_that_fails_is_told_by_the_model(warm: Warm) -> None:
    class Failing(Gate):
        def __call__(self, file: int, buffer: memoryview, offset: int) -> int:
            if "birefnet" in Path(f"/proc/self/fd/{file}").readlink().parts:
                raise OSError(5, "Input/output error")
            return pread(file, buffer, offset)

    cache, warming = warm(gate=Failing())
    with pytest.raises(BrokenModel, match=r"birefnet cannot be used: it cannot be read \(Input/output error"):
        cache.take("birefnet")
    cache.take("sdxl-vae")
    with pytest.raises(BrokenModel):
        warming.join()


def test_what_comes_last_comes_when_all_are_there_or_not_at_all(warm: Warm, volume: Volume) -> None:
    done: list[int] = []
    cache, warming = warm(last=lambda: done.append(sum(cache.loads.values())))
    warming.join()
    assert done == [3]
    volumes.replace(volume.file("birefnet", "model.safetensors"), b"nothing")
    _, warming = warm(last=lambda: done.append(0))
    with pytest.raises(BrokenModel, match="birefnet"):
        warming.join()
    warming.close()
    assert done == [3]


def test_what_comes_last_and_fails_is_told_to_who_waits_for_it(warm: Warm) -> None:
    def fails() -> None:
        raise RuntimeError("no picture")

    cache, warming = warm(last=fails)
    with pytest.raises(RuntimeError, match="no picture"):
        warming.join()
    cache.take(*NAMES)


def test_ending_it_leaves_the_cache_usable(warm: Warm) -> None:
    gate = Gate("birefnet")
    cache, warming = warm(gate=gate)
    cache.take("realesrgan-anime")
    closing = threading.Thread(target=warming.close)
    closing.start()
    gate.events["birefnet"].set()
    closing.join(60)
    assert not closing.is_alive()
    cache.take(*NAMES)
    assert set(cache.loads.values()) == {1}


# --- the check ---


def test_an_untouched_volume_needs_no_hashing(volume: Volume) -> None:
    record(volume, *NAMES)
    assert check(volume, NAMES) == {}
    assert check(volume, ("sam",)) == {}, "no record, nothing to compare with"


def test_another_time_stamp_is_hashed_before_it_is_trusted(volume: Volume, warm: Warm) -> None:
    record(volume, *NAMES)
    path = volume.file("sdxl-vae", volumes.WEIGHTS)
    volumes.replace(path, path.read_bytes())
    os.utime(path, ns=(1, 1))
    changed = check(volume, NAMES)
    assert changed == {"sdxl-vae": (volumes.WEIGHTS,)}
    cache, warming = warm(changed=changed)
    warming.join()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    volumes.replace(path, bytes(content))
    cache, _ = warm(changed=check(volume, NAMES))
    cache.take("birefnet")
    with pytest.raises(BrokenModel, match=r"sdxl-vae cannot be used: diffusion_pytorch_model.safetensors has another content"):
        cache.take("sdxl-vae")


def test_what_no_reading_is_needed_for_is_told_at_once(volume: Volume) -> None:
    record(volume, *NAMES)
    path = volume.file("sdxl-vae", "config.json")
    volumes.replace(path, path.read_bytes() + b" ")
    with pytest.raises(BrokenModel, match=r"sdxl-vae cannot be used: config.json: .* bytes instead of"):
        check(volume, NAMES)
    manifest.write_lock(volume.path, {})
    volumes.replace(path, b"{")
    with pytest.raises(BrokenModel, match=r"sdxl-vae cannot be used: config.json is not JSON"):
        check(volume, NAMES)
    path.unlink()
    with pytest.raises(MissingModels, match=r"sdxl-vae .config.json"):
        check(volume, NAMES)


def test_the_check_needs_no_torch(volume: Volume) -> None:
    code = (
        "import sys; from pathlib import Path; from model_cache.catalogue import load_catalogue; from model_cache.volume import Volume;"
        "from model_cache.warm_up import check, read_ahead; v = Volume(Path(sys.argv[1]), load_catalogue()); check(v, ['sdxl-vae']);"
        "r = read_ahead(v, ['sdxl-vae']).start(); r.wait('sdxl-vae'); r.close(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(volume.path)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- the handler's last fitness check, by the real SDK ---


@pytest.fixture
def told_to_runpod() -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """A control plane that hears pings and has no jobs: its address, and the queries of the pings."""
    heard: list[dict[str, list[str]]] = []

    class Plane(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urllib.parse.urlparse(self.path)
            if address.path.startswith("/ping"):
                heard.append(urllib.parse.parse_qs(address.query))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plane)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("damage", ["missing", "header", "content"])
def test_a_model_that_cannot_be_used_is_reported_before_a_job_is_taken(volume: Volume, told_to_runpod, tmp_path: Path, damage: str) -> None:
    address, heard = told_to_runpod
    (tmp_path / "s.yaml").write_text("steps: {upscale: neural}")
    path = volume.file("realesrgan-anime", "RealESRGAN_x4plus_anime_6B.safetensors")
    record(volume, "realesrgan-anime")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        volumes.replace(path, bytes(content) if damage == "content" else bytes(content[:-1]))
    environment = {
        "ENGINE": "classical",
        "MODEL_VOLUME_PATH": str(volume.path),
        "PIPELINE_CONFIG": str(tmp_path / "s.yaml"),
        "RUNPOD_WEBHOOK_GET_JOB": f"{address}/job-take/x?gpu=0",
        "RUNPOD_WEBHOOK_PING": f"{address}/ping/x",
        "RUNPOD_AI_API_KEY": "key",
        "RUNPOD_SKIP_GPU_CHECK": "true",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
    }
    code = f"import runpy, tests.support.torchvision_shim; runpy.run_path({str(ROOT / 'handler.py')!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    (ping,) = [ping for ping in heard if ping.get("status") == ["unhealthy"]]
    assert ping["check"] == ["networks_are_ready"]
    assert "MODELS_MISSING" in ping["reason"][0]
    assert "realesrgan-anime" in ping["reason"][0]
