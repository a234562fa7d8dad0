"""Batches through the local engine, a pod, and from a bucket."""

import json

import pytest

from model_cache import embedded
from pipeline.job import Job
from tests.batch.test_batch_endpoint import photo
from tests.support import quick
from tests.support.real_worker import bucket_environment, drawn
from tests.support.serving import NO_NETWORKS, QUICK, sample_photo, serving

SETTINGS = [f"--set={key}={json.dumps(value) if key != 'size' else value}" for key, value in QUICK.items()]


@pytest.fixture
def cars(tmp_path):
    """A folder of a car, the same car again, and a file that is no picture."""
    import os

    folder = tmp_path / "in"
    folder.mkdir()
    for name, data in {"car.jpg": sample_photo(480), "twin.jpg": sample_photo(480), "broken.jpg": b"no picture"}.items():
        (folder / name).write_bytes(data)
        os.utime(folder / name, (1, 1))
    return folder


def check(ended):
    rows = ended.rows
    assert ended.status == 3 and rows["broken.jpg"]["error"].startswith("UNSUPPORTED_IMAGE: ")
    assert rows["car.jpg"]["status"] == rows["twin.jpg"]["status"] == "completed" and rows["twin.jpg"]["same_as"] == "car.jpg"
    assert set(rows["car.jpg"]["files"]) == {"svg", "png"} and rows["car.jpg"]["seconds"] > 0
    for name in ("car.jpg", "twin.jpg"):
        folder = ended.folder / "files" / name
        assert {path.name for path in folder.iterdir()} >= {"illustration.svg", "preview.png", "result.json", "before.webp", "after.webp"}
    assert (ended.folder / "files/car.jpg/illustration.svg").read_bytes() == (ended.folder / "files/twin.jpg/illustration.svg").read_bytes()


def test_the_local_engine_draws_each_picture_once(cars, batch, monkeypatch):
    monkeypatch.setenv("ENGINE", "classical")
    monkeypatch.setenv(embedded.VARIABLE, NO_NETWORKS)
    monkeypatch.setenv("PIPELINE_CONFIG", quick.VARIABLE["PIPELINE_CONFIG"])
    check(batch(cars, *SETTINGS, endpoint="local"))


def test_a_pod_draws_them(cars, batch, monkeypatch, tmp_path):
    with serving(tmp_path / "pod", API_KEY="k3y") as server:
        url = str(server.client.base_url)
        monkeypatch.setenv("API_KEY", "other")
        refused = batch(cars, *SETTINGS, endpoint=url)
        assert refused.status == 2 and "The pod refuses the key" in refused.err
        monkeypatch.setenv("API_KEY", "k3y")
        check(batch(cars, *SETTINGS, endpoint=url))


def test_a_bucket_is_known_by_etag_and_size(plane, batch, s3_service, monkeypatch):
    bucket = s3_service.new_bucket()
    client = s3_service.client()
    for key, body in {
        "shop/a.jpg": b"1",
        "shop/sub/b.jpg": b"22",
        "shop/same.jpg": b"1",
        "shop/list.txt": b"x",
        "other/c.jpg": b"3",
    }.items():
        client.put_object(Bucket=bucket.name, Key=key, Body=body)
    for name, value in bucket_environment(bucket).items():
        monkeypatch.setenv(name, value)
    source = f"s3://{bucket.name}/shop/"
    ended = batch(source)
    assert ended.status == 0 and set(ended.rows) == {"a.jpg", "same.jpg", "sub/b.jpg"}
    sent = sorted(request["input"]["image_url"] for _, request in plane.sent)
    assert sent == [f"s3://{bucket.name}/shop/a.jpg", f"s3://{bucket.name}/shop/sub/b.jpg"]
    client.put_object(Bucket=bucket.name, Key="shop/a.jpg", Body=b"new")
    assert batch(source).status == 0 and len(plane.sent) == 3
    assert "BUCKET_NAME must be" in batch("s3://another/shop").err


def test_a_manifests_files_bring_their_mattes(plane, batch, tmp_path):
    photo(tmp_path / "photos" / "a.jpg")
    photo(tmp_path / "photos" / "m.png")
    (tmp_path / "cars.csv").write_text(
        "id;image_url;matte_url;palette_hex_list;vehicle_box\nx;photos/a.jpg;photos/m.png;F00,0F0;0.1,0.1,0.9,0.9\n"
    )
    ended = batch(tmp_path / "cars.csv")
    (job,) = (request["input"] for _, request in plane.sent)
    assert ended.status == 0 and set(job) == {"image_base64", "matte_base64", "palette_hex_list", "vehicle_box"}
    assert Job.model_validate(job).vehicle_box == [0.1, 0.1, 0.9, 0.9]


def test_a_job_of_the_batch_is_what_the_worker_takes(plane, batch, manifest):
    pictures = drawn()
    assert batch(manifest({"id": "x", **pictures, "size": 1024})).status == 0
    assert Job.model_validate(plane.sent[0][1]["input"]).image_base64 == pictures["image_base64"]
