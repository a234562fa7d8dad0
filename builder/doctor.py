"""Does this deployment work? Every model read, every step run on the sample picture with the volume's own weights, one page about it.

Each step runs in its own engine, built as the worker builds it, in which only this step is neural. So a missing or broken model fails its
own step and no other. At the end the whole engine does a whole job.
"""

import gc
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from builder import doctor_machine as machine
from builder.add_style import check
from builder.choose import catalogue_of, prompt_of
from builder.doctor_page import Check, ModelRow, Report, page
from builder.doctor_sample import Answer, Clock, Picture, Sample, make_sample
from builder.doctor_steps import EXAMINATIONS, UNREPEATED
from builder.errors import BuilderError, writing
from builder.tell import Tell, duration
from builder.verify import STAMP, verify
from builder.workspace import write_whole
from model_cache.cache import open_cache
from model_cache.errors import BrokenModel, MissingModels
from model_cache.loaders import load, modules
from model_cache.styles import beside, in_force
from model_cache.volume import Volume
from pipeline import engines, neural
from pipeline import settings as configuration
from pipeline.errors import JobError
from pipeline.job import Job
from pipeline.phase2_illustrate.diffusion.draw import DrawSettings, make_redraw
from pipeline.phase2_illustrate.diffusion.nets import save_compiled
from pipeline.progress import Progress
from pipeline.run import Finished, run
from pipeline.settings import Environment, Settings, SettingsError, StepChoices
from pipeline.steps import Brief, Steps
from pipeline.values import Photo

#: The sample's width and height.
SIZE = (1600, 1066)
#: The answer to a drawing on the processor where nobody insists: it takes hours.
NO_CARD = "There is no CUDA card; on the processor the drawing takes hours, and a worker would refuse it."


@dataclass(frozen=True, slots=True)
class _Ward:
    """What all examinations share. `insist`: draw on the processor too."""

    volume: Volume
    environment: Environment
    settings: Settings
    sample: Sample
    device: torch.device
    insist: bool
    tell: Tell


def doctor(
    volume: Path,
    out: Path,
    tell: Tell,
    config: Path | None = None,
    compile_now: bool = False,
    insist: bool = False,
    size: tuple[int, int] = SIZE,
) -> bool:
    """Examine the volume on this machine, write the page `out` (HTML) and return whether everything is ok.

    `config`: the deployment's settings file, PIPELINE_CONFIG's by default; `compile_now`: on a card, also fill VOLUME/compiled;
    `insist`: draw without a card too; `size` of the sample.
    Raises `BuilderError` where nothing can be examined at all, or the page not be written.
    """
    began = time.perf_counter()
    ward = _admit(volume, config, insist, size, tell)
    wanted = engines.neural_steps(ward.environment, ward.settings.steps)
    tell(f"doctor: on {machine.card(ward.device)}")
    models = [_model(ward, name) for name in neural.models_of(wanted, ward.settings)]
    checks = [_volume(ward, "draw" in wanted), *([_style(ward)] if "draw" in wanted else [])]
    if compile_now and "draw" in wanted:
        checks.append(_compiled(ward) if ward.device.type == "cuda" else Check("Compile", Answer("skipped", NO_CARD)))
    for step in dict.fromkeys(step for _, step, _ in EXAMINATIONS):
        checks += _examined(ward, step, step in wanted)
    checks.append(_whole_job(ward))
    report = Report(machine.card(ward.device), machine.facts(ward.volume, ward.device, time.perf_counter() - began), models, checks)
    with writing(str(out)):
        write_whole(out, page(report))
    tell(report.sentence)
    tell(f"doctor: {out}")
    return report.fine


