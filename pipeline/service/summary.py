"""The one log line that a job leaves behind: its outcome, its costs, and its input."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from pipeline.errors import Code, JobError
from pipeline.values import Photo

log = structlog.get_logger()


@dataclass(slots=True)
class Account:
    """Filled as a job goes through the phases. Holds sizes and counts alone: nothing that a caller wrote, and no address.

    `phases`: milliseconds of each phase that ended, also of the one in which the job failed; `cache`: the model cache's counts before.
    """

    engine: str
    cache: Mapping[str, int]
    phases: dict[str, int] = field(default_factory=dict)
    delivery: str | None = None
    size: int | None = None
    photo: tuple[int, int] | None = None
    input_bytes: int = 0
    output_bytes: dict[str, int] = field(default_factory=dict)

    def phase_ended(self, phase: str, seconds: float) -> None:
        """Note a phase and log it."""
        self.phases[phase] = round(1000 * seconds)
        log.info("phase_done", phase=phase, ms=self.phases[phase])

    def pictured(self, photo: Photo) -> None:
        """Note the photo's width and height."""
        self.photo = (photo.rgb.shape[1], photo.rgb.shape[0])

    def close(self, seconds: float, answer: Mapping[str, Any] | None, error: JobError | None, cache: Mapping[str, int]) -> None:
        """Log the summary. The cache's counts are this job's alone; `seconds` is the whole job's time."""
        told: dict[str, Any] = {"status": "completed"} if error is None else {"status": _status(error), "code": str(error.code)}
        if answer is not None:
            told |= {
                "quality": answer["quality"],
                "warnings": [warning.partition(":")[0] for warning in answer["warnings"]],
                "removed": len(answer["removed"]),
                "peak_vram_mb": answer["peak_vram_mb"],
            }
        log.info(
            "job_summary",
            ms=round(1000 * seconds),
            phases_ms=self.phases,
            engine=self.engine,
            delivery=self.delivery,
            size=self.size,
            photo=self.photo,
            input_bytes=self.input_bytes,
            output_bytes=self.output_bytes,
            cache={name: count - self.cache.get(name, 0) for name, count in cache.items()},
            rss_mb=_resident_mb(),
            **told,
        )


def _status(error: JobError) -> str:
    return "cancelled" if error.code is Code.CANCELLED else "failed"


def _resident_mb() -> int | None:
    """Resident memory of this process in 10^6 bytes; None where the system does not tell it as Linux does (proc(5))."""
    if sys.platform != "linux":
        return None
    with open("/proc/self/statm", encoding="ascii") as pages:  # noqa: PTH123 - the kernel's figures, not a real file
        return round(int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
