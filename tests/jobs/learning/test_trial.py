"""Trials for real: drawn scenes, the starter model, and workers as processes of their own."""

import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.forked import ForkedProcess, forked_command
from tests.support.models import add_project
from tests.support.pauses import stopped
from tests.support.processes import alive
from tests.support.servers import descendants
from tests.support.sweeps import do_trial, kill_workers

from captionloop.errors import NotFoundError
from captionloop.image_limits import ImageLimits
from captionloop.jobs import entry
from captionloop.jobs.context import Context
from captionloop.jobs.learning import trial as trial_module
from captionloop.jobs.learning.inputs import chosen_settings
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.database import CorrectionState, Database, Project, RunState, Sweep, utc_now
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import CorrectionRecord
from captionloop.model.dataset.split import split_images
from captionloop.model.finetuning.validation_images import Validation
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import draw
from captionloop.model.starter.styles import alt_text
from captionloop.model.sweep.search_space import SearchSpace
from captionloop.model.sweep.trials import Trial, Trials, TrialState
from captionloop.model.training import named_settings
from captionloop.model.training.loop import FinetuneResult, finetune
from captionloop.settings import Settings

SCENES, STEPS = 24, 4
SPACE = SearchSpace(("decoder",), ("cosine",), (1e-5, 4e-3), {"steps": STEPS, "batch_size": 4})
GOOD, USELESS = ({"way": "decoder", "schedule": "cosine", "learning_rate": rate} for rate in (1e-3, SPACE.rates[0]))


