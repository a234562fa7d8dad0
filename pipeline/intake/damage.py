"""The errors and the warning for a file that is not whole."""

from pipeline.errors import Code, JobError

#: The share of a picture that may be missing at its end; every viewer shows such a file.
MAY_MISS = 0.02

CUT_SHORT = (
    "PHOTO_CUT_SHORT: The file is cut short; what is missing at its end (at most 2 % of the picture) was filled from what lies above."
)


def damaged(subject: str, kind: str) -> JobError:
    """The error for a file whose data is not what an encoder writes."""
    return JobError(
        Code.UNSUPPORTED_IMAGE, f"{subject} is damaged: parts of its {kind} data are lost or overwritten; send the file again whole."
    )


def cut_short(subject: str, missing: float) -> JobError:
    """The error for a file that ends too soon; `missing`: the share of the picture."""
    return JobError(
        Code.UNSUPPORTED_IMAGE, f"{subject} is cut short: {max(1, round(100 * missing))} % of it is missing; send the file again whole."
    )


def too_slow(subject: str, seconds: float) -> JobError:
    """The error for a file that is made to take for ever."""
    return JobError(Code.UNSUPPORTED_IMAGE, f"{subject} takes longer than {seconds:g} s to decode.")
