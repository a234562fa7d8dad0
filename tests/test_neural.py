"""The neural engine from its volume to the answer: whole jobs by tiny networks, and what happens when one of them fails."""

import asyncio
import base64
import importlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from structlog.testing import capture_logs

from model_cache.catalogue import load_catalogue
from model_cache.embedded import EFFICIENTNET
from model_cache.errors import MissingModels
from model_cache.volume import Volume
from pipeline import engines, neural, service, settings
from pipeline.errors import Code, JobError
from pipeline.progress import Progress
from pipeline.sample import scene
from tests.support import tiny_volume as volumes
from tests.support.pictures import save

pytestmark = [pytest.mark.neural, pytest.mark.usefixtures("small_windows")]
ROOT = Path(__file__).parents[1]
#: Small enough for a processor; any box that the random detector finds is a find, and no drawing has to look like the photograph.
SMALL = {
    "phase0": {"matte_side": 64, "vehicle_score": 0.0},
    "phase1": {"score_threshold": 0.2, "on_vehicle": 0.0, "box_size_cap": 1.0},
    "phase2": {"side": 256, "iou_retry": {"max_retries": 0}},
}
ON_VOLUME = Volume(Path(), load_catalogue())


@pytest.fixture(scope="session")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


@pytest.fixture(scope="session")
def volume(tiny_volume, tmp_path_factory) -> Path:
    """The tiny volume, with a segmenter whose masks are its whole boxes and a matte that finds a vehicle wherever it looks."""
    copy = volumes.copy_volume(tiny_volume, tmp_path_factory.mktemp("volume") / "v")
    change(copy, "sam", whole_boxes)
    change(copy, "birefnet", everywhere)
    return copy


def test_without_torch_a_network_is_refused_in_one_sentence(volume, config, monkeypatch):
    """As a machine is that installed the classical engine alone."""
    monkeypatch.setitem(sys.modules, "torch", None)
    environment = settings.environment({"ENGINE": "classical", "MODEL_VOLUME_PATH": str(volume)})
    wanted = settings.load(config)
    steps = wanted.steps.model_copy(update={"matte": "neural"})
    with pytest.raises(JobError, match="txt, and torch is not there") as caught:
        engines.build(environment, wanted.model_copy(update={"steps": steps}))
    assert caught.value.code is Code.MODELS_MISSING and caught.value.fatal


def change(volume: Path, name: str, how) -> None:
    path = volume / "models" / name / "model.safetensors"
    tensors = load_file(path)
    path.unlink()
    save_file(how(tensors), path, metadata={"format": "pt"})


def whole_boxes(tensors):
    for name, tensor in tensors.items():
        if "upscale_conv2" in name or ("output_hypernetworks_mlps" in name and "proj_out" in name):
            tensor.fill_(1.0 if name.endswith("bias") else 0.0)
    return tensors


def everywhere(tensors):
    tensors["decoder.conv_out1.0.weight"].zero_()
    tensors["decoder.conv_out1.0.bias"].fill_(4.0)
    return tensors


@pytest.fixture(scope="session")
def sample():
    return scene(seed=5, width=601, height=397)  # sizes that are no multiples of 8


@pytest.fixture(scope="session")
def neural_engine(volume, config) -> service.Worker:
    return service.start(environment(volume), settings.load(config))


def environment(volume, engine="neural", **more):
    return settings.environment({"ENGINE": engine, "MODEL_VOLUME_PATH": str(volume), **more})


@pytest.fixture
def do(neural_engine, sample, tmp_path):
    """One job on the shared engine, or on another record of steps."""
    photo = base64.b64encode(save(Image.fromarray(sample.rgb), "PNG")).decode()

    def run(progress=None, steps=None, name="job", **more):
        place = environment("unused", OUTPUT_DIR=str(tmp_path / "out"))
        worker = service.Worker(place, neural_engine.settings, steps or neural_engine.steps, None)
        job = {"image_base64": photo, "size": 1024, "num_inference_steps": 2, "allow_low_iou": True, "remove": [], **more}
        if steps is not None and steps.redraw is None:
            del job["num_inference_steps"]
        return service.perform(name, job, worker, progress or Progress())

    return run


def cache_of(steps):
    """The model cache behind an engine's steps."""
    return dict(zip(steps.upscale.__code__.co_freevars, steps.upscale.__closure__, strict=True))["cache"].cell_contents


def opened(result, name):
    return np.asarray(Image.open(result["intermediates"][name].removeprefix("file://")))


