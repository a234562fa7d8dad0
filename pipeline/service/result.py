"""A finished job as its public result and its files."""

import dataclasses

from delivery import Artifact
from pipeline import __version__
from pipeline.job import Draw, FrameSpec, Job, Quality, Removed, Result, Timings, Versions
from pipeline.outputs.encode import png
from pipeline.outputs.pdf import pdf_from_svg
from pipeline.outputs.report import report_html, shown_settings
from pipeline.run import Finished, intermediates, vehicle_box
from pipeline.settings import Settings
from pipeline.steps import Steps
from pipeline.values import Frame


def result_of(finished: Finished, job: Job, job_id: str, steps: Steps, fetch_ms: int, peak_bytes: int) -> Result:
    """The result before delivery: no URLs, no time of delivery yet."""
    frame, drawing, matte = finished.labels.frame, finished.drawing, finished.plate.matte
    drawn = finished.illustration.drawn_with
    return Result(
        job_id=job_id,
        engine="classical" if steps.name == "classical" else "neural",
        processing_time_ms=fetch_ms + sum(finished.timings.values()),
        timings_ms=Timings(fetch=fetch_ms, deliver=0, **finished.timings),
        peak_vram_mb=round(peak_bytes / 1e6),
        seed=job.seed,
        palette=list(job.palette.colors),
        frame=_frame(frame),
        vehicle_box=vehicle_box(finished),
        removed=[
            Removed(label=f.label, score=round(float(f.score), 3), box=list(finished.plate.frame.to_fractions(f.box)))
            for f in finished.plate.removed
        ],
        draw=Draw(**dataclasses.asdict(drawn)) if drawn else Draw(seed=job.seed, steps=None, depth_weight=None, canny_weight=None),
        quality=Quality(
            iou=None if finished.illustration.iou is None else round(finished.illustration.iou, 4),
            matte_confidence=None if matte.confidence is None else round(float(matte.confidence), 3),
            attempts=finished.illustration.attempts,
            colors_used=drawing.colors_used,
            off_palette_colors=drawing.off_palette_colors,
            regions=finished.labels.regions,
            curves=drawing.curves,
            svg_bytes=len(drawing.svg),
            removed_fraction=round(float((finished.plate.removed_mask & matte.inside).sum() / matte.inside.sum()), 5),
            detail_changed_fraction=round(float(finished.labels.changed), 5),
        ),
        warnings=list(finished.warnings),
        versions=Versions(worker=__version__, models=dict(steps.models)),
    )


def _frame(frame: Frame) -> FrameSpec:
    return FrameSpec(
        width=frame.size,
        height=frame.size,
        scale=frame.scale,
        x0=frame.x0,
        y0=frame.y0,
        photo_width=frame.photo_width,
        photo_height=frame.photo_height,
    )


def artifacts(finished: Finished, job: Job, result: Result, settings: Settings) -> list[Artifact]:
    """Exactly the files that `outputs` names."""
    pictures = intermediates(finished, job) if {"intermediates", "report"} & set(job.outputs) else {}
    made: list[Artifact] = []
    if "svg" in job.outputs:
        made.append(Artifact.of("illustration.svg", finished.drawing.svg))
    if "png" in job.outputs:
        made.append(Artifact.of("preview.png", finished.drawing.png))
    if "pdf" in job.outputs:
        made.append(Artifact.of("illustration.pdf", pdf_from_svg(finished.drawing.svg)))
    if "report" in job.outputs:
        page = report_html(
            photo=finished.photo.rgb,
            svg=finished.drawing.svg,
            intermediates=pictures,
            result=result.public(),
            settings=shown_settings(job, settings),
        )
        made.append(Artifact.of("report.html", page))
    if "intermediates" in job.outputs:
        made += [Artifact.of(f"{name}.png", png(picture)) for name, picture in pictures.items()]
    return made


URLS = {"illustration.svg": "svg_url", "preview.png": "png_url", "report.html": "report_url", "illustration.pdf": "pdf_url"}