@pytest.fixture
def context(database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """What jobs find in their environment."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("CAPTIONLOOP_BEAMS", "1")
    opened = Context.open(Settings.read())
    yield opened
    opened.close()


@pytest.fixture
def project(context: Context) -> Project:
    """A project in which people corrected some drawn scenes to a style of their own."""
    made = add_project(context.database)
    for number in range(SCENES):
        scene, seed = example("sweep", number)
        file = io.BytesIO()
        draw(scene, seed=seed).save(file, "PNG")
        stored = corrections.write_image(context.home, file.getvalue(), limits=ImageLimits())
        with context.database.session() as session:
            corrections.register_image(session, stored)
            record = CorrectionRecord(
                annotation_id=number, task_id=number, state=CorrectionState.ACTIVE,
                captions=[alt_text(scene)], annotated_at=utc_now(), updated_at=utc_now(),
                image_sha256=stored.sha256,
            )  # fmt: skip
            corrections.upsert(session, made.id, record)
    context.versions.ensure_champion(made.id, context.base)
    return made


def request_sweep(
    context: Context, project: Project, *, trials: int, space: SearchSpace = SPACE, **facts: Any
) -> Sweep:
    with context.database.session() as session:
        snapshot = corrections.snapshot(session, project.id, context.home)
    return context.queue.request_sweep(
        project.id, space, trials=trials, snapshot=snapshot.hash,
        champion=context.versions.champion(project.id).version, asked_by="test", **{"first": [GOOD, USELESS], **facts},
    )  # fmt: skip


def trials_of(context: Context, sweep: Sweep) -> list[Trial]:
    return list(context.queue.sweeps.state(sweep.id).trials)


def wait_for(look: Callable[[], Any], *, within_s: float = 120) -> None:
    deadline = time.monotonic() + within_s
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.2)


# One trial -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_good_rate_scores_higher_than_a_useless_one(context: Context, project: Project) -> None:
    space = SearchSpace(SPACE.ways, SPACE.schedules, SPACE.rates, {"steps": 100, "batch_size": 16})
    sweep = request_sweep(context, project, trials=2, space=space)

    entry.trial(sweep.id, 0)
    entry.trial(sweep.id, 1)

    good, useless = trials_of(context, sweep)
    assert good.score is not None
    assert useless.score is not None
    assert good.score > useless.score + 0.5
    assert good.standard_error is not None
    assert good.standard_error > 0
    assert len(good.validations) == 8


def test_the_sweep_ends_with_its_last_trial_and_leaves_its_settings(context: Context, project: Project) -> None:
    sweep = request_sweep(context, project, trials=1, name="careful")

    entry.trial(sweep.id, 0)

    assert context.queue.sweeps.get(sweep.id).state is RunState.FINISHED
    with context.database.reading() as session:
        assert named_settings.read(session, project.id, "careful") == {**SPACE.fixed, **GOOD}
    assert not (context.home.runs / sweep.id).exists()


def test_a_trial_leaves_the_gates_images_alone(
    context: Context, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: set[str] = set()
    scored: set[str] = set()
    captions = Validation._captions

    def learn(checkpoint: Any, examples: Any, **rest: Any) -> FinetuneResult:
        trained.update(example.image for example in examples)
        return finetune(checkpoint, examples, **rest)

    def write(self: Validation, checkpoint: Any) -> dict[str, str]:
        written = captions(self, checkpoint)
        scored.update(written)
        return written

    monkeypatch.setattr(trial_module, "finetune", learn)
    monkeypatch.setattr(Validation, "_captions", write)
    sweep = request_sweep(context, project, trials=1)

    entry.trial(sweep.id, 0)

    with context.database.reading() as session:
        split = split_images(example.image for example in corrections.training_examples(session, project.id))
    assert trained | scored == set(split.train)
    assert trained & scored == set()
    assert len(scored) == round(len(split.train) / 4)


def test_pictures_are_encoded_once_for_all_trials(
    context: Context, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = request_sweep(context, project, trials=2)
    entry.trial(sweep.id, 0)

    monkeypatch.setattr(Captioner, "_run_encoder", None)
    entry.trial(sweep.id, 1)

    assert trials_of(context, sweep)[1].state is TrialState.FINISHED


def test_a_trial_that_falls_behind_stops_early(context: Context, project: Project) -> None:
    sweep = request_sweep(context, project, trials=5, first=[GOOD] * 4 + [USELESS])
    with Trials.opened(context.database, sweep.id) as trials:
        for number in range(4):
            do_trial(trials, number, 10.0, space=SPACE)

    entry.trial(sweep.id, 4)

    pruned = trials_of(context, sweep)[4]
    assert pruned.state is TrialState.PRUNED
    assert max(pruned.validations) == 50


def test_a_trial_whose_training_fails_says_why(context: Context, project: Project) -> None:
    space = SearchSpace(SPACE.ways, SPACE.schedules, SPACE.rates, {**SPACE.fixed, "prompt": "a photo of " * 200})
    sweep = request_sweep(context, project, trials=1, space=space)

    entry.trial(sweep.id, 0)

    [failed] = trials_of(context, sweep)
    assert failed.state is TrialState.FAILED
    assert failed.reason


def test_trials_of_a_cancelled_sweep_do_not_begin(context: Context, project: Project) -> None:
    sweep = request_sweep(context, project, trials=1)
    context.queue.sweeps.cancel(project.id, sweep.name)

    entry.trial(sweep.id, 0)

    assert [trial.reason for trial in trials_of(context, sweep)] == ["The sweep was cancelled."]


# Which settings a run takes ------------------------------------------------------------------------------------------


@pytest.fixture
def extra_params(context: Context) -> dict[str, Any]:
    """The extra params of the model in Label Studio, for a test to fill."""
    params: dict[str, Any] = {}
    backends = [{"id": None, "extra_params": params}]
    context.__dict__["label_studio"] = SimpleNamespace(ml_backends=lambda project_id: backends, close=lambda: None)
    return params


@pytest.fixture
def careful(context: Context, project: Project) -> None:
    with context.database.session() as session:
        named_settings.save(session, project.id, "careful", {"steps": 7, "ema": 0.9}, origin="a test")


@pytest.mark.usefixtures("careful")
def test_named_settings_go_before_extra_params_and_behind_what_was_asked_for(
    context: Context, project: Project, extra_params: dict[str, Any]
) -> None:
    extra_params |= {"steps": 5, "batch_size": 4}

    chosen = chosen_settings(context, project, {"settings": "careful", "ema": 0.5})

    assert chosen == {"steps": 7, "batch_size": 4, "ema": 0.5}


@pytest.mark.usefixtures("careful")
def test_the_extra_params_may_name_settings(context: Context, project: Project, extra_params: dict[str, Any]) -> None:
    extra_params |= {"settings": "careful"}

    assert chosen_settings(context, project, {}) == {"steps": 7, "ema": 0.9}


@pytest.mark.usefixtures("careful", "extra_params")
def test_settings_of_an_unknown_name_are_refused(context: Context, project: Project) -> None:
    with pytest.raises(NotFoundError, match=r"'hasty'\. It knows: careful"):
        chosen_settings(context, project, {"settings": "hasty"})


# Workers -------------------------------------------------------------------------------------------------------------


def start_worker(log: Path) -> ForkedProcess:
    return forked_command("worker", log=log, environment=os.environ, start_new_session=True)


def stop_worker(worker: ForkedProcess) -> None:
    """Let it end as Ctrl-C does."""
    worker.send_signal(signal.SIGINT)
    worker.wait(60)


@pytest.mark.slow
def test_several_workers_share_a_sweep(context: Context, project: Project, tmp_path: Path) -> None:
    logs = [tmp_path / f"worker-{number}.log" for number in range(2)]
    with ExitStack() as stack:
        workers = [stack.enter_context(start_worker(log)) for log in logs]
        for worker in workers:
            stack.callback(worker.kill)
        wait_for(lambda: len(context.queue.workers()) == 2)
        sweep = request_sweep(context, project, trials=4)
        wait_for(lambda: context.queue.sweeps.get(sweep.id).state.is_over)
        for worker in workers:
            stop_worker(worker)
    said = [log.read_text() for log in logs]

    shown = context.queue.sweeps.state(sweep.id)
    assert shown.sweep.state is RunState.FINISHED, shown.sweep.message
    assert shown.counts == {"finished": 4}
    assert all(f"sweep {sweep.name}, trial" in log for log in said), "\n".join(said)
    assert shown.best is not None
    with context.database.reading() as session:
        found = named_settings.read(session, project.id, sweep.name)
    assert found["learning_rate"] == shown.best.choice["learning_rate"]


@pytest.mark.slow
@pytest.mark.faults
def test_a_trial_whose_worker_was_killed_is_tried_again(context: Context, project: Project, tmp_path: Path) -> None:
    space = SearchSpace(SPACE.ways, SPACE.schedules, SPACE.rates, {**SPACE.fixed, "steps": 100_000})
    sweep = request_sweep(context, project, trials=1, space=space)
    with start_worker(tmp_path / "worker.log") as worker:
        wait_for(lambda: trials_of(context, sweep)[0].state is TrialState.RUNNING)
        for process in [worker.pid, *descendants(worker.pid)]:
            os.kill(process, signal.SIGKILL)
    kill_workers(context.database)

    context.queue.keep_moving()

    killed, again = trials_of(context, sweep)
    assert (killed.state, again.state, again.first) == (TrialState.FAILED, TrialState.WAITING, 0)
    assert "killed" in killed.reason


@pytest.mark.slow
@pytest.mark.faults
def test_a_trial_whose_worker_stood_still_is_left_to_the_one_that_tries_it_again(
    context: Context, project: Project, tmp_path: Path
) -> None:
    space = SearchSpace(SPACE.ways, SPACE.schedules, SPACE.rates, {**SPACE.fixed, "steps": 150})
    sweep = request_sweep(context, project, trials=1, space=space)
    with start_worker(tmp_path / "worker.log") as worker:
        wait_for(lambda: trials_of(context, sweep)[0].validations)
        job = descendants(worker.pid)
        with stopped(lambda: [worker.pid, *job], database=context.database.url):
            kill_workers(context.database)
            context.queue.keep_moving()
        wait_for(lambda: not alive(job))
        wait_for(lambda: context.queue.sweeps.get(sweep.id).state.is_over)
        stop_worker(worker)

    stale, again = trials_of(context, sweep)
    assert (stale.state, again.state, again.first) == (TrialState.FAILED, TrialState.FINISHED, 0)
    assert "trial 0 is left alone" in (tmp_path / "worker.log").read_text()
    assert not (context.home.runs / sweep.id).exists()
