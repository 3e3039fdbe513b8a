"""The lines of the worker's log that belong to a run."""

import json
from datetime import datetime, timedelta
from pathlib import Path

from captionloop.backend.health.worker_log import WorkerLog

BEGUN = datetime(2026, 5, 4, 12, 0, 0).astimezone()
ENDED = BEGUN + timedelta(minutes=1)
TEXT = """2026-05-04 11:59:00,000 INFO before: another run
2026-05-04 12:00:10,123 ERROR run: it broke
Traceback (most recent call last):
  ValueError
2026-05-04 12:05:00,000 INFO after: another run
"""


def test_a_run_has_the_lines_between_its_start_and_its_end_with_their_tracebacks(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    path.write_text(TEXT)
    assert WorkerLog.read(path).between(BEGUN, ENDED) == TEXT.splitlines()[1:4]


def test_a_run_that_goes_on_has_all_lines_since_it_began_and_a_waiting_one_none(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    path.write_text(TEXT)
    log = WorkerLog.read(path)
    assert (log.between(BEGUN, None), log.between(None, None)) == (TEXT.splitlines()[1:], [])


def test_where_no_worker_was_started_there_is_no_log(tmp_path: Path) -> None:
    log = WorkerLog.read(tmp_path / "worker.log")
    assert (log.exists, log.between(BEGUN, ENDED)) == (False, [])


def test_lines_of_json_are_shown_as_people_read_them(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    entry = {"time": ENDED.isoformat(), "level": "ERROR", "logger": "run", "message": "it broke", "job_id": "r1"}
    path.write_text(json.dumps(entry) + "\n" + json.dumps({**entry, "exc_info": "Traceback …\nValueError"}) + "\n")

    assert WorkerLog.read(path).between(BEGUN, None) == [
        f"{ENDED:%Y-%m-%d %H:%M:%S} ERROR run: it broke",
        f"{ENDED:%Y-%m-%d %H:%M:%S} ERROR run: it broke\nTraceback …\nValueError",
    ]
