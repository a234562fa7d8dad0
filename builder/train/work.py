"""A style from pairs, in order: check, make ready, train, judge, write, install. What was done is never done again."""

import gc
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from builder.add_style import add_style
from builder.choose import catalogue_of, choose
from builder.errors import BuilderError, WrongOption
from builder.prompts import make as make_prompts
from builder.train.examples import LEAST_ON_VEHICLE, Example, Studio, make_examples, split
from builder.train.files import write_bytes
from builder.train.keep import State, factors_at, path_of, steps_of
from builder.train.loop import NO_ROOM, Training, relieve, train
from builder.train.nets import Nets, names_of, read_nets
from builder.train.objective import Lesson, lesson
from builder.train.options import Hear, Options
from builder.train.pairs import Pair, read_pairs
from builder.train.report import Course, Shown, page
from builder.train.show import drawing
from builder.train.style_file import write_style
from builder.workspace import Workspace, only_builder, remove
from model_cache.cache import open_cache
from model_cache.errors import BrokenModel, MissingModels
from model_cache.loaders import load
from model_cache.needed import SCHEDULER, TEXT
from model_cache.styles import prompted
from model_cache.volume import Volume
from pipeline import __version__, engines, neural
from pipeline import settings as configuration
from pipeline.errors import JobError
from pipeline.phase2_illustrate.diffusion.denoise import UNET
from pipeline.phase2_illustrate.diffusion.depth import make_depth
from pipeline.phase2_illustrate.diffusion.noise_schedule import schedule
from pipeline.settings import Environment, Settings, SettingsError
from pipeline.steps import Brief
from pipeline.values import Rgb

#: How many of the pairs that judge are drawn after each epoch.
PICTURES = 2


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for. `from_step`: take up the checkpoint of this step; `anew`: forget what was trained under the name;
    `insist`: train without a card too."""

    volume: Path
    pairs: Path
    name: str
    options: Options
    config: Path | None = None
    from_step: int | None = None
    anew: bool = False
    insist: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a training happens: what it reads, and the folder that it writes."""

    volume: Volume
    settings: Settings
    environment: Environment
    device: torch.device
    folder: Path
    hear: Hear

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"


def train_style(request: Request, hear: Hear) -> Path:
    """Train a style and install it; where it lies. The page about it is written after each epoch.

    Raises `WrongPairs` before anything is loaded; `BuilderError`.
    """
    pairs = read_pairs(request.pairs, lambda done, of: hear("check", {"done": done, "of": of}))
    hear("checked", {"pairs": len(pairs)})
    with only_builder(request.volume) as workspace:
        place = _place(request, workspace, hear)
        _same_as_before(place, request, pairs)
        try:
            return _trained(place, request, pairs)
        except (MissingModels, BrokenModel) as error:
            raise BuilderError(f"{error}. python -m builder fetch --text brings what a training needs.") from error
        except JobError as error:
            raise BuilderError(error.sentence) from error
        except torch.OutOfMemoryError as error:
            raise BuilderError(NO_ROOM) from error


