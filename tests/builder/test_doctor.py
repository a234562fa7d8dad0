"""The doctor on tiny networks: what works is said to work, what is broken is named, and neither hides the other."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from safetensors.torch import load_file, save_file

from builder import doctor as module
from builder import doctor_limits as limits
from builder.doctor import doctor
from builder.doctor_page import Check, ModelRow, Report, page
from builder.doctor_sample import Answer, Picture, Sample, corners, make_sample
from builder.doctor_steps import EXAMINATIONS
from builder.errors import BuilderError
from pipeline import engines, settings
from pipeline.phase1_sanitize import quads
from pipeline.raster import resized
from pipeline.steps import Steps
from pipeline.values import Found, Matte
from tests.builder.volumes import recorded
from tests.support import tiny_volume as volumes

pytestmark = [pytest.mark.neural, pytest.mark.usefixtures("small_windows")]
#: As small as the engine's own tests; random networks find and draw nothing that is there.
SMALL = {
    "phase1": {"score_threshold": 0.2, "on_vehicle": 0.0, "box_size_cap": 1.0},
    "phase0": {"matte_side": 64, "vehicle_score": 0.0},
    "phase2": {"side": 256, "iou_retry": {"max_retries": 0}, "sdxl": {"num_inference_steps": 2}},
}
SIZE = (601, 397)


@pytest.fixture(scope="module")
def volume(tiny_volume: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded; with a segmenter whose masks are its whole boxes and a matte that finds a vehicle wherever it looks."""
    copy = volumes.copy_volume(tiny_volume, tmp_path_factory.mktemp("volume") / "v")
    _change(copy, "sam", _whole_boxes)
    _change(copy, "birefnet", _everywhere)
    volumes.write_style(copy, trigger="flat vector")  # the default prompt holds these words already
    return recorded(copy)


def _change(volume: Path, name: str, how) -> None:
    path = volume / "models" / name / "model.safetensors"
    tensors = load_file(path)
    path.unlink()
    how(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def _whole_boxes(tensors) -> None:
    for name, tensor in tensors.items():
        if "upscale_conv2" in name or ("output_hypernetworks_mlps" in name and "proj_out" in name):
            tensor.fill_(1.0 if name.endswith("bias") else 0.0)


def _everywhere(tensors) -> None:
    tensors["decoder.conv_out1.0.weight"].zero_()
    tensors["decoder.conv_out1.0.bias"].fill_(4.0)


def config(folder: Path, **more) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **more}))
    return path


def only(*neural: str) -> dict[str, str]:
    steps = ("find", "mask", "inpaint", "matte", "draw", "upscale")
    return {step: "neural" if step in neural else "classical" for step in steps}