def test_a_whole_job(do, neural_engine):
    result = do(remove=["text"], outputs=["svg", "png", "report", "intermediates"])
    assert (result["status"], result["engine"]) == ("completed", "neural")
    assert result["draw"] == {"seed": 42, "steps": 2, "depth_weight": 0.6, "canny_weight": 0.4}
    assert 0 <= result["quality"]["iou"] <= 1
    assert result["quality"]["attempts"] == 1
    assert result["quality"]["off_palette_colors"] == 0
    assert result["removed"]
    assert {one["label"] for one in result["removed"]} == {"text"}
    assert {w.partition(":")[0] for w in result["warnings"]} <= {"STYLE_MISSING", "LOW_IOU", "MATTE_UNCERTAIN", "VEHICLE_SMALL"}
    assert any(w.startswith("STYLE_MISSING: ") for w in result["warnings"])
    wanted = set(neural.models_of(frozenset(neural_engine.settings.steps.model_dump()), neural_engine.settings))
    assert set(result["versions"]["models"]) - {EFFICIENTNET} == wanted  # which judges the vehicle where it is here
    for name in ("depth", "edges"):
        control = opened(result, name)
        assert control.shape == (256, 256), "the control image is the drawing's square"
        assert control.max() == 255, "a control image that is not black"
        assert control.std() > 1, "a control image that is not constant"
    assert opened(result, "clean_plate").shape == (1024, 1024, 3)
    assert opened(result, "illustration").shape == (256, 256, 3)
    labels = opened(result, "labels")
    assert labels.shape == (1024, 1024)
    assert (labels < 15).any()
    assert set(np.unique(opened(result, "illustration").reshape(-1, 3), axis=0).ravel()) <= {0, 128, 165, 192, 203, 215, 42, 255}


def svg(result):
    return Path(result["svg_url"].removeprefix("file://")).read_bytes()


@pytest.fixture(scope="session")
def kept():
    return []


@pytest.fixture
def healthy(do, kept):
    """The bytes of the standard job's SVG: what every later one must have again, whatever went wrong in between."""
    if not kept:
        kept.append(svg(do(name="healthy")))
    return kept[0]


def test_the_same_job_gives_the_same_bytes_and_loads_nothing_again(do, neural_engine, healthy):
    cleaned = svg(do(name="cleaned", remove=["text"]))
    loads = dict(cache_of(neural_engine.steps).loads)
    assert svg(do(name="again", remove=["text"])) == cleaned != healthy
    assert svg(do(name="other", seed=7)) != healthy
    assert dict(cache_of(neural_engine.steps).loads) == loads
    assert max(loads.values()) == 1


def test_the_handler_does_a_neural_job(tmp_path, volume, config, sample):
    """As a process of its own, by the real SDK; the shim stands before everything else, for the processor's torch."""
    photo = base64.b64encode(save(Image.fromarray(sample.rgb), "JPEG")).decode()
    job = {"image_base64": photo, "size": 1024, "num_inference_steps": 1, "allow_low_iou": True, "preset": "best", "remove": []}
    (tmp_path / "test_input.json").write_text(json.dumps({"id": "one", "input": job}))
    start = "import runpy, tests.support.torchvision_shim; runpy.run_path('{}', run_name='__main__')".format(ROOT / "handler.py")
    told = {"ENGINE": "neural", "MODEL_VOLUME_PATH": str(volume), "PIPELINE_CONFIG": str(config), "OUTPUT_DIR": str(tmp_path / "out")}
    done = subprocess.run(
        [sys.executable, "-c", start], cwd=tmp_path, env={**os.environ, **told, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "out" / "one" / "result.json").read_text())
    assert (result["engine"], result["draw"]["steps"]) == ("neural", 1)
    assert "model_loaded" in done.stdout + done.stderr


def test_32_bits_are_not_rounded_to_tf32(neural_engine):
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.deterministic


def test_a_missing_file_is_told_before_torch_is_imported(volume, tmp_path):
    copy = volumes.copy_volume(volume, tmp_path / "v")
    (copy / "models" / "birefnet" / "model.safetensors").unlink()
    code = """
import sys
from pipeline import engines, settings
from pipeline.errors import JobError
try:
    engines.build(settings.environment(), settings.load())
except JobError as error:
    print(error)
print("torch" in sys.modules)
"""
    told = {**os.environ, "ENGINE": "auto", "MODEL_VOLUME_PATH": str(copy), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, check=True)
    sentence, imported = done.stdout.strip().splitlines()
    assert sentence.startswith("MODELS_MISSING: ")
    assert "birefnet (model.safetensors)" in sentence
    assert str(copy) not in sentence
    assert imported == "False"


