"""The one-phase commands, on the intermediates of a finished job."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.library import SHIPPED
from pipeline.shell import console, phases
from tests.support.pictures import save
from tests.support.shell import call


@pytest.fixture(autouse=True)
def _classical(monkeypatch):
    monkeypatch.setenv("ENGINE", "classical")


def test_the_phases_run_again_on_an_edited_drawing(finished, tmp_path):
    folder, result = finished
    edited = np.asarray(Image.open(folder / "illustration.png").convert("RGB")).copy()
    edited[500:540, 480:540] = [250, 10, 5]  # nearly red, as a paint program leaves it
    Image.fromarray(edited).save(tmp_path / "edited.png")
    palette = ",".join(result["palette"])
    done = call(
        "enforce", tmp_path / "edited.png", tmp_path / "labels.png", "--matte", folder / "matte.png", "--palette", palette, "--size", 1024,
        module="pipeline.phases",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    labels = np.asarray(Image.open(tmp_path / "labels.png"))
    assert (labels[510:530, 490:530] == result["palette"].index("#FF0000")).mean() > 0.9
    done = call("vectorize", tmp_path / "labels.png", tmp_path / "o.svg", "--preview", tmp_path / "o.png", module="pipeline.phases")
    assert done.returncode == 0, done.stderr
    assert "#FF0000" in (tmp_path / "o.svg").read_text()
    assert Image.open(tmp_path / "o.png").size == (2048, 2048)


def test_the_first_phases_run_by_themselves(finished, tmp_path):
    folder, result = finished
    plate, matte = folder / "clean_plate.png", folder / "matte.png"
    done = call("sanitize", plate, tmp_path / "plate.png", "--matte", matte, module="pipeline.phases")
    assert done.returncode == 0, done.stderr
    done = call(
        "illustrate",
        tmp_path / "plate.png",
        tmp_path / "d.png",
        "--matte",
        matte,
        "--palette",
        ",".join(result["palette"]),
        module="pipeline.phases",
    )
    assert done.returncode == 0, done.stderr
    colors = {tuple(c) for c in np.asarray(Image.open(tmp_path / "d.png")).reshape(-1, 3).tolist()}
    assert colors <= {tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in result["palette"]}


#: Ways to say what the phases know of a job: options, the colours that the drawing may have, and one that it has to have.
PHASE_KEYS = {
    "a named palette": (["--palette-name", "greys"], "greys", None),
    "an option over a preset": (["--job-preset", "catalogue", "--palette", "000,FFF,C8102E"], ["#000000", "#FFFFFF", "#C8102E"], None),
    "a lock": (["--palette", "000,FFF", "--color-locks", '[{"part":"body","color":"c8102e"}]'], ["#000000", "#FFFFFF"], "#C8102E"),
}  # fmt: skip


@pytest.mark.parametrize("way", PHASE_KEYS)
def test_the_phases_take_the_jobs_words_for_colours(way, finished, tmp_path, capsys):
    options, named, locked = PHASE_KEYS[way]
    colors = named if isinstance(named, list) else list(SHIPPED.palette(named).colors)
    folder, _ = finished
    matte = ["--matte", str(folder / "matte.png")]
    drawn, labels, svg = (str(tmp_path / name) for name in ("drawn.png", "labels.png", "o.svg"))
    for call_ in (
        ["illustrate", str(folder / "clean_plate.png"), drawn, *matte, *options],
        ["enforce", drawn, labels, *matte, *options, "--size", "1024"],
        ["vectorize", labels, svg],
    ):
        assert console.run_app(phases.app, "phases", call_) == 0, capsys.readouterr().err
    flat = Image.open(labels).getpalette()
    carried = ["#{:02X}{:02X}{:02X}".format(*flat[3 * i : 3 * i + 3]) for i in range(len(flat) // 3)]
    wanted = colors + ([locked] if locked else [])
    assert carried[: len(wanted)] == wanted
    assert locked is None or f'fill="{locked}"' in Path(svg).read_text()


def test_a_preset_says_how_a_phase_traces(tmp_path, capsys):
    (tmp_path / "labels.png").write_bytes(GOOD)
    out = str(tmp_path / "o.svg")
    vectorize = ["vectorize", str(tmp_path / "labels.png"), out]
    assert console.run_app(phases.app, "phases", [*vectorize, "--job-preset", "catalogue", "--stroke-width", "5"]) == 0
    text = Path(out).read_text()
    assert 'stroke-width="5"' in text and 'viewBox="0 0 64 64"' not in text
    assert console.run_app(phases.app, "phases", [*vectorize, "--job-preset", "sticker", "--background", "0000FF"]) == 0
    text = Path(out).read_text()
    assert "vector-effect" not in text and "<rect" in text
    for option in (["--canvas", "photo"], ["--stroke", "centerlines"], ["--background", "123456"], ["--job-preset", "none"]):
        assert console.run_app(phases.app, "phases", [*vectorize, *option]) == 2
        assert capsys.readouterr().err.startswith("INVALID_")


def test_a_phase_says_what_a_lock_missed_and_refuses_what_it_cannot_obey(finished, tmp_path, capsys, monkeypatch):
    folder, _ = finished
    out = str(tmp_path / "drawn.png")
    illustrate_ = ["illustrate", str(folder / "clean_plate.png"), out, "--matte", str(folder / "matte.png")]
    missed = ["--color-locks", '[{"point":[0,0],"color":"F00"}]']
    assert console.run_app(phases.app, "phases", [*illustrate_, *missed]) == 0
    assert capsys.readouterr().err.startswith("LOCK_MISSED: ")
    (tmp_path / "mine.yaml").write_text("num_inference_steps: 3")
    monkeypatch.setenv("JOB_PRESETS_PATH", str(tmp_path))
    monkeypatch.setenv("ENGINE", "classical")
    assert console.run_app(phases.app, "phases", [*illustrate_, "--job-preset", "mine"]) == 2
    assert capsys.readouterr().err.startswith("INVALID_INPUT: num_inference_steps")


def test_a_phase_takes_its_palette_from_a_picture(finished, tmp_path, monkeypatch, capsys):
    folder, _ = finished
    reference = np.zeros((40, 40, 3), np.uint8)
    reference[:, 20:] = (200, 16, 46)
    (tmp_path / "logo.png").write_bytes(save(Image.fromarray(reference), "PNG"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/logo.png"
    enforce = ["enforce", str(folder / "illustration.png"), str(tmp_path / "labels.png"), "--matte", str(folder / "matte.png")]
    try:
        assert console.run_app(phases.app, "phases", [*enforce, "--palette-from-url", url]) == 2
        assert capsys.readouterr().err.startswith("INPUT_FORBIDDEN: palette_from_url: ")
        monkeypatch.setenv("ALLOW_PRIVATE_URLS", "1")
        assert console.run_app(phases.app, "phases", [*enforce, "--size", "1024", "--palette-from-url", url]) == 0
    finally:
        server.shutdown()
        server.server_close()
    carried = np.reshape(Image.open(tmp_path / "labels.png").getpalette()[:12], (4, 3)).tolist()
    assert {tuple(color) for color in carried} == {(0, 0, 0), (200, 16, 46), (255, 255, 255), (128, 128, 128)}


def label_image(side: int = 64, colors: int = 3, nothing: int | bytes | None = 3, mode: str = "P", index: int = 0) -> bytes:
    """As `enforce` writes it, or not quite."""
    image = Image.new("P", (side, side), index)
    image.putpalette([0, 0, 255, 255, 255, 255, 0, 0, 0, 90, 90, 90][: 3 * (colors + 1)])
    return save(image.convert(mode), "PNG", **({} if nothing is None else {"transparency": nothing}))


GOOD = label_image()
NO_LABELS = {
    "text": (b"no picture at all", "UNSUPPORTED_IMAGE"),
    "nothing": (b"", "UNSUPPORTED_IMAGE"),
    "a GIF": (save(Image.new("P", (64, 64)), "GIF"), "UNSUPPORTED_IMAGE"),
    "a photo": (save(Image.new("RGB", (64, 64)), "JPEG"), "INVALID_INPUT"),
    "a WebP": (save(Image.new("RGB", (64, 64)), "WEBP"), "INVALID_INPUT"),
    "colours": (label_image(mode="RGB", nothing=None), "INVALID_INPUT"),
    "not square": (save(Image.new("P", (64, 32)), "PNG", transparency=0), "INVALID_INPUT"),
    "no transparency": (label_image(nothing=None), "INVALID_INPUT"),
    "all opaque": (label_image(nothing=b"\xff\xff\xff"), "INVALID_INPUT"),
    "no colours": (label_image(nothing=0), "INVALID_INPUT"),
    "an index without a colour": (label_image(nothing=2, index=3), "INVALID_INPUT"),
    **{f"cut at {n}": (GOOD[:n], "UNSUPPORTED_IMAGE") for n in (8, 9, 20, 33, 60, len(GOOD) // 2)},
    "bytes changed": (GOOD[:60] + bytes(20) + GOOD[80:], "UNSUPPORTED_IMAGE"),
}


@pytest.mark.parametrize("name", NO_LABELS)
def test_a_phase_answers_what_is_no_picture_with_a_typed_code(name, tmp_path, capsys):
    data, code = NO_LABELS[name]
    (tmp_path / "labels.png").write_bytes(data)
    assert console.run_app(phases.app, "phases", ["vectorize", str(tmp_path / "labels.png"), str(tmp_path / "o.svg")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"{code}: ") and len(said.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["labels.png"]


@pytest.mark.parametrize("phase", ["vehicle", "sanitize", "illustrate", "enforce", "vectorize"])
@pytest.mark.parametrize(
    ("given", "out", "code"),
    [
        ("text", "o.png", "UNSUPPORTED_IMAGE"),
        ("none", "o.png", "INPUT_UNREACHABLE"),
        ("text", "", "INVALID_INPUT"),
        ("text", "no/o.png", "INVALID_INPUT"),
    ],
)
def test_every_phase_answers_with_a_typed_code(phase, given, out, code, tmp_path, capsys):
    (tmp_path / "text").write_text("no picture at all")
    matte = [] if phase in ("vehicle", "vectorize") else ["--matte", str(tmp_path / "text")]
    assert console.run_app(phases.app, "phases", [phase, str(tmp_path / given), str(tmp_path / out), *matte]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"{code}: ") and len(said.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


@pytest.mark.parametrize("option", [["--vehicle-box", "a,b,c,d"], ["--vehicle-box", "0,0,1"], ["--vehicle-box", ""], ["--seed", "-1"]])
def test_a_phases_wrong_option_is_named(option, tmp_path, capsys):
    (tmp_path / "square.png").write_bytes(save(Image.new("RGB", (64, 64)), "PNG"))
    square = str(tmp_path / "square.png")
    phase = (
        ["vehicle", square, str(tmp_path / "o.png")]
        if "box" in option[0]
        else ["illustrate", square, str(tmp_path / "o.png"), "--matte", square]
    )
    assert console.run_app(phases.app, "phases", [*phase, *option]) == 2
    assert capsys.readouterr().err.startswith(f"INVALID_INPUT: {option[0][2:].replace('-', '_')}")
