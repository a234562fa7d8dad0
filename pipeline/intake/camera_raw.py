"""Camera raw by its first bytes; what is a TIFF inside is told by its directories (`pipeline.intake.tiff`).

A raw file's own pictures are previews; what the sensor saw has no colours before somebody develops it.
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