def _admit(volume: Path, config: Path | None, insist: bool, size: tuple[int, int], tell: Tell) -> _Ward:
    try:
        own = configuration.environment()
        settings = configuration.load(config or own.pipeline_config)
        environment = own.model_copy(update={"engine": "neural", "model_volume_path": volume})
    except SettingsError as error:
        raise BuilderError(str(error)) from error
    if not volume.is_dir():
        raise BuilderError(f"There is no volume at {volume}.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sample = make_sample(size, settings)
    return _Ward(Volume(volume, catalogue_of(volume)), environment, settings, sample, device, insist, tell)


def _volume(ward: _Ward, draws: bool) -> Check:
    """What the lock file says, by sizes and time stamps; where it `draws`, also whether the stored prompt is the one in force."""
    prompt = prompt_of(ward.settings.model_dump(), ward.volume) if draws else None
    found = verify(ward.volume.path, None, False, lambda *_: None, prompt)
    wrong = [str(it) for it in found if it.what != STAMP]
    if wrong:
        told = f"{len(wrong)} of its files {'is' if len(wrong) == 1 else 'are'} not as recorded; python -m builder verify names each."
        return Check("Volume", Answer("suspicious", told, {"First": "; ".join(wrong[:4])}))
    if found:
        told = (
            f"Every file has its recorded size, and {len(found)} another time stamp: python -m builder fetch looks at their content once."
        )
        return Check("Volume", Answer("ok", told))
    return Check("Volume", Answer("ok", "Every file has the size and the time stamp that the builder recorded."))


def _style(ward: _Ward) -> Check:
    """Which style is fused, which words call it, and whether it is known how strong it is meant to be."""
    return Check("Style", _told(lambda: _style_answer(ward)))


def _style_answer(ward: _Ward) -> Answer:
    phase2 = ward.settings.phase2
    try:
        style = ward.volume.style(phase2.lora.file)
        if style is None:
            return Answer("ok", "No style is installed; the drawing has the base model's style.")
        trigger, lora = beside(style).trigger, check(ward.volume.path, style)
        prompt = in_force(style, phase2.sdxl.prompt)
    except (MissingModels, BrokenModel, BuilderError, ValueError) as error:
        return Answer("failed", f"{str(error).rstrip('.')}.")
    ranks, alphas = (", ".join(f"{one:g}" for one in sorted(set(them))) for them in (lora.ranks, lora.alphas.values()))
    facts = {
        "File": style.name,
        "Trigger": {None: "unknown", "": "none needed"}.get(trigger, trigger or ""),
        "Prompt": prompt,
        "Rank": ranks,
        "Alpha": alphas or "unknown, taken as the rank",
        "Scale": f"{phase2.lora.scale:g}",
    }
    if trigger is None:
        again = f"python -m builder add-style FILE --name {style.stem} --trigger WORDS"
        return Answer("suspicious", f"Nobody has said which words call the style, so it may hardly show: {again}.", facts)
    return Answer("ok", "The prompt begins with the words that call the style." if trigger else "The style needs no trigger.", facts)


def _model(ward: _Ward, name: str) -> ModelRow:
    """Read one model to the device, and let it go."""
    ward.tell(f"doctor: reading {name}")
    dtype: torch.dtype = getattr(torch, ward.volume.catalogue[name].dtype) if ward.device.type == "cuda" else torch.float32
    start = time.perf_counter()
    try:
        networks = modules(load(ward.volume, name, dtype))
        for network in networks:
            network.to(ward.device)
        seconds = time.perf_counter() - start
        size = sum(p.numel() * p.element_size() for network in networks for p in network.parameters())
        return ModelRow(name, ward.volume.revision(name), str(dtype).removeprefix("torch."), size, seconds, "")
    except (MissingModels, BrokenModel, torch.OutOfMemoryError) as error:
        return ModelRow(name, "", "", 0, None, str(error))
    finally:
        networks = ()
        _release()


def _examined(ward: _Ward, step: str, neural_step: bool) -> list[Check]:
    """All examinations of one step of the settings, on one engine in which that step alone is neural."""
    named = [(name, examine) for name, of, examine in EXAMINATIONS if of == step]
    if not neural_step:
        return [Check(name, Answer("skipped", f"steps.{step} is classical in the settings.")) for name, _ in named]
    if step == "draw" and ward.device.type != "cuda" and not ward.insist:
        return [Check(name, Answer("skipped", NO_CARD)) for name, _ in named]
    choices = StepChoices.model_validate({each: "neural" if each == step else "classical" for each in StepChoices.model_fields})
    settings = ward.settings.model_copy(update={"steps": choices})
    names = ",".join(neural.models_of(frozenset({step}), settings))
    advice = f"python -m builder verify --only {names} reads its files; steps.{step}: classical in the settings does without them."
    checks = []
    with _engine(ward, settings, step) as (steps, loading, failure):
        for name, examine in named:
            ward.tell(f"doctor: {name.lower()}")
            if steps is None:
                checks.append(Check(name, failure, loading, advice=advice))
                continue
            peak = steps.watch_memory()
            once = partial(examine, steps, ward.sample, settings, _clock(ward.device))
            answer = _told(once if name == "Draw" else partial(_twice, once))  # the drawing repeats itself
            checks.append(Check(name, answer, loading, peak(), advice))
    return checks


@contextmanager
def _engine(ward: _Ward, settings: Settings, what: str) -> Iterator[tuple[Steps | None, float, Answer]]:
    """An engine that is ready, the seconds that this took, and where there is none, why."""
    start = time.perf_counter()
    made: list[Steps] = []

    def build() -> Answer:
        made.append(engines.build(ward.environment, settings))
        if made[0].warm_up is not None:
            made[0].warm_up.join()
        return Answer("ok", what)

    answer = _told(build)
    try:
        yield (made[0] if answer.verdict == "ok" else None), time.perf_counter() - start, answer
    finally:
        if made and made[0].warm_up is not None:
            made[0].warm_up.close()
        made.clear()
        _release()


def _told(examine: Callable[[], Answer]) -> Answer:
    """The answer, or the failure as one: nothing that a step raises may end the examination of the others."""
    try:
        return examine()
    except JobError as error:
        return Answer("failed", error.sentence)
    except Exception as error:  # noqa: BLE001 - it is reported with its traceback, which is what the page is for
        lines = "".join(traceback.format_exception(error)[-6:])
        words = " ".join(str(error).split())[:300].rstrip(".")
        return Answer("failed", f"{type(error).__name__}: {words}.", {"Traceback": lines})


def _twice(examine: Callable[[], Answer]) -> Answer:
    """The second answer, whose seconds are those of a warm worker; it must be the first one."""
    first, second = examine(), examine()
    same = all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first.pictures, second.pictures, strict=True))
    facts = {**second.facts, "The same again": "identical" if same else "different"}
    if same:
        return replace(second, facts=facts)
    return replace(second, verdict="suspicious", sentence=f"{UNREPEATED[0].upper()}{UNREPEATED[1:]}. {second.sentence}", facts=facts)


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _clock(device: torch.device) -> Clock:
    """Seconds by the card's own events where there is a card."""

    def timed(call: Callable[[], Any]) -> tuple[Any, float]:
        if device.type != "cuda":
            start = time.perf_counter()
            return call(), time.perf_counter() - start
        event: Any = torch.cuda.Event
        first, last = event(enable_timing=True), event(enable_timing=True)
        first.record()
        answer = call()
        last.record()
        torch.cuda.synchronize(device)
        return answer, float(first.elapsed_time(last)) / 1000

    return timed


