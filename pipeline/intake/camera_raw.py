"""Camera raw by its first bytes; kinds that are TIFF inside are told by their directories (`pipeline.intake.tiff`).

A raw file's own pictures are previews, and the sensor's data has no colours before it is developed.
"""

from pipeline.errors import Code, JobError

#: Kind → first bytes, as a regular expression.
MAGIC: tuple[tuple[str, bytes], ...] = (
    ("Canon CR2", rb"II\*\0\x10\0\0\0CR\x02"),
    ("Canon CRW", rb"II....HEAPCCDR"),
    ("Fujifilm RAF", rb"FUJIFILMCCD-RAW"),
    ("Olympus ORF", rb"IIR[OS]|MMOR"),
    ("Panasonic RW2", rb"IIU\0"),
    ("Sigma X3F", rb"FOVb"),
    ("Minolta MRW", rb"\0MRM"),
)


def refusal(subject: str, kind: str = "") -> JobError:
    """UNSUPPORTED_IMAGE, with what to do; `kind` in brackets."""
    name = f"camera raw ({kind})" if kind else "camera raw"
    todo = "send the JPEG or HEIC that the camera wrote beside it, or what a raw converter makes of it"
    return JobError(Code.UNSUPPORTED_IMAGE, f"{subject} is {name}; {todo}.")
