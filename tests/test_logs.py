"""What a line of the log says, for people and for what collects logs."""

import json
import logging
import subprocess
import sys

import pytest

from captionloop.logs import belonging_to, current_request, sane_id

_PROGRAM = """
import logging
from captionloop.logs import belonging_to, log_to_stderr
log_to_stderr("info", form={form!r})
log = logging.getLogger("thing")
log.debug("not said")
with belonging_to(request="abc"), belonging_to(job="run-1"):
    log.info("done in %d s", 3, extra={{"seconds": 3}})
try:
    raise ValueError("broken")
except ValueError:
    log.exception("oh")
"""


def _lines(form: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(form=form)], capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()


def test_a_line_for_people_ends_with_the_request_and_the_job_that_it_belongs_to() -> None:
    first, second, *_ = _lines("text")

    assert first.endswith("INFO thing: done in 3 s [request=abc job=run-1]")
    assert second.endswith("ERROR thing: oh")


def test_every_line_of_json_is_an_object_with_its_moment_level_request_and_job() -> None:
    done, failed = map(json.loads, _lines("json"))

    assert done.pop("time").endswith("+00:00")
    assert done == {
        "level": "INFO", "logger": "thing", "message": "done in 3 s", "request_id": "abc", "job_id": "run-1",
        "seconds": 3,
    }  # fmt: skip
    assert failed["request_id"] is None
    assert failed["exc_info"].endswith("ValueError: broken")


def test_what_a_line_belongs_to_ends_with_the_block() -> None:
    with belonging_to(request="outer"):
        with belonging_to(request="inner"):
            pass
        assert current_request() == "outer"
    assert current_request() is None


@pytest.mark.parametrize(
    "given", ["a", "0f3c", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "Root=1-67891233-abcdef:x.y_z"[5:]]
)
def test_an_id_that_can_be_one_is_taken(given: str) -> None:
    assert sane_id(given) == given


@pytest.mark.parametrize("given", [None, 7, "", "a b", "a\nb", "<script>", "-x", "ä", "x" * 129])
def test_what_cannot_be_an_id_is_not_taken(given: object) -> None:
    assert sane_id(given) is None


def test_logging_keeps_its_own_level_for_talkative_libraries() -> None:
    program = _PROGRAM.format(form="text") + '\nlogging.getLogger("httpx").info("a request")'
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "a request" not in done.stderr
    assert logging.getLevelName(logging.INFO) in done.stderr
