"""Which work a worker takes (`captionloop worker --queues`)."""

from contextlib import closing
from pathlib import Path

import pytest
from tests.support.forked import forked_command
from tests.support.models import add_project
from tests.support.processes import until

from captionloop.backend.cli import main
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.queue.work import SYNCS, Work, queues_of
from captionloop.model.database import Database, RunKind, RunState
from captionloop.settings import Settings


def test_the_most_urgent_queue_comes_first_however_they_are_named() -> None:
    assert queues_of([Work.GPU, Work.SYNC]) == queues_of([Work.SYNC, Work.GPU])
    assert queues_of(list(Work))[0] == SYNCS
    assert not set(queues_of([Work.GPU])) & set(queues_of([Work.SYNC, Work.CPU]))


@pytest.mark.parametrize("given", ["", "gpu,", "trials", "gpu;sync", "GPU"])
def test_an_unknown_kind_of_work_is_refused_with_those_that_there_are(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["worker", "--queues", given])

    assert ended.value.code == 2
    assert "expected some of sync, cpu, gpu" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sync_does_not_wait_behind_a_run_where_another_worker_takes_syncs(
    database: Database, home: Home, redis_url: str, tmp_path: Path
) -> None:
    project = add_project(database)
    variables = {
        "CAPTIONLOOP_HOME": str(home.root), "REDIS_URL": redis_url,
        "LABEL_STUDIO_URL": "http://localhost:9", "LABEL_STUDIO_API_KEY": "5" * 40,
    }  # fmt: skip
    logs = {taken: tmp_path / f"{taken}.log" for taken in ("gpu", "sync,cpu")}
    with closing(Context.open(Settings(home=home.root, redis_url=redis_url))) as context:
        workers = [
            forked_command("worker", "--queues", taken, log=log, environment=variables) for taken, log in logs.items()
        ]
        try:
            run = context.queue.request(project.id, RunKind.FINETUNE, asked_by="test").run
            until(lambda: context.queue.runs.get(run.id).state is RunState.RUNNING)  # type: ignore[union-attr]
            context.queue.request_sync(project.id)
            until(lambda: "could not be synced" in logs["sync,cpu"].read_text())  # Label Studio is away for both

            assert context.queue.runs.get(run.id).state is RunState.RUNNING  # type: ignore[union-attr]
            assert "could not be synced" not in logs["gpu"].read_text()
            assert len(context.queue.workers()) == 2
            assert len(context.queue.workers([Work.SYNC])) == len(context.queue.workers([Work.GPU])) == 1
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