@pytest.mark.parametrize("content", [b"", b"no safetensors", None], ids=["empty", "corrupt", "truncated"])
def test_a_file_that_cannot_be_read_stops_the_start_by_name(volume, tmp_path, content, config):
    copy = volumes.copy_volume(volume, tmp_path / "v")
    path = copy / "models" / "birefnet" / "model.safetensors"
    volumes.replace(path, path.read_bytes()[:-1000] if content is None else content)
    with pytest.raises(JobError, match="birefnet") as caught:
        engines.build(environment(copy, "classical"), mixed(config, matte="neural"))
    assert caught.value.code is Code.MODELS_MISSING


def test_a_wrong_catalogue_on_the_volume_stops_the_start_by_its_key(volume, tmp_path, config):
    copy = volumes.copy_volume(volume, tmp_path / "v")
    (copy / "catalogue.yaml").write_text("birefnet: {dtype: int8}")
    with pytest.raises(settings.SettingsError, match=r"catalogue\.yaml: birefnet\.dtype"):
        engines.build(environment(copy, "classical"), mixed(config, matte="neural"))


def test_no_volume_is_told(config):
    with pytest.raises(JobError, match="MODEL_VOLUME_PATH") as caught:
        engines.build(settings.environment({"ENGINE": "classical"}), mixed(config, upscale="neural"))
    assert caught.value.code is Code.MODELS_MISSING


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_drawing_on_the_processor_wants_to_be_asked_for(volume, config):
    for engine in ("auto", "classical"):
        chosen = mixed(config, draw="neural") if engine == "classical" else settings.load(config)
        with pytest.raises(JobError, match="ENGINE=neural") as caught:
            engines.build(environment(volume, engine), chosen)
        assert caught.value.code is Code.GPU_MISSING


def mixed(config, **choices):
    """The settings with `steps` chosen one by one."""
    loaded = settings.load(config)
    return loaded.model_copy(update={"steps": loaded.steps.model_copy(update=choices)})


@pytest.mark.parametrize(
    ("step", "model"),
    [("matte", "birefnet"), ("upscale", "realesrgan-anime"), ("find", "grounding-dino"), ("inpaint", "lama"), ("mask", "sam")],
)
def test_one_network_alone_serves_under_the_classical_engine(volume, tmp_path, config, do, step, model, sample):
    """Only that network is on the volume; the result says which it was, and the drawing is the classical one."""
    only = tmp_path / "only" / "models"
    only.mkdir(parents=True)
    (only / model).symlink_to(volume / "models" / model)
    steps = engines.build(environment(only.parent, "classical"), mixed(config, **{step: "neural"}))
    result = do(steps=steps, remove=["license plate"], vehicle_box=list(sample.vehicle_box))
    assert result["engine"] == "classical"
    assert result["versions"]["models"][model] == "unrecorded"
    assert ("rapidocr" in result["versions"]["models"]) == (step != "find")
    assert result["quality"]["iou"] is None
    assert steps.expected_seconds[model] > 0
    with pytest.raises(JobError, match="prompt steers the neural drawing"):
        do(steps=steps, prompt="a car")


def test_a_classical_mask_is_asked_only_for_what_it_can_mask(volume, config):
    assert engines.build(environment(volume, "classical"), mixed(config, find="neural")).finds == {
        "license plate",
        "text",
        "brand badge",
        "car logo",
    }
    both = engines.build(environment(volume, "classical"), mixed(config, find="neural", mask="neural"))
    assert both.finds == {"*"}


def test_the_first_drawing_at_start_up_finds_what_no_file_shows(neural_engine):
    """On a card it is made before any job; here by hand: it draws, and a network that answers nonsense is told."""
    neural._first_drawing(cache_of(neural_engine.steps), neural_engine.steps.redraw, neural_engine.settings)
    parameter = next(cache_of(neural_engine.steps)._kept["sdxl-vae"].networks[0].parameters())
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter.fill_(float("nan"))
    try:
        with pytest.raises(RuntimeError):
            neural._first_drawing(cache_of(neural_engine.steps), neural_engine.steps.redraw, neural_engine.settings)
    finally:
        with torch.no_grad():
            parameter.copy_(before)


