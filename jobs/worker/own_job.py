"""Only our own jobs are executed, whatever is in Redis.

RQ calls any function that a job names, also as a callback, and any web hook. So write access to Redis would allow to
run any code on the worker's machine.
"""

from collections.abc import Callable, Mapping
from typing import Any

from rq.job import Job

from captionloop.jobs.queue.redis_queue import ENTRY_POINTS

_NEVER_OURS = frozenset(
    {"success_callback_name", "failure_callback_name", "stopped_callback_name", "webhooks", "repeats_left"}
)


class ForeignJobError(Exception):
    """A job that names a function which is not one of ours."""


class OwnJob(Job):
    """A job of which only our own fields are used."""

    def restore(self, raw_data: Mapping[bytes, bytes]) -> Any:
        return super().restore(
            {name: value for name, value in raw_data.items() if name.decode(errors="replace") not in _NEVER_OURS}
        )

    @property
    def func(self) -> Callable[..., Any]:
        if self.instance is not None or self.func_name not in ENTRY_POINTS:
            raise ForeignJobError(f"{self.func_name!r} is no job of Captionloop. Somebody else writes to this Redis.")
        return super().func