def _whole_job(ward: _Ward) -> Check:
    """A job as a caller would send it, by the whole engine."""
    if ward.device.type != "cuda" and not ward.insist:
        return Check("Whole job", Answer("skipped", NO_CARD))
    ward.tell("doctor: a whole job")
    with _engine(ward, ward.settings, "whole") as (steps, loading, failure):
        if steps is None:
            return Check("Whole job", failure, loading)
        peak = steps.watch_memory()
        photo = Photo(ward.sample.scene.rgb, None, "0" * 64)
        job = Job(image_base64="-", allow_low_iou=True, canvas="photo", outputs=["svg"])
        start = time.perf_counter()
        made: list[Finished] = []

        def work() -> Answer:
            made.append(run(photo, None, job, steps, ward.settings, Progress()))
            return Answer("ok", "")

        answer = _told(work)
        seconds = time.perf_counter() - start
        if made:
            answer = _finished(ward, made[0], seconds)
        return Check("Whole job", answer, loading, peak())


def _finished(ward: _Ward, done: Finished, seconds: float) -> Answer:
    drawing, drawn, part = done.drawing, done.illustration, ward.sample.part
    small = ward.sample.at(drawn.rgb.shape[0]).part
    pictures = [
        Picture("Photo", ward.sample.scene.rgb),
        Picture("Clean plate", done.plate.rgb[part]),
        Picture("Matte", done.plate.matte.alpha[part]),
        Picture("Illustration", drawn.rgb[small]),
        Picture("The SVG", drawing.svg),
    ]
    facts = {
        "IoU": "–" if drawn.iou is None else f"{drawn.iou:.3f}",
        "Attempts": str(drawn.attempts),
        "Removed": str(len(done.plate.removed)),
        "Colours": str(drawing.colors_used),
        "Off-palette colours": str(drawing.off_palette_colors),
        "Regions": str(done.labels.regions),
        "Curves": str(drawing.curves),
        "SVG": f"{len(drawing.svg) / 1000:.0f} kB",
    }
    notes = {warning for warning in done.warnings if warning.startswith("STYLE_")}
    facts |= {"Notes": " ".join(sorted(note.partition(": ")[2] for note in notes))} if notes else {}
    doubts = [warning.partition(": ")[2] or warning for warning in done.warnings if warning not in notes]
    if drawing.off_palette_colors:
        doubts.append(f"{drawing.off_palette_colors} colours are none of the palette's.")
    told = " ".join(doubts) or f"The sample became an illustration in {duration(seconds)}."
    by_phase = {phase: milliseconds / 1000 for phase, milliseconds in done.timings.items()}
    return Answer("suspicious" if doubts else "ok", told, facts, tuple(pictures), by_phase)


