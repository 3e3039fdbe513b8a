"""`captionloop project start-from`, as it is called."""

import json
from collections.abc import Callable

import pytest
from tests.backend.commands.test_sweep import call, project, queue
from tests.support.models import tiny_base
from tests.support.versions import add_copy

from captionloop.home import Home
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.model.database import Database, Project, RunKind
from captionloop.model.versions.store import VersionStore

__all__ = ["call", "project", "queue"]

Call = Callable[..., tuple[int, str, str]]


def test_a_project_starts_from_another_base_on_purpose_alone(
    call: Call, project: Project, queue: Queue, database: Database, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = VersionStore(database, home.versions)
    base = tiny_base(home.root / "first")
    store.ensure_champion(project.id, base)
    monkeypatch.setenv("CAPTIONLOOP_BEAMS", "2")

    assert json.loads(call("status", "--json")[1])["champion"] == base.name
    code, out, err = call("project", "start-from", str(home.root / "first"), "--json")

    champion = store.champion(project.id)
    assert (code, err, json.loads(out)) == (0, "", {"champion": champion.version})
    assert (champion.version != base.name, champion.generation.num_beams) == (True, 2)
    assert [run.kind for run in queue.runs.unfinished(project.id)] == [RunKind.ANNOTATE]


def test_one_that_has_learnt_is_told_of(
    call: Call, project: Project, queue: Queue, database: Database, home: Home
) -> None:
    store = VersionStore(database, home.versions)
    base = tiny_base(home.root / "first")
    store.ensure_champion(project.id, base)
    name = add_copy(store, project, store.champion(project.id))
    store.promote(project.id, name, reason="better")

    code, _, err = call("project", "start-from", "starter")

    assert (code, store.champion(project.id).version) == (2, name)
    assert f"serves {name}, which was trained here" in err
