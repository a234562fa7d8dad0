"""`train-style` from a folder of pairs to an installed style, by tiny networks; and pairs that cannot be used."""

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open

from builder.__main__ import main
from builder.train.keep import factors_at
from builder.train.pairs import WrongPairs, read_pairs
from builder.verify import verify
from model_cache.manifest import read_lock, write_lock
from model_cache.styles import beside
from pipeline.phase2_illustrate.diffusion.draw import DrawSettings, make_redraw
from pipeline.phase2_illustrate.diffusion.style import fuse, fusion
from tests.builder.volumes import recorded
from tests.support import tiny_drawing as tiny
from tests.support import tiny_volume as volumes
from tests.support.style_pairs import HEIGHT, WIDTH, write_pairs

SMALL = {
    "steps": dict.fromkeys(("find", "mask", "inpaint", "matte", "upscale"), "classical"),
    "phase2": {"side": 256, "sdxl": {"num_inference_steps": 2}},
}
NUMBERS = ["--rank", "4", "--alpha", "2", "--rate", "0.02", "--epochs", "2"]


@dataclass(frozen=True)
class Trained:
    volume: Path
    folder: Path
    events: list[dict[str, Any]]
    again: Callable[..., tuple[int, list[dict[str, Any]]]]

    @property
    def style(self) -> Path:
        return self.volume / "styles" / "flat.safetensors"