def _compiled(ward: _Ward) -> Check:
    """Compile the drawing's blocks and keep the code on the volume, for the sides and guidances that are served."""
    ward.tell("doctor: compiling the drawing (minutes)")
    start = time.perf_counter()

    def work() -> Answer:
        phase2 = ward.settings.phase2
        cache = open_cache(ward.volume, ward.device)
        folder = ward.volume.path / "compiled"
        ways = DrawSettings(
            nets=phase2.controlnet.nets,
            fuse_qkv=phase2.sdxl.fuse_qkv,
            channels_last=phase2.sdxl.channels_last,
            compile=True,
            compile_cache=folder,
            compile_now=True,
        )
        fast = neural.fast_lora(ward.volume)
        redraw = make_redraw(cache, ways, ward.volume.style(phase2.lora.file), fast, ward.volume.prompts())
        small = ward.sample.at(phase2.side)
        brief = _two_steps(ward, small)
        redraw(small.rgb, brief, lambda _: None)
        if fast is not None:
            redraw(small.rgb, replace(brief, few_step=True, guidance=phase2.presets.draft.guidance_scale), lambda _: None)
        path = save_compiled(folder, ward.device)
        facts = {"File": f"compiled/{path.name}", "Size": f"{path.stat().st_size / 1e6:.1f} MB"}
        return Answer("ok", "The compiled code is on the volume; every worker with this card and this torch starts with it.", facts)

    answer = _told(work)
    _release()
    return Check("Compile", replace(answer, seconds={"compile": time.perf_counter() - start}))


def _two_steps(ward: _Ward, small: Sample) -> Brief:
    phase2 = ward.settings.phase2
    return Brief(
        depth=small.inside.astype("uint8") * 255,
        edges=small.inside.astype("uint8") * 255,
        seed=42,
        steps=2,
        guidance=phase2.sdxl.guidance_scale,
        depth_weight=phase2.controlnet.depth_weight,
        canny_weight=phase2.controlnet.canny_weight,
        canny_end=1.0,
        prompt=phase2.sdxl.prompt,
        negative_prompt=phase2.sdxl.negative_prompt,
        lora_scale=phase2.lora.scale,
        few_step=False,
        strength=phase2.sdxl.strength,
    )
