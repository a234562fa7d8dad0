"""With a bucket the files go there and stay on this machine too; where the bucket fails, neither has any."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import service
from pipeline.settings import load
from server import engine as engines
from server import files, intake, jobs, queue
from server.database import Database, connect
from server.settings import Pod, read
from tests.support import quick
from tests.support.s3_service import S3Service


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return read({"OUTPUT_DIR": str(tmp_path / "out"), "ENGINE": "classical", "RUNPOD_POD_ID": "a-pod", "ALLOW_PRIVATE_URLS": "1"})


def done(pod: Pod, database: Database, worker: service.Worker, photo: Path, **fields: str) -> dict[str, object]:
    """A job from its form to its end, by an engine in this process."""
    quick = {"size": "1024", "vehicle_box": "0.1,0.1,0.9,0.9", "remove": ""} | fields
    with photo.open("rb") as file:
        job_id = intake.accept(intake.Submission(tuple(quick.items()), file, None), pod, database).job_id
    taken = queue.claim(database, 0, 300)
    assert taken is not None and taken.job_id == job_id
    goes_on = engines.do(0, taken, pod, worker, database, threading.Event())
    told = jobs.shown(database, job_id)
    assert goes_on == (told["status"] == "completed")  # a deployment's bucket that refuses is no job's fault: the engine leaves
    return told


def test_the_bucket_and_this_machine(pod: Pod, engine: service.Worker, s3_service: S3Service, photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "car.jpg").write_bytes(photo)
    database, bucket = connect(pod.database), s3_service.new_bucket()
    worker = service.Worker(pod.environment, load(quick.CONFIG), engine.steps, bucket)
    told = done(pod, database, worker, tmp_path / "car.jpg", output_prefix="orders/42")
    assert told["status"] == "completed", told
    stored, result = s3_service.objects(bucket), told["result"]
    assert set(stored) == {"orders/42/illustration.svg", "orders/42/preview.png", "orders/42/result.json"}
    assert Path(result["svg_path"]).read_bytes() == stored["orders/42/illustration.svg"]
    assert Path(result["png_path"]).read_bytes() == stored["orders/42/preview.png"]
    assert result["svg_url"].startswith(s3_service.endpoint_url)

    broken = replace(worker, bucket=replace(bucket, name="no-such-bucket"))
    told = done(pod, database, broken, tmp_path / "car.jpg")
    assert told["status"] == "failed" and told["error"].startswith("DELIVERY_FAILED: ")
    assert [path.name for path in files.folder_of(pod, str(told["job_id"])).iterdir()] == [files.PICTURE]
    database.close()


def test_a_pod_of_runpod_delivers_to_its_own_disk(pod: Pod, engine: service.Worker, photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "car.jpg").write_bytes(photo)
    database = connect(pod.database)
    told = done(pod, database, service.Worker(pod.environment, load(quick.CONFIG), engine.steps, None), tmp_path / "car.jpg")
    assert told["status"] == "completed" and str(told["result"]["svg_url"]).startswith("file://")
    assert files.size_of(files.folder_of(pod, str(told["job_id"]))) > len(photo)
    database.close()