@pytest.fixture(scope="module")
def trained(tiny_volume: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """A whole training, by the command."""
    folder = tmp_path_factory.mktemp("train")
    volume = recorded(volumes.copy_volume(tiny_volume, folder / "v"))
    config = folder / "small.yaml"
    config.write_text(yaml.safe_dump(SMALL))
    pairs = write_pairs(folder / "pairs", 5, apart=True)
    (pairs / "photos" / "car1.txt").write_text("a red car <&>\n")
    before = torch.get_num_threads()
    torch.set_num_threads(1)

    def run(*more: str) -> tuple[int, list[dict[str, Any]]]:
        out = io.StringIO()
        arguments = ["train-style", str(pairs), "--volume", str(volume), "--config", str(config), "--insist", "--name", "flat", "--json"]
        with contextlib.redirect_stdout(out):
            status = main([*arguments, *NUMBERS, "--trigger", "<flat>", "--licence", "CC-BY-4.0", *more])
        return status, [json.loads(line) for line in out.getvalue().splitlines()]

    status, events = run()
    assert status == 0
    yield Trained(volume, volume / ".builder" / "training" / "flat", events, run)
    torch.set_num_threads(before)


def of(events, kind):
    return [one for one in events if one["event"] == kind]


@pytest.mark.neural
def test_what_it_tells(trained: Trained) -> None:
    assert of(trained.events, "checked") == [{"event": "checked", "pairs": 5}]
    steps = of(trained.events, "step")
    assert [one["step"] for one in steps] == list(range(1, 9))
    assert {one["steps"] for one in steps} == {8}
    assert all(0 < one["loss"] < 10 for one in steps)
    assert [one["epoch"] for one in of(trained.events, "epoch")] == [1, 2]
    done = trained.events[-1]
    assert (done["event"], done["style"], done["report"]) == ("done", str(trained.style), str(trained.folder / "report.html"))


@pytest.mark.neural
def test_the_file_says_what_it_is(trained: Trained) -> None:
    with safe_open(trained.style, framework="pt") as file:
        said, names = file.metadata(), list(file.keys())
    assert (said["trigger"], said["modelspec.trigger_phrase"]) == ("<flat>", "<flat>")
    assert (said["rank"], said["alpha"], said["licence"], said["pairs"]) == ("4", "2", "CC-BY-4.0", "5")
    assert said["base_revision"] == "0" * 40
    assert len(said["data_sha256"]) == 64
    assert sum(name.endswith(".alpha") for name in names) * 3 == len(names)


@pytest.mark.neural
def test_prompts_begin_with_its_trigger(trained: Trained) -> None:
    assert beside(trained.style).trigger == "<flat>"
    with safe_open(trained.volume / "prompts" / "default.safetensors", framework="pt") as file:
        assert file.metadata()["prompt"] == f"<flat>, {volumes.PROMPT}"


@pytest.mark.neural
def test_serving_fuses_exactly_what_was_trained(trained: Trained) -> None:
    """weights + scale · alpha / rank · up @ down, of the epoch that judged best, to 16 bits."""
    best = min(of(trained.events, "epoch"), key=lambda one: one["judged"])["epoch"]
    factors = factors_at(trained.folder / "checkpoints", 4 * best)
    (plain,) = tiny.cache_of(trained.volume).take("sdxl-unet")
    (fused,) = tiny.cache_of(trained.volume).take("sdxl-unet")
    fuse(fused, fusion(trained.style, 1.0))
    changed = 0
    before = dict(plain.named_parameters())
    for name, weight in fused.named_parameters():
        key = name.removesuffix(".weight")
        down, up = (factors.get(f"{key}.lora_{side}.default.weight") for side in "AB")
        expected = before[name] if down is None or up is None else before[name] + 0.5 * (up @ down)
        changed += down is not None
        assert torch.allclose(weight, expected, atol=2e-4), name
    assert changed * 2 == len(factors) > 0


@pytest.mark.neural
def test_the_style_changes_the_drawing(trained: Trained) -> None:
    brief = tiny.brief(lora_scale=1.0)

    def drawn(style: Path | None):
        return make_redraw(tiny.cache_of(trained.volume), DrawSettings(), style, None, tiny.kept_prompts(trained.volume))(
            tiny.RGB, brief, lambda _: None
        )

    (plain, missing), (styled, told) = drawn(None), drawn(trained.style)
    assert missing
    assert not told
    assert (plain != styled).mean() > 0.01


@pytest.mark.neural
def test_it_was_taught_in_the_vehicle_s_frame(trained: Trained) -> None:
    """Drawing and vehicle lie over each other in the square of the first phase, and the trigger stands before each caption."""
    from builder.train.examples import _example, _kept
    from builder.train.pairs import Pair

    kept = [_kept(path) for path in sorted((trained.folder / "examples").iterdir())]
    examples = [_example(Pair("", Path(), Path(), None, ""), "", one) for one in kept if one]
    assert len(examples) == 5
    for example in examples:
        vehicle, drawing = ((picture < 240).any(-1) for picture in (example.source, example.target))
        assert example.on_vehicle > 0.8
        assert (vehicle & drawing).sum() > 0.8 * (vehicle | drawing).sum()
        columns = np.flatnonzero(drawing.any(0))
        assert (256 - (columns[-1] - columns[0])) / 2 == pytest.approx(256 * 0.06 / 1.12, abs=4)  # the square's margin
        assert example.depth is not None
        assert example.edges.any()
        assert not torch.equal(example.latents[0], example.latents[1])
    page = (trained.folder / "report.html").read_text()
    assert "&lt;flat&gt;, a red car &lt;&amp;&gt;" in page
    assert "&lt;flat&gt;, flat vector illustration" in page


@pytest.mark.neural
def test_what_was_done_is_not_done_again(trained: Trained) -> None:
    made = {path: path.stat().st_mtime_ns for path in trained.folder.glob("examples/*")}
    style = trained.style.read_bytes()
    status, events = trained.again()
    assert status == 0
    assert not of(events, "step")
    assert made == {path: path.stat().st_mtime_ns for path in trained.folder.glob("examples/*")}
    assert trained.style.read_bytes() == style


@pytest.mark.neural
def test_another_training_of_the_same_name(trained: Trained) -> None:
    status, events = trained.again("--seed", "7")
    assert status == 2
    assert "--anew forgets it" in events[-1]["sentence"]


@pytest.mark.neural
def test_verify_knows_a_style_s_base(trained: Trained) -> None:
    assert not [it for it in verify(trained.volume, None, False, lambda *_: None) if it.model == "styles"]
    records = read_lock(trained.volume)
    write_lock(trained.volume, {**records, "sdxl-unet": records["sdxl-unet"].model_copy(update={"revision": "1" * 40})})
    try:
        (found,) = (it for it in verify(trained.volume, None, False, lambda *_: None) if it.model == "styles")
    finally:
        write_lock(trained.volume, records)
    assert found.file == "flat.safetensors"
    assert "trained on revision 000000000000" in found.what


@pytest.mark.neural
def test_the_page(trained: Trained) -> None:
    from tests.support.browser import Witness, chromium, violations

    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        witness = Witness(page, "file://")
        page.goto(f"file://{trained.folder / 'report.html'}")
        assert page.locator("h2").all_inner_texts()[0] == "Loss"
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.locator("img").count() >= 5 * 4 + 4
        assert (witness.said, violations(page)) == ([], [])


# --- before anything is loaded ---


def _broken_svg(folder: Path) -> None:
    (folder / "car0.svg").write_text("<svg><nothing")


def _no_size(folder: Path) -> None:
    (folder / "car0.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>')


def _ribbon(folder: Path) -> None:
    (folder / "car0.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100000 10"/>')


def _entities(folder: Path) -> None:
    (folder / "car0.svg").write_text('<!DOCTYPE svg [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 3 2">&a;</svg>')


def _other_files(folder: Path) -> None:
    (folder / "car0.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 3 2"><image href="/etc/hostname"/></svg>')


def _square(folder: Path) -> None:
    Image.new("RGB", (WIDTH, WIDTH), "white").save(folder / "car2.png")


def _truncated(folder: Path) -> None:
    path = folder / "car3.photo.png"
    path.write_bytes(path.read_bytes()[:300])


def _text(folder: Path) -> None:
    (folder / "car3.photo.png").write_text("no picture at all")


def _too_small(folder: Path) -> None:
    Image.new("RGB", (30, 20)).save(folder / "car3.photo.png")


def _one_photo_twice(folder: Path) -> None:
    shutil.copy(folder / "car0.photo.png", folder / "car3.photo.png")


def _two_of_a_name(folder: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "CAR1.photo.jpg")


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "photo alone": (lambda f: (f / "car1.svg").unlink(), "car1.photo.png: a photograph without drawing"),
    "drawing alone": (lambda f: (f / "car1.photo.png").unlink(), "car1.svg: a drawing without photograph"),
    "caption alone": (lambda f: (f / "else.txt").write_text("a"), "else.txt: a caption without photograph and drawing"),
    "caption in Latin-1": (lambda f: (f / "car1.txt").write_bytes(b"\xe9"), "car1.txt: it is not text in UTF-8"),
    "empty file": (lambda f: (f / "car1.svg").write_text(""), "car1.svg: it is empty"),
    "broken SVG": (_broken_svg, "car0.svg: it is no SVG that can be drawn"),
    "SVG without size": (_no_size, "car0.svg: it has no viewBox"),
    "SVG as a ribbon": (_ribbon, "car0.svg: its sides differ 10000 times"),
    "SVG with entities": (_entities, "car0.svg: it is no plain drawing"),
    "SVG that names a file": (_other_files, "car0.svg: it is no plain drawing"),
    "other aspect": (_square, r"car2.png: it is of 300 × 300, its photograph of 300 × 200"),
    "damaged photo": (_truncated, "car3.photo.png: "),
    "photo that is none": (_text, "car3.photo.png: .*unknown format"),
    "tiny photo": (_too_small, "car3.photo.png: "),
    "same picture": (_one_photo_twice, "car3.photo.png: it is the same picture as car0.photo.png"),
    "two of a name": (_two_of_a_name, "CAR1.photo.jpg and car1.photo.png are of one name"),
    "foreign file": (lambda f: (f / "notes.psd").write_text("a"), "notes.psd: it is neither photograph nor drawing nor caption"),
}


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "right", 5)


def test_right_pairs(right: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(right, tmp_path / "pairs"))
    (folder / ".DS_Store").write_text("")
    (folder / "car4.txt").write_text("\ufeffa  blue\ncar\n")
    heard: list[tuple[int, int]] = []
    pairs = read_pairs(folder, lambda *it: heard.append(it))
    assert [(pair.stem, pair.drawing.suffix, pair.caption) for pair in pairs] == [
        ("car0", ".svg", None),
        ("car1", ".svg", None),
        ("car2", ".png", None),
        ("car3", ".svg", None),
        ("car4", ".svg", "a blue car"),
    ]
    assert all(pair.photo.name == f"{pair.stem}.photo.png" for pair in pairs)
    assert heard == [(k, 5) for k in range(5)]


def test_every_fault_is_named_at_once(right: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One folder with a fault of every kind that does not hide another, by the command: status 2, and nothing was loaded."""
    folder = Path(shutil.copytree(right, tmp_path / "pairs"))
    for name in ("photo alone", "caption alone", "broken SVG", "other aspect", "damaged photo", "foreign file"):
        WRONG[name][0](folder)
    assert main(["train-style", str(folder), "--volume", str(tmp_path), "--json"]) == 2
    failed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert failed["event"] == "failed"
    assert len(failed["problems"]) == 7
    assert failed["problems"][-1].startswith("1 whole pairs: at least 5 are needed")
    assert not (tmp_path / ".builder").exists()


@pytest.mark.parametrize("fault", WRONG)
def test_a_fault_is_named(right: Path, tmp_path: Path, fault: str) -> None:
    import re

    change, said = WRONG[fault]
    folder = Path(shutil.copytree(right, tmp_path / "pairs"))
    keep = {"car0", "car1", "car2", "car3"}
    change(folder)
    for path in list(folder.iterdir()):  # the others need not be read again
        if path.name.split(".")[0].lower() in keep and not re.search(path.name.split(".")[0], said):
            path.unlink()
    with pytest.raises(WrongPairs) as found:
        read_pairs(folder, lambda *_: None)
    assert any(re.match(said, problem) or re.search(said, problem) for problem in found.value.problems), found.value.problems


def test_wrong_use(right: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train-style", str(tmp_path / "none"), "--check"]) == 2
    assert main(["train-style", str(right), "--volume", str(tmp_path), "--name", "../x"]) == 2
    assert main(["train-style", str(right), "--check"]) == 0
    assert "5 pairs, all of them whole" in capsys.readouterr().out


def test_without_networks_it_says_which_are_missing(right: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train-style", str(right), "--volume", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "sdxl-unet" in said
    assert "python -m builder fetch --text" in said