STEPS = ("find", "mask", "inpaint", "look", "depth", "redraw", "upscale")


def removing(step):
    """What a job has to remove for a step, or a network, to be asked; a job that removes nothing is over far sooner."""
    return ["text"] if step in ("find", "mask", "inpaint", "grounding-dino", "sam", "lama") else []


def failing(steps, name, times, error):
    """The engine with one step that fails its first calls, inside the guard, as a network would."""
    cache, left = cache_of(steps), [times]
    lean = []
    step = dict(zip(getattr(steps, name).__code__.co_freevars, getattr(steps, name).__closure__, strict=True))
    inner = dict(zip(step["attempt"].cell_contents.__code__.co_freevars, step["attempt"].cell_contents.__closure__, strict=True))
    real = inner["step"].cell_contents

    def fails(*args):
        lean.append(cache.lean)
        if left[0]:
            left[0] -= 1
            raise error
        return real(*args)

    return replace(steps, **{name: neural._guard(cache, fails)}), lean


@pytest.mark.parametrize("step", STEPS)
def test_out_of_memory_is_tried_again_in_a_leaner_mode(do, neural_engine, step):
    steps, lean = failing(neural_engine.steps, step, 1, torch.OutOfMemoryError("CUDA out of memory"))
    assert do(steps=steps, remove=removing(step))["status"] == "completed"
    assert lean[:2] == [False, True]
    assert not cache_of(neural_engine.steps).lean


def test_out_of_memory_twice_ends_the_job_and_the_next_is_unharmed(do, neural_engine, healthy):
    for step in STEPS:
        steps, lean = failing(neural_engine.steps, step, 2, torch.OutOfMemoryError("CUDA out of memory"))
        with pytest.raises(JobError) as caught:
            do(steps=steps, remove=removing(step))
        assert caught.value.code is Code.GPU_OUT_OF_MEMORY
        assert lean == [False, True]
    assert svg(do()) == healthy


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), Code.GPU_FAILED),
        (MissingModels({"lama": ("model.safetensors",)}), Code.MODELS_MISSING),
    ],
)
def test_a_failed_card_or_a_vanished_volume_is_the_workers_fault(do, neural_engine, error, code):
    steps, calls = failing(neural_engine.steps, "depth", 2, error)
    with pytest.raises(JobError) as caught:
        do(steps=steps)
    assert (caught.value.code, caught.value.fatal) == (code, True)
    assert calls == [False]  # not tried again


def test_another_runtime_error_is_a_bug_and_not_the_cards(do, neural_engine):
    steps, _ = failing(neural_engine.steps, "depth", 1, RuntimeError("shapes do not match"))
    with pytest.raises(JobError) as caught:
        do(steps=steps)
    assert (caught.value.code, caught.value.fatal) == (Code.INTERNAL, False)


def test_a_full_card_asks_for_another_worker(monkeypatch, neural_engine, sample, tmp_path, volume, config):
    for name, value in {"ENGINE": "neural", "MODEL_VOLUME_PATH": str(volume), "PIPELINE_CONFIG": str(config)}.items():
        monkeypatch.setenv(name, value)
    handler = importlib.import_module("handler")
    steps, _ = failing(neural_engine.steps, "depth", 2, torch.OutOfMemoryError("CUDA out of memory"))
    place = environment(volume, OUTPUT_DIR=str(tmp_path / "out"))
    monkeypatch.setattr(handler, "worker", lambda: service.Worker(place, neural_engine.settings, steps, None))
    photo = base64.b64encode(save(Image.fromarray(sample.rgb), "PNG")).decode()
    answer = asyncio.run(handler.handler({"id": "full", "input": {"image_base64": photo, "size": 1024, "remove": []}}))
    assert answer["error"].startswith("GPU_OUT_OF_MEMORY: ")
    assert answer["refresh_worker"] is True
    assert not (tmp_path / "out").exists()