def _place(request: Request, workspace: Workspace, hear: Hear) -> _Place:
    """Look before anything is loaded: the settings, the card, every file of the networks."""
    try:
        own = configuration.environment()
        settings = configuration.load(request.config or own.pipeline_config)
    except SettingsError as error:
        raise BuilderError(str(error)) from error
    volume = Volume(request.volume, catalogue_of(request.volume))
    # What comes before the drawing is made as serving makes it; the drawing's own networks are read by the training.
    settings = settings.model_copy(update={"steps": settings.steps.model_copy(update={"draw": "classical", "upscale": "classical"})})
    environment = own.model_copy(update={"engine": "neural", "model_volume_path": request.volume})
    first = neural.models_of(engines.neural_steps(environment, settings.steps), settings)
    needed = dict.fromkeys((*first, settings.phase2.depth, SCHEDULER, TEXT, *names_of(settings)))
    if lacking := volume.missing(needed):
        raise BuilderError(f"{MissingModels(lacking)}. python -m builder fetch --text brings what a training needs.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type != "cuda" and not request.insist:
        raise BuilderError("Training needs a CUDA card, and there is none; on the processor it takes days (--insist trains there).")
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    return _Place(volume, settings, environment, device, workspace.training(request.name), hear)


def _same_as_before(place: _Place, request: Request, pairs: Sequence[Pair]) -> None:
    """What a folder of checkpoints was trained with must be what is asked for now. Raises `WrongOption`."""
    changeable = ("epochs", "patience", "licence")
    numbers = {key: value for key, value in request.options.data().items() if key not in changeable}
    asked = {
        "pairs": digest_of(pairs),
        "options": numbers,
        "base": place.volume.revision(UNET),
        "side": place.settings.phase2.side,
    }
    path = place.folder / "asked.json"
    if request.anew or not steps_of(place.checkpoints):
        remove(place.checkpoints)
        remove(place.folder / "pictures")
    elif path.is_file() and json.loads(path.read_text("utf-8")) != asked:
        sentence = f"A style {request.name} of other pairs, options or base is under way here"
        raise WrongOption(f"{sentence}; --anew forgets it, another --name leaves it.")
    write_bytes(path, json.dumps(asked, indent=1).encode())


def digest_of(pairs: Sequence[Pair]) -> str:
    """sha256 of what is trained with: every pair's files and caption."""
    rows = [[pair.stem, pair.digest, pair.caption] for pair in pairs]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _trained(place: _Place, request: Request, pairs: Sequence[Pair]) -> Path:
    options, settings = request.options, place.settings
    captions = [prompted(options.trigger, pair.caption or settings.phase2.sdxl.prompt) for pair in pairs]
    examples = _ready(place, pairs, captions)
    taught, judges = ([examples[k] for k in part] for part in split(len(examples), options.held_back, options.seed))
    brief = brief_of(settings)
    scheduler = load(place.volume, SCHEDULER, torch.float32)
    try:
        about = lesson(options, scheduler, schedule(scheduler, brief.steps, brief.strength, False), brief, settings)
    except ValueError as error:
        raise BuilderError(f"The volume's scheduler cannot be trained with: {error}.") from error
    place.hear("told", {"sentence": f"reading the drawing's networks; {len(taught)} pairs teach, {len(judges)} judge"})
    nets = read_nets(place.volume, settings, place.device, options)
    facts = {
        "Pairs": f"{len(taught)} taught, {len(judges)} held back",
        "Base": place.volume.revision(UNET),
        "Pairs' sha256": digest_of(pairs),
    }
    course = partial(Course, name=request.name, options=options, taught=taught, judges=judges, facts=facts)
    show = partial(_shown, place, nets, about, judges[:PICTURES])

    def after(state: State) -> None:
        show(state)
        _write_page(place, course(state=state, shown=_pictures(place, judges), ended=""))

    state = train(Training(nets, about, taught, judges, place.checkpoints, place.hear, after), request.from_step)
    installed = _installed(place, request, nets, state, pairs)
    _write_page(place, course(state=state, shown=_pictures(place, judges), ended=_sentence(state, installed)))
    place.hear("done", {"style": str(installed), "report": str(place.folder / "report.html"), "sentence": _sentence(state, installed)})
    return installed


def _ready(place: _Place, pairs: Sequence[Pair], captions: Sequence[str]) -> list[Example]:
    """The examples, and the card empty again."""
    steps = engines.build(place.environment, place.settings)
    try:
        cache = open_cache(place.volume, place.device)
        depth = make_depth(cache, place.settings.phase2.depth)
        studio = Studio(replace(steps, depth=depth), cache, place.settings, brief_of(place.settings))
        examples = make_examples(pairs, captions, studio, place.folder / "examples", place.hear)
        cache.relieve()
    finally:
        if steps.warm_up is not None:
            steps.warm_up.close()
    del steps, studio, cache, depth
    gc.collect()
    if place.device.type == "cuda":
        torch.cuda.empty_cache()
    for example in examples:
        if example.on_vehicle < LEAST_ON_VEHICLE:
            share = f"only {100 * example.on_vehicle:.0f} % of the drawing lies on the photographed vehicle"
            place.hear("told", {"sentence": f"{example.stem}: {share}; look whether the two are of one picture"})
    return examples


def brief_of(settings: Settings) -> Brief:
    """What serving's standard drawing is held to, without its control images."""
    sdxl, nets = settings.phase2.sdxl, settings.phase2.controlnet
    return Brief(
        depth=None,
        edges=None,
        seed=42,
        steps=sdxl.num_inference_steps,
        guidance=sdxl.guidance_scale,
        depth_weight=nets.depth_weight,
        canny_weight=nets.canny_weight,
        canny_end=nets.canny_end,
        prompt=sdxl.prompt,
        negative_prompt=sdxl.negative_prompt,
        lora_scale=settings.phase2.lora.scale,
        few_step=False,
        strength=sdxl.strength,
    )


def _shown(place: _Place, nets: Nets, about: Lesson, judges: Sequence[Example], state: State) -> None:
    """Draw some of the pairs that judge, as the nets are now, and keep the pictures."""
    number = state.epochs[-1].number
    for example in judges:
        path = _picture(place, example, number)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            Image.fromarray(drawing(nets, example, about)).save(part, "PNG")
            part.replace(path)
            place.hear("picture", {"epoch": number, "pair": example.stem, "file": str(path)})
    relieve(nets)


def _picture(place: _Place, example: Example, number: int) -> Path:
    key = hashlib.sha256(example.stem.encode()).hexdigest()[:12]  # a stem may be no name for a file
    return place.folder / "pictures" / f"{key}-{number:03d}.png"


def _pictures(place: _Place, judges: Sequence[Example]) -> list[Shown]:
    shown = []
    for example in judges[:PICTURES]:
        paths = sorted(place.folder.glob(f"pictures/{_picture(place, example, 0).name[:12]}-*.png"))
        drawings: dict[int, Rgb] = {int(path.stem[-3:]): np.asarray(Image.open(path)) for path in paths}
        shown.append(Shown(example, drawings))
    return shown


def _installed(place: _Place, request: Request, nets: Nets, state: State, pairs: Sequence[Pair]) -> Path:
    """The factors of the epoch that judged best, written and installed as any style is; the stored prompt gets its trigger."""
    if state.best is None:
        raise BuilderError("No epoch was trained; --epochs must be at least 1.")
    if not path_of(place.checkpoints, state.best.step).is_file():  # an older checkpoint was taken up than the best one's successor
        raise BuilderError(f"The checkpoint of the best epoch ({state.best.number}) is gone; train on, or begin again with --anew.")
    nets.take(factors_at(place.checkpoints, state.best.step))
    about = {
        "base_revision": place.volume.revision(UNET),
        "data_sha256": digest_of(pairs),
        "pairs": str(len(pairs)),
        "worker": __version__,
    }
    made = place.folder / f"{request.name}.safetensors"
    write_style(made, nets, request.name, request.options, about)

    def tell(sentence: str) -> None:
        place.hear("told", {"sentence": sentence})

    installed = add_style(place.volume.path, made, request.name, request.options.trigger, tell)
    make_prompts(place.volume.path, *choose(place.volume.path, request.config, None, False, False).prompt, tell)
    return installed


def _sentence(state: State, installed: Path) -> str:
    best, before = state.best, state.epochs[0].judged
    assert best is not None
    change = 100 * (1 - best.judged / before)
    told = f"{change:.1f} % less than without it" if change > 0 else "not less than without it: look at the pictures before it serves"
    return (
        f"The style of epoch {best.number} is installed as {installed.name}; the loss of the pairs held back is {best.judged:.4f}, {told}."
    )


def _write_page(place: _Place, course: Course) -> None:
    write_bytes(place.folder / "report.html", page(course).encode())
