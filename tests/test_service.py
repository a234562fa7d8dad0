"""Whole jobs through the one path that all doors share, on small pictures."""

import base64
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import service
from pipeline.errors import Code, JobError
from pipeline.progress import Progress
from pipeline.sample import scene
from tests.support.pictures import save

SMALL = {"size": 1024, "remove": []}


def encoded(image: Image.Image, kind="PNG") -> str:
    return base64.b64encode(save(image, kind)).decode()


@pytest.fixture(scope="session")
def sample():
    return scene(seed=5, width=601, height=397)  # sizes that are no multiples of 8


@pytest.fixture(scope="session")
def matte(sample) -> str:
    """The true one, for jobs that need not look for the vehicle."""
    return encoded(Image.fromarray((sample.mask * 255).astype(np.uint8)))


@pytest.fixture
def do(quick_worker, sample):
    def run(image=None, progress=None, **more):
        picture = encoded(image or Image.fromarray(sample.rgb))
        return service.perform("job-7", {"image_base64": picture, **SMALL, **more}, quick_worker, progress or Progress())

    return run


def labels_of(result):
    return np.asarray(Image.open(result["intermediates"]["labels"].removeprefix("file://")))


def test_the_alpha_channel_is_the_matte(do, sample):
    rgba = np.dstack([sample.rgb, np.where(sample.mask, 255, 0).astype(np.uint8)])
    result = do(Image.fromarray(rgba, "RGBA"), outputs=["svg", "intermediates"])
    assert result["quality"]["matte_confidence"] is None
    drawn = labels_of(result) < 15
    frame = result["frame"]
    ys, xs = np.nonzero(sample.mask)
    box = np.array(result["vehicle_box"]) * [601, 397, 601, 397]
    assert np.abs(box - [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]).max() <= 2
    assert drawn.sum() / sample.mask.sum() == pytest.approx(frame["scale"] ** 2, rel=0.02)


def test_the_jobs_matte_wins_over_the_alpha_channel(do, sample):
    rgba = np.dstack([sample.rgb, np.where(sample.mask, 255, 0).astype(np.uint8)])
    mine = np.zeros((397, 601), np.uint8)
    mine[100:200, 100:300] = 255
    result = do(Image.fromarray(rgba, "RGBA"), matte_base64=encoded(Image.fromarray(mine)), outputs=["svg"])
    assert result["vehicle_box"] == pytest.approx([100 / 601, 100 / 397, 300 / 601, 200 / 397], abs=0.003)


@pytest.mark.parametrize("background", ["remove", "keep", "#FF00FF"])
def test_backgrounds(do, matte, background):
    result = do(background=background, matte_base64=matte, outputs=["svg", "png", "intermediates"])
    svg = Path(result["svg_url"].removeprefix("file://")).read_text()
    preview = np.asarray(Image.open(result["png_url"].removeprefix("file://")))
    labels = labels_of(result)
    corner_alpha, above = preview[2, 2, 3], preview[1024, 20, 3]  # outside the photo; background within it
    if background == "remove":
        assert (corner_alpha, above) == (0, 0)
        assert "<rect" not in svg
    elif background == "keep":
        assert (corner_alpha, above) == (0, 255)
        assert (labels[512] < 15).mean() > 0.99
    else:
        assert (preview[2, 2] == [255, 0, 255, 255]).all()
        assert svg.count("<rect") == 1
    assert result["quality"]["off_palette_colors"] == 0


def test_the_preview_holds_no_colour_that_is_not_in_the_svg(do, matte):
    result = do(palette_hex_list="000000,FFFFFF,FF0000", matte_base64=matte, stroke={"mode": "none"}, outputs=["svg", "png"])
    preview = np.asarray(Image.open(result["png_url"].removeprefix("file://")))
    solid = preview[preview[..., 3] == 255][:, :3].astype(int)
    palette = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]])
    exact = (np.abs(solid[:, None] - palette).sum(-1) == 0).any(1)
    assert exact.mean() > 0.97  # antialiased boundaries are the rest


def test_a_job_that_takes_too_long_ends_and_leaves_nothing(do, quick_worker):
    class Clock:
        now = 0.0

        def __call__(self):
            self.now += 1.0
            return self.now

    with pytest.raises(JobError) as error:
        do(progress=Progress(clock=Clock(), deadline=6.0))
    assert error.value.code is Code.TIMED_OUT
    assert not quick_worker.environment.output_dir.exists()


@pytest.mark.parametrize("phase", ["fetch", "vehicle", "sanitize", "illustrate", "enforce", "vectorize", "deliver"])
def test_a_cancelled_job_ends_in_any_phase_and_leaves_nothing(do, quick_worker, matte, phase):
    progress = Progress(interval=0.0)

    def send(report):
        if report.phase == phase:
            progress.cancelled.set()

    progress.send = send
    given = {} if phase == "vehicle" else {"matte_base64": matte}
    with pytest.raises(JobError) as error:
        do(progress=progress, **given)
    assert error.value.code is Code.CANCELLED
    assert not quick_worker.environment.output_dir.exists()


def test_a_failed_upload_fails_the_job(quick_worker, sample, matte, s3_service):
    bucket = replace(s3_service.new_bucket(), name="no-such-bucket-here", max_attempts=1)
    raw = {"image_base64": encoded(Image.fromarray(sample.rgb)), "matte_base64": matte, **SMALL}
    with pytest.raises(JobError) as error:
        service.perform("up", raw, replace(quick_worker, bucket=bucket), Progress())
    assert error.value.code is Code.DELIVERY_FAILED
    assert bucket.secret_key not in str(error.value)


def test_a_photo_from_the_configured_bucket(quick_worker, sample, matte, s3_service):
    bucket = s3_service.new_bucket()
    s3_service.client().put_object(Bucket=bucket.name, Key="in/car.png", Body=save(Image.fromarray(sample.rgb), "PNG"))
    job = {"image_url": f"s3://{bucket.name}/in/car.png", "matte_base64": matte, **SMALL}
    result = service.perform("s3-in", job, replace(quick_worker, bucket=bucket), Progress())
    assert {k.rpartition("/")[2] for k in s3_service.objects(bucket)} == {"car.png", "illustration.svg", "preview.png", "result.json"}
    assert json.loads(s3_service.objects(bucket)["s3-in/result.json"]) == result


def test_grey_and_tall_pictures(do):
    tall = Image.fromarray(np.tile(np.linspace(30, 220, 200, dtype=np.uint8), (900, 1)))
    result = do(tall, vehicle_box=[0.1, 0.2, 0.9, 0.8], outputs=["png"])
    assert set(result) & {"svg_url", "png_url", "report_url"} == {"png_url"}
    assert result["frame"]["x0"] > 0
    assert Image.open(result["png_url"].removeprefix("file://")).size == (2048, 2048)


def test_progress_counts_up_to_the_end(do):
    reports = []
    do(progress=Progress(send=reports.append, interval=0.0), outputs=["svg"])
    assert [r.number for r in reports] == list(range(1, len(reports) + 1))
    phases = ["fetch", "vehicle", "sanitize", "illustrate", "enforce", "vectorize", "deliver"]
    assert list(dict.fromkeys(r.phase for r in reports)) == phases
    assert all(a.fraction <= b.fraction for a, b in pairwise(reports))