def test_a_network_that_answers_nonsense_is_no_success_and_harms_no_other_job(do, neural_engine, healthy):
    """It is a bug of the worker's: the caller gets an id, and the log names the network under it."""
    cache = cache_of(neural_engine.steps)
    for name in (
        "grounding-dino",
        "sam",
        "lama",
        "birefnet",
        "depth-anything",
        "sdxl-unet",
        "controlnet-canny",
        "sdxl-vae",
        "realesrgan-anime",
    ):
        network = cache._kept[name].networks[0]
        parameter = next(p for _, p in network.named_parameters() if p.ndim > 1)
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter.fill_(float("nan"))
        try:
            with capture_logs() as logged, pytest.raises(JobError, match="INTERNAL: ") as caught:
                do(remove=removing(name))
        finally:
            with torch.no_grad():
                parameter.copy_(before)
        (bug,) = [event for event in logged if event["event"] == "internal_error"]
        assert bug["error_id"] in caught.value.sentence
        assert re.search(f"{name}|sdxl", str(bug["exc_info"]))
    assert svg(do()) == healthy


def test_cancelling_ends_the_job_at_that_step_and_harms_no_other(do, tmp_path, healthy):
    for step in ("find", "mask", "inpaint", "controls", "draw", "grade", "upscale", "regions"):
        seen = []
        progress = Progress(interval=0.0)

        def send(report, step=step, seen=seen, progress=progress):
            seen.append(report.step)
            if report.step == step:
                progress.cancelled.set()

        progress.send = send
        with pytest.raises(JobError) as caught:
            do(progress, remove=removing(step))
        assert caught.value.code is Code.CANCELLED
        assert seen[-1] == step
        assert not (tmp_path / "out").exists()
    assert svg(do()) == healthy


def test_another_prompt_needs_the_text_encoders_and_says_so_without_them(volume, tmp_path, config, do):
    copy = volumes.copy_volume(volume, tmp_path / "v")
    for path in (copy / "models" / "sdxl-text").rglob("*.safetensors"):
        path.unlink()
    steps = service.start(environment(copy), settings.load(config)).steps
    assert do(steps=steps, num_inference_steps=1)["status"] == "completed"
    with pytest.raises(JobError, match="sdxl-text") as caught:
        do(steps=steps, prompt="a red car", num_inference_steps=1)
    assert caught.value.code is Code.MODELS_MISSING
    assert cache_of(steps).loads["sdxl-text"] == 0


def test_prompts_that_are_not_those_in_force_are_told_at_the_start_before_torch_is_imported(volume, tmp_path, config):
    """Whether the setting's prompt or the style's trigger is another than the stored one; with the text encoders there it is served."""
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**SMALL, "phase2": {**SMALL["phase2"], "sdxl": {"prompt": "a red car"}}}))
    styled, plain = (volumes.copy_volume(volume, tmp_path / name) for name in ("styled", "plain"))
    volumes.write_style(styled, trigger="<flt_vctr_style>")
    code = """
import sys
from pathlib import Path
from pipeline import neural, settings
from pipeline.errors import JobError
for path, config in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        neural.needed(Path(path), frozenset({"draw"}), settings.load(Path(config)))
        print("served")
    except JobError as error:
        print(error)
print("torch" in sys.modules)
"""

    def start():
        told = [str(it) for pair in ((styled, config), (plain, other), (plain, config)) for it in pair]
        done = subprocess.run(
            [sys.executable, "-c", code, *told], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
        )
        return [line for line in done.stdout.strip().splitlines() if "prompts_not_stored" not in line]

    assert start() == ["served"] * 3 + ["False"]
    for copy in (styled, plain):
        (copy / "models" / "sdxl-text" / "text_encoder" / "model.safetensors").unlink()
    *sentences, imported = start()
    assert imported == "False"
    said = "MODELS_MISSING: prompts/default.safetensors cannot be used: its embeddings are not those of the prompts in force"
    assert [it.startswith(said) for it in sentences] == [True, True, False]
    assert "python -m builder fetch" in sentences[0]
    assert sentences[2] == "served"


def test_a_draft_is_drawn_in_few_steps_or_says_that_it_cannot(volume, tmp_path, config, do, neural_engine):
    assert neural_engine.steps.few_step
    copy = volumes.copy_volume(volume, tmp_path / "v")
    (copy / "models" / "lcm-lora" / "pytorch_lora_weights.safetensors").unlink()
    steps = service.start(environment(copy), settings.load(config)).steps
    result = do(steps=steps, preset="draft")
    assert any(w.startswith("FAST_LORA_MISSING: ") for w in result["warnings"])


def test_a_job_that_comes_while_the_networks_are_built(volume, config, do):
    """It makes modules of its own meanwhile: its attentions are fused."""
    for _ in range(2):
        steps = service.start(environment(volume), settings.load(config)).steps
        assert do(steps=steps, num_inference_steps=1)["status"] == "completed"
