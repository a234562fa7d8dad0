"""Logs: one JSON object a line on standard error, with the job's id on every line of a job, never longer than RunPod keeps."""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import structlog

#: Characters of a line, all of them ASCII; RunPod cuts longer messages off, and half a JSON object is no line.
MOST = 4096

_CUT = " … "


def _unheard(_: Mapping[str, Any]) -> None:
    return None


def configure(level: str, heard: Callable[[Mapping[str, Any]], None] = _unheard) -> None:
    """Send events of `level` (debug, info, warning, error) and above to standard error; `heard` is given each as it stands there."""

    def line(logger: object, method: str, event: structlog.typing.EventDict) -> str:
        text = bounded_json(logger, method, event)  # shortens the event itself
        heard(event)
        return text

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # without local variables: they hold whole jobs, a job's own bucket keys with them
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),  # the stream of the moment; a line and its end in one write
        cache_logger_on_first_use=False,
    )


def _json(value: object) -> str:
    return json.dumps(value, default=str)


def bounded_json(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    """The event as one line of JSON; as long as it is longer than `MOST`, its longest value gives up its middle half."""
    text = _json(event)
    while len(text) > MOST:
        sizes = {key: len(_json(value)) for key, value in event.items()}
        longest = max(sizes, key=sizes.__getitem__)
        if sizes[longest] < MOST // 64:  # made of its keys alone, which this project chooses
            raise ValueError("a log line has too many keys")
        event[longest] = _without_middle(event[longest])
        text = _json(event)
    return text


def _without_middle(value: Any) -> str:
    """The first and the last quarter of a text, or of a value's JSON: a traceback's last lines say most."""
    text = value if isinstance(value, str) else _json(value)
    quarter = len(text) // 4
    return text[:quarter].removesuffix(_CUT) + _CUT + text[len(text) - quarter :]
