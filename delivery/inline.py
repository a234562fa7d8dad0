"""Delivery inside the answer itself: every artifact as a `data:` URI."""

import base64
from collections.abc import Sequence

from delivery.artifact import Artifact, in_order
from pipeline.errors import Code, JobError

#: Bytes of all URIs together. RunPod loses answers above its own limit (10 MB) without a word, so the guard stays below it.
INLINE_LIMIT = 8_000_000


def deliver_inline(artifacts: Sequence[Artifact], limit: int = INLINE_LIMIT) -> dict[str, str]:
    """Name → `data:` URI (base64). `OUTPUT_TOO_LARGE` when the URIs come to more than `limit` bytes in all."""
    files = [
        (artifact.name, f"data:{artifact.content_type.replace(' ', '')};base64,", artifact.content()) for artifact in in_order(artifacts)
    ]
    total = sum(len(head) + (len(data) + 2) // 3 * 4 for _, head, data in files)
    if total > limit:
        raise JobError(
            Code.OUTPUT_TOO_LARGE,
            f"The files come to {total / 1e6:.1f} MB inside the answer and {limit / 1e6:g} MB is the limit; "
            "configure a bucket, or ask for fewer outputs or a smaller size.",
        )
    return {name: head + base64.b64encode(data).decode("ascii") for name, head, data in files}
