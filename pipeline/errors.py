"""What can go wrong in a job, as one kind of value: a code and one sentence the caller can act on.

The sentences stand where they are raised, as constants or in place. The pages' advice for a code is in `outputs/viewer/texts.js`.
"""

from enum import StrEnum


class Code(StrEnum):
    """The public error codes; `docs/errors.md` says what each asks of the caller."""

    INVALID_INPUT = "INVALID_INPUT"
    INVALID_PALETTE = "INVALID_PALETTE"
    INPUT_UNREACHABLE = "INPUT_UNREACHABLE"
    INPUT_FORBIDDEN = "INPUT_FORBIDDEN"
    INPUT_TOO_LARGE = "INPUT_TOO_LARGE"
    UNSUPPORTED_IMAGE = "UNSUPPORTED_IMAGE"
    NO_VEHICLE = "NO_VEHICLE"
    LOW_IOU = "LOW_IOU"
    MODELS_MISSING = "MODELS_MISSING"
    GPU_MISSING = "GPU_MISSING"
    GPU_OUT_OF_MEMORY = "GPU_OUT_OF_MEMORY"
    GPU_FAILED = "GPU_FAILED"
    DISK_FULL = "DISK_FULL"
    DELIVERY_FAILED = "DELIVERY_FAILED"
    OUTPUT_TOO_LARGE = "OUTPUT_TOO_LARGE"
    TIMED_OUT = "TIMED_OUT"
    CANCELLED = "CANCELLED"
    INTERNAL = "INTERNAL"


#: Codes that the caller causes and can mend by sending something else (exit status 2 in the shell).
CALLERS_FAULT = frozenset(
    {
        Code.INVALID_INPUT,
        Code.INVALID_PALETTE,
        Code.INPUT_UNREACHABLE,
        Code.INPUT_FORBIDDEN,
        Code.INPUT_TOO_LARGE,
        Code.UNSUPPORTED_IMAGE,
    }
)


class JobError(Exception):
    """A failure that the caller can cause or act on.

    `sentence` is one plain sentence: no traceback, secret, worker path or signed URL. `fatal`: not the job but the worker
    is at fault, and it can do no other job either (a card that has failed, a full disk, refused credentials); it should leave.
    """

    def __init__(self, code: Code, sentence: str, *, fatal: bool = False) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code = code
        self.sentence = sentence
        self.fatal = fatal
