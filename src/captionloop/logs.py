"""Logging: text for people or JSON for log collectors, with request and job ids.

A request has an id, which its response returns (`X-Request-ID`) and the jobs that it enqueues inherit; a job's id is
that of its run. So one id finds all lines that a press of a button caused, in the backend and in the worker.
"""

import logging
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from captionloop.printable import lines, one_line

TEXT, JSON = "text", "json"

# Valid ids from clients: they are written into log lines and headers.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

_request: ContextVar[str | None] = ContextVar("request", default=None)
_job: ContextVar[str | None] = ContextVar("job", default=None)

# A line for each request and each plugin.
_TALKATIVE = ("httpx", "alembic")


def current_request() -> str | None:
    """The id of the present request, or of the one that enqueued the present job."""
    return _request.get()


def sane_id(given: object) -> str | None:
    """A client's id if it is valid, else None."""
    return given if isinstance(given, str) and _ID.fullmatch(given) else None


@contextmanager
def belonging_to(*, request: str | None = None, job: str | None = None) -> Iterator[None]:
    """Log lines of this thread in this block get the id of a request or a job."""
    of_request = _request.set(request if request is not None else _request.get())
    of_job = _job.set(job if job is not None else _job.get())
    try:
        yield
    finally:
        _job.reset(of_job)
        _request.reset(of_request)


def log_to_stderr(level: str, *, form: str = TEXT, debug: bool = False) -> None:
    """Set up the logging of this process.

    Args:
        level: the least severe level: debug, info, warning or error.
        form: `TEXT` or `JSON`.
        debug: log everything, libraries included.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(form))
    handler.addFilter(_say_where_it_belongs)
    logging.basicConfig(level=logging.DEBUG if debug else level.upper(), handlers=[handler])
    if not debug:
        for talkative in _TALKATIVE:
            logging.getLogger(talkative).setLevel(logging.WARNING)


def formatter(form: str) -> logging.Formatter:
    """Makes a line of a record that `_say_where_it_belongs` has seen."""
    if form != JSON:
        return _Text("%(asctime)s %(levelname)s %(name)s: %(message)s%(belongs)s")
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s %(request_id)s %(job_id)s",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
        reserved_attrs=_NOT_IN_JSON,
    )


class _Text(logging.Formatter):
    """A record begins at the left and has one line; a traceback is indented, whatever its exception says."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the name of the library)
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    return textwrap.indent(lines(text), "  ", lambda _: True)


# The attributes of every record that say nothing to the reader of a log.
_NOT_IN_JSON = [*vars(logging.makeLogRecord({})), "belongs", "asctime", "message"]


def _say_where_it_belongs(record: logging.LogRecord) -> bool:
    known = [(name, value) for name, value in (("request", _request.get()), ("job", _job.get())) if value]
    record.belongs = f" [{' '.join(f'{name}={value}' for name, value in known)}]" if known else ""
    record.request_id, record.job_id = _request.get(), _job.get()
    return True
