"""A whole project, a real worker that is killed on the way, and the order in which Label Studio then asks."""

from pathlib import Path

import pytest
from benchmarks.annotate import walk
from tests.support.servers import LabelStudioServer

_TASKS = 120


@pytest.mark.slow
@pytest.mark.faults
def test_a_project_is_captioned_once_and_asked_about_in_order_although_its_worker_is_killed_twice(
    label_studio_server: LabelStudioServer, redis_url: str, tmp_path: Path
) -> None:
    found = walk(tmp_path / "home", label_studio_server, redis_url, tasks=_TASKS, kills=2)

    assert found.attempts == 3
    assert found.per_task == {1: _TASKS}
    assert found.order_matches == 50
    assert (found.renewed, found.labelled_untouched) == (_TASKS - 50, 50)