class Sections(HTMLParser):
    """Of a page: section → its verdict, its captions, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: dict[str, list[str]] = {}
        self.pictures: dict[str, int] = {}
        self.links: list[str] = []
        self._at = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "section":
            self._at = given.get("id", "")
        if tag == "img":
            self.pictures[self._at] = self.pictures.get(self._at, 0) + 1
        self.links += [given[key] for key in ("src", "href") if key in given]

    def handle_data(self, data):
        if data.strip():
            self.words.setdefault(self._at, []).append(data.strip())


@pytest.fixture(scope="module")
def whole(volume: Path, small_windows: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, str, list[str]]:
    folder = tmp_path_factory.mktemp("doctor")
    told: list[str] = []
    before = {path: path.stat().st_mtime_ns for path in volume.rglob("*")}
    fine = doctor(volume, folder / "page.html", told.append, config(folder), insist=True, size=SIZE)
    assert {path: path.stat().st_mtime_ns for path in volume.rglob("*")} == before
    return fine, (folder / "page.html").read_text("utf-8"), told


def test_every_step_is_shown(whole) -> None:
    fine, text, told = whole
    sections = Sections(text)
    verdicts = {name: words[1] for name, words in sections.words.items() if name}
    assert verdicts.keys() == {"volume", "style", "find", "matte", "masks", "inpaint", "depth", "draw", "upscale", "whole-job"}
    assert (verdicts["volume"], verdicts["style"]) == ("Works", "Works")
    assert {"flat vector", "Trigger"} <= set(sections.words["style"])
    assert not fine  # random networks
    assert "Failed" not in verdicts.values()
    shown = {"find": 2, "matte": 3, "masks": 2, "inpaint": 3, "depth": 4, "draw": 7, "upscale": 2, "whole-job": 5}
    assert {name: count for name, count in sections.pictures.items() if name} == shown
    assert told[-2].startswith("On the processor (no CUDA card): ")
    assert "Strength 0.9 (yours)" in text
    assert "verify --only realesrgan-anime reads its files" in text
    assert verdicts["upscale"] == "Look here"  # a random enlarger keeps no colour
    for section, limit in {"find": limits.PLATE, "masks": limits.WITHIN, "depth": limits.DEPTH, "upscale": limits.KEPT}.items():
        (name, why), *_ = limits.told(limit).items()
        assert {name, why} <= set(sections.words[section])  # each verdict's limit stands beside it, with its reason


def test_a_style_without_a_trigger_and_a_stale_prompt_are_suspicious(volume: Path, tmp_path: Path) -> None:
    def look(trigger: str | None) -> dict[str, list[str]]:
        copy = volumes.copy_volume(volume, tmp_path / str(trigger))
        (copy / "styles" / "style.style.json").unlink()
        if trigger is not None:
            volumes.write_style(copy, trigger=trigger)
        assert not doctor(copy, tmp_path / "page.html", lambda _: None, config(tmp_path, steps=only("draw")), size=SIZE)
        return Sections((tmp_path / "page.html").read_text("utf-8")).words

    silent = look(None)
    assert (silent["volume"][1], silent["style"][1]) == ("Works", "Look here")
    assert "--trigger WORDS" in " ".join(silent["style"])
    assert "unknown, taken as the rank" in silent["style"]
    stale = look("<flt_vctr_style>")
    assert (stale["volume"][1], stale["style"][1]) == ("Look here", "Works")
    assert "not those of the prompts in force" in " ".join(stale["volume"])


def test_the_page_needs_nothing_but_itself(whole) -> None:
    _, text, _ = whole
    assert all(link.startswith(("data:image/", "#")) for link in Sections(text).links)
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert str(Path.home()) not in re.sub(r"base64,[^\"]*", "", text)


def test_the_same_input_gives_the_same_answer(whole) -> None:
    _, text, _ = whole
    assert text.count("identical") == 7
    assert "different" not in Sections(text).words["draw"]


def test_a_broken_model_fails_its_step_alone(volume: Path, tmp_path: Path) -> None:
    copy = volumes.copy_volume(volume, tmp_path / "v")
    path = copy / "models" / "birefnet" / "model.safetensors"
    volumes.replace(path, path.read_bytes()[:-9])
    (copy / "models" / "realesrgan-anime" / "RealESRGAN_x4plus_anime_6B.safetensors").unlink()
    file = config(tmp_path, steps=only("matte", "mask", "upscale"))
    assert doctor(copy, tmp_path / "page.html", lambda _: None, file, insist=True, size=SIZE) is False
    sections = Sections((tmp_path / "page.html").read_text("utf-8"))
    assert sections.words["matte"][1] == "Failed"
    assert "2242201 bytes instead of" in " ".join(sections.words["matte"])
    assert sections.words["upscale"][1] == "Failed"
    assert "realesrgan-anime" in " ".join(sections.words["upscale"])
    assert sections.words["masks"][1] in {"Works", "Look here"}  # random weights
    assert sections.words["find"][1] == "Not examined"
    assert sections.words["whole-job"][1] == "Failed"
    assert "birefnet" in sections.words["volume"][-1]


def test_what_a_step_raises_is_told_with_its_traceback(volume: Path, tmp_path: Path, monkeypatch) -> None:
    def broken(*_: object) -> Answer:
        raise ZeroDivisionError("one <b> by nought")

    monkeypatch.setattr(module, "EXAMINATIONS", (("Masks", "mask", broken), ("Matte", "matte", broken)))
    file = config(tmp_path, steps=only("mask"))
    doctor(volume, tmp_path / "page.html", lambda _: None, file, size=SIZE)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "ZeroDivisionError: one &lt;b&gt; by nought." in text
    assert "Traceback" in text
    assert Sections(text).words["whole-job"][1] == "Not examined"  # no card, and nobody insisted


def test_a_step_that_answers_twice_differently_is_suspicious() -> None:
    answers = iter(range(4))

    def examine() -> Answer:
        return Answer("ok", "Fine.", pictures=(Picture("x", np.full((2, 2), next(answers), np.uint8)),))

    assert module._twice(examine).verdict == "suspicious"
    assert module._twice(lambda: Answer("ok", "Fine.")).verdict == "ok"


def test_the_sentence_and_the_verdict() -> None:
    def report(*verdicts, error="") -> Report:
        checks = [Check(f"S{k}", Answer(verdict, "x")) for k, verdict in enumerate(verdicts)]
        return Report("a card", {}, [ModelRow("m", "r", "float16", 1, 0.1, error)], checks)

    assert report("ok", "skipped").fine
    assert report("ok", "ok", "skipped").sentence == (
        "This deployment works on a card: all of 2 examinations ended well. S2 was not examined."
    )
    mixed = report("failed", "suspicious", "ok", error="m cannot be used")
    assert mixed.sentence == "On a card: S0 failed; S1 wants a look; m cannot be read."
    assert (mixed.fine, mixed.verdict) == (False, "failed")
    assert report("ok", "suspicious").verdict == "suspicious"
    assert "m cannot be used" in page(mixed)
    assert "&lt;script&gt;" in page(Report("<script>", {}, [], []))


def test_nothing_to_examine(tmp_path: Path) -> None:
    with pytest.raises(BuilderError, match="There is no volume"):
        doctor(tmp_path / "none", tmp_path / "page.html", print)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("phase9: 1")
    with pytest.raises(BuilderError, match="phase9"):
        doctor(tmp_path, tmp_path / "page.html", print, wrong)


# --- what the verdicts are worth: an engine that answers the truth, and the same with one lie ---


def truthful(sample: Sample) -> Steps:
    """Steps that know the sample."""

    def matte_of(rgb, box):
        side = len(rgb)
        return Matte(resized(sample.inside.astype(np.uint8) * 255, side), 0.99)

    def mask(rgb, found):
        return [quads.filled(quads.padded(one.quad, -0.1, -0.1), rgb.shape[:2]) for one in found]

    def depth(rgb):
        rows = np.linspace(0, 255, len(rgb)).astype(np.uint8)
        return np.repeat(rows[:, None], len(rgb), 1)

    box = Found("car", 0.9, corners(sample.vehicle))
    return replace(
        engines.classical({}, lambda rgb, box, labels: list(sample.things)),
        locate=lambda rgb: [box],
        mask=mask,
        inpaint=lambda rgb, hole: cv2.inpaint(rgb, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA),
        matte=matte_of,
        depth=depth,
        draw=None,
        redraw=lambda rgb, brief, tell: (rgb, ("STYLE_MISSING: No style.",)),
    )


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sample((1200, 800), settings.load())


def examined(name: str, steps: Steps, sample: Sample) -> Answer:
    def clock(call):
        return call(), 0.1

    return {each: examine for each, _, examine in EXAMINATIONS}[name](steps, sample, settings.load(), clock)


@pytest.mark.parametrize("name", [name for name, _, _ in EXAMINATIONS])
def test_the_truth_is_ok(sample: Sample, name: str) -> None:
    answer = examined(name, truthful(sample), sample)
    assert answer.verdict == "ok", answer.sentence
    assert answer.pictures


def shifted(steps: Steps) -> Steps:
    return replace(steps, matte=lambda rgb, box: Matte(np.roll(steps.matte(rgb, box).alpha, len(rgb) // 8, 1), 0.9))


LIES = {
    "no vehicle": ("Find", lambda s: replace(s, locate=lambda *_: []), "No vehicle was found"),
    "another vehicle": (
        "Find",
        lambda s: replace(s, locate=lambda *_: [Found("car", 1.0, corners((0, 0, 99, 99)))]),
        "covers the true one",
    ),
    "no plate": ("Find", lambda s: replace(s, find=lambda *_: []), "plate was not found"),
    "whole picture": ("Masks", lambda s: replace(s, mask=lambda rgb, f: [np.ones(rgb.shape[:2], bool)] * len(f)), "runs out of its box"),
    "grey": ("Inpaint", lambda s: replace(s, inpaint=lambda rgb, m: np.where(m[..., None], np.uint8(90), rgb)), "differs from its"),
    "outline": ("Matte", shifted, "covers the true outline"),
    "upside down": ("Depth", lambda s: replace(s, depth=lambda rgb: s.depth(rgb)[::-1]), "not much nearer"),
    "elsewhere": ("Draw", shifted, "covers the photographed one"),
    "one colour": (
        "Upscale",
        lambda s: replace(s, upscale=lambda rgb, k, *_: np.zeros((len(rgb) * 4, rgb.shape[1] * 4), np.uint8)),
        "kept their",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_suspicious(sample: Sample, lie: str) -> None:
    name, how, said = LIES[lie]
    answer = examined(name, how(truthful(sample)), sample)
    assert (answer.verdict, said in answer.sentence) == ("suspicious", True), answer.sentence


FAULTS = {
    "not a number": ("Find", lambda s: replace(s, locate=lambda *_: [Found("car", 1.0, np.full((4, 2), np.nan, np.float32))])),
    "empty mask": ("Masks", lambda s: replace(s, mask=lambda rgb, f: [np.zeros(rgb.shape[:2], bool)] * len(f))),
    "too few masks": ("Masks", lambda s: replace(s, mask=lambda rgb, f: [])),
    "nothing mended": ("Inpaint", lambda s: replace(s, inpaint=lambda rgb, m: rgb)),
    "all painted": ("Inpaint", lambda s: replace(s, inpaint=lambda rgb, m: 255 - rgb)),
    "flat depth": ("Depth", lambda s: replace(s, depth=lambda rgb: np.zeros(rgb.shape[:2], np.uint8))),
    "blank drawing": ("Draw", lambda s: replace(s, redraw=lambda rgb, *_: (np.full_like(rgb, 9), ()))),
    "wrong size": ("Upscale", lambda s: replace(s, upscale=lambda rgb, *_: rgb[..., 0])),
    "no detector": ("Find", lambda s: replace(s, locate=None)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_is_none_fails(sample: Sample, fault: str) -> None:
    name, how = FAULTS[fault]
    with pytest.raises((ValueError, RuntimeError)):
        examined(name, how(truthful(sample)), sample)
