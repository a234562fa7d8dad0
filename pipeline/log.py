"""Logs: one JSON object a line on standard error, with the job's id on every line of a job."""

import logging
import sys

import structlog


def configure(level: str) -> None:
    """Send events of `level` (debug, info, warning, error) and above to standard error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # without local variables: they hold whole jobs, a job's own bucket keys with them
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # the stream of the moment, not of the start
        cache_logger_on_first_use=False,
    )
