"""Logs: one JSON object per line on standard output, from structlog and from the standard library alike.

Bodies, headers and secrets are never passed to a logger; what a stranger chose (ids, names) is JSON-escaped,
so a line break in it cannot forge a second line.
"""

import logging
import sys

import structlog


def configure(component: str, level: str = "info") -> None:
    """Route every logger to standard output as JSON lines carrying `component`. Call once, at start."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _component(component),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("nats", "pymilvus", "asyncio", "aiohttp.access", "uvicorn.access", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _component(name: str) -> structlog.typing.Processor:
    def add(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["component"] = name
        return event

    return add


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger; `name` appears in each line as `logger`. It may be got at import: it settles when it first writes."""
    # Without `bind`, which would settle it at once, before `configure` has run.
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name)
    return logger
