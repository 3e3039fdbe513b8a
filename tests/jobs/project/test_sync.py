"""Sync, on a real Label Studio: after it, our corrections say what its annotations say, whatever happened between."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select
from tests.support.annotator import TARGET, Annotator, inline, png
from tests.support.servers import LabelStudioServer

from captionloop.backend.label_studio.annotations import to_prediction
from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG, CaptionTarget
from captionloop.errors import LabelConfigError, LabelStudioError, NotFoundError
from captionloop.home import Home
from captionloop.jobs.project import sync as syncing
from captionloop.jobs.project.sync import SyncResult
from captionloop.model.database import Correction, CorrectionState, Database, Project
from captionloop.model.dataset.corrections import ImportedCaption, add_imported
from captionloop.model.dataset.images import content_hash
from captionloop.model.dataset.picture_names import names_of


@pytest.fixture(scope="module")
def label_studio(label_studio_server: LabelStudioServer) -> Iterator[LabelStudio]:
    client = LabelStudio(label_studio_server.url, label_studio_server.token)
    yield client
    client.close()


@pytest.fixture
def make_annotator(
    label_studio: LabelStudio, label_studio_server: LabelStudioServer, database: Database, home: Home
) -> Callable[[str], Annotator]:
    def make(label_config: str) -> Annotator:
        return Annotator.in_new_project(label_studio, label_studio_server, database, home, label_config=label_config)

    return make


@pytest.fixture
def annotator(make_annotator: Callable[[str], Annotator]) -> Annotator:
    return make_annotator(SAMPLE_LABEL_CONFIG)


def test_a_correction_holds_all_that_it_came_from(annotator: Annotator) -> None:
    (task_id,) = annotator.label_studio.upload_images(annotator.project_id, [("red.png", png())])
    prediction = annotator.suggest(task_id, "a red circle")
    annotation = annotator.submit(task_id, "a red square \n", origin="prediction-changed", parent_prediction=prediction)
    assert annotator.sync() == SyncResult(new=1, changed=0, removed=0, failed=0, corrections=1)
    (row,) = annotator.corrections()
    assert (row.annotation_id, row.task_id, row.state) == (annotation, task_id, CorrectionState.ACTIVE)
    assert row.captions == ["a red square"]
    assert (row.suggestion, row.suggestion_version, row.suggestion_score) == ("a red circle", "starter-1", 0.42)
    assert (row.parent_prediction, row.origin) == (prediction, "prediction-changed")
    assert (row.annotator, row.lead_time_s) == (annotator.server.email, 3.5)
    assert row.image_sha256 == content_hash(png())
    with annotator.database.reading() as session:
        assert names_of(session, row.project_id, [row.image_sha256]) == {row.image_sha256: ["red.png"]}


@pytest.mark.parametrize(("cluster", "at_random"), [(0, True), (3, False), (None, None)])
def test_a_correction_knows_whether_chance_asked_for_it(
    annotator: Annotator, cluster: int | None, at_random: bool | None
) -> None:
    (task_id,) = annotator.label_studio.upload_images(annotator.project_id, [("red.png", png())])
    prediction = annotator.suggest(task_id, "a red circle")
    annotator.label_studio.update_prediction(prediction, score=0.4, cluster=cluster)
    annotator.submit(task_id, "a red square", parent_prediction=prediction)

    annotator.sync()

    (row,) = annotator.corrections()
    assert row.asked_at_random is at_random
    assert annotator.home.image(content_hash(png())).read_bytes() == png()


def test_syncing_again_finds_nothing_new(annotator: Annotator) -> None:
    annotator.submit(annotator.add_task(), "a cat")
    annotator.sync()
    assert annotator.sync() == SyncResult(new=0, changed=0, removed=0, failed=0, corrections=1)


def test_a_changed_annotation_changes_its_correction(annotator: Annotator) -> None:
    annotation = annotator.submit(annotator.add_task(), "a cat")
    annotator.sync()
    annotator.change(annotation, "a small cat")
    assert annotator.sync() == SyncResult(new=0, changed=1, removed=0, failed=0, corrections=1)
    assert annotator.learnt() == ["a small cat"]


def test_a_suggestion_left_standing_is_not_learnt(annotator: Annotator) -> None:
    task_id = annotator.add_task()
    prediction = annotator.suggest(task_id, "a red circle")
    texts = ["a red circle", "a red square"]
    annotator.submit(task_id, *texts, origin="prediction-changed", parent_prediction=prediction)
    annotator.sync()
    assert annotator.learnt() == ["a red square"]


def test_a_suggestion_accepted_as_it_is_is_learnt(annotator: Annotator) -> None:
    task_id = annotator.add_task()
    prediction = annotator.suggest(task_id, "a red circle")
    annotator.submit(task_id, "a red circle", origin="prediction", parent_prediction=prediction)
    annotator.sync()
    assert annotator.learnt() == ["a red circle"]


def test_where_a_correction_came_from_outlives_the_prediction(annotator: Annotator) -> None:
    task_id = annotator.add_task()
    prediction = annotator.suggest(task_id, "a red circle")
    texts = ["a red circle", "a red square"]
    annotation = annotator.submit(task_id, *texts, parent_prediction=prediction)
    annotator.sync()
    annotator.label_studio.delete_prediction(prediction)
    annotator.change(annotation, "a red circle", "a red box")
    annotator.sync()
    (row,) = annotator.corrections()
    assert (row.suggestion, row.parent_prediction, row.captions) == ("a red circle", prediction, ["a red box"])


def test_each_annotation_of_a_task_is_a_correction(annotator: Annotator) -> None:
    task_id = annotator.add_task()
    annotator.submit(task_id, "a cat")
    annotator.submit(task_id, "a sleeping cat", "a cat, asleep")
    assert annotator.sync().new == 2
    assert annotator.learnt() == ["a cat", "a sleeping cat", "a cat, asleep"]


def test_annotations_that_were_imported_count_as_well(annotator: Annotator) -> None:
    result = to_prediction(TARGET, "a cat", 1.0, "")["result"]
    annotator.add_task(annotations=[{"result": result}])
    annotator.sync()
    assert annotator.learnt() == ["a cat"]


def test_drafts_do_not(annotator: Annotator) -> None:
    result = to_prediction(TARGET, "half a cat", 1.0, "")["result"]
    annotator.call("POST", f"/api/tasks/{annotator.add_task()}/drafts", json={"result": result})
    assert annotator.sync().new == 0


def test_other_controls_say_nothing_about_the_caption(make_annotator: Callable[[str], Annotator]) -> None:
    annotator = make_annotator(
        '<View><Image name="image" value="$image"/><TextArea name="caption" toName="image"/>'
        '<TextArea name="note" toName="image"/></View>'
    )
    note = {"from_name": "note", "to_name": "image", "type": "textarea", "value": {"text": ["blurred"]}}
    annotator.call("POST", f"/api/tasks/{annotator.add_task()}/annotations/", json={"result": [note]})
    annotator.sync()
    assert annotator.states() == [CorrectionState.EMPTIED]


def test_projects_do_not_mix(make_annotator: Callable[[str], Annotator]) -> None:
    first = make_annotator(SAMPLE_LABEL_CONFIG)
    second = make_annotator('<View><Image name="Bild" value="$foto"/><TextArea name="Text" toName="Bild"/></View>')
    first.submit(first.add_task(), "first")
    (task_id,) = second.label_studio.import_tasks(second.project_id, [{"data": {"foto": inline()}}])
    target = CaptionTarget("Text", "Bild", "foto")
    result = to_prediction(target, "second", 1.0, "")["result"]
    second.call("POST", f"/api/tasks/{task_id}/annotations/", json={"result": result})
    first.sync()
    second.sync()
    assert (first.learnt(), second.learnt()) == (["first"], ["second"])


class TestWhatLeavesTheTrainingSet:
    def test_a_skip(self, annotator: Annotator) -> None:
        annotation = annotator.submit(annotator.add_task(), "a cat")
        annotator.sync()
        annotator.change(annotation, was_cancelled=True)
        annotator.submit(annotator.add_task(), was_cancelled=True)
        result = annotator.sync()
        assert (result.new, result.changed, result.corrections) == (1, 1, 0)
        assert annotator.states() == [CorrectionState.SKIPPED] * 2

    def test_a_skip_that_is_taken_back_teaches_again(self, annotator: Annotator) -> None:
        annotation = annotator.submit(annotator.add_task(), was_cancelled=True)
        annotator.sync()
        annotator.change(annotation, "a cat", was_cancelled=False)
        annotator.sync()
        assert annotator.learnt() == ["a cat"]

    def test_emptied_text(self, annotator: Annotator) -> None:
        annotation = annotator.submit(annotator.add_task(), "a cat")
        annotator.sync()
        annotator.change(annotation, " \n")
        annotator.sync()
        assert annotator.states() == [CorrectionState.EMPTIED]

    def test_a_deleted_annotation(self, annotator: Annotator) -> None:
        annotation = annotator.submit(annotator.add_task(), "a cat")
        annotator.sync()
        annotator.call("DELETE", f"/api/annotations/{annotation}/")
        assert annotator.sync() == SyncResult(new=0, changed=0, removed=1, failed=0, corrections=0)
        assert annotator.states() == [CorrectionState.ANNOTATION_DELETED]
        assert annotator.corrections()[0].captions == ["a cat"]

    def test_an_imported_caption_stays_when_an_annotation_is_deleted(self, annotator: Annotator) -> None:
        annotation = annotator.submit(annotator.add_task(), "a cat")
        annotator.sync()
        (row,) = annotator.corrections()
        imported = ImportedCaption(str(row.image_sha256), "out of a file", "captions.csv, line 1")
        with annotator.database.session() as session:
            add_imported(session, annotator.project.id, [imported])
        annotator.call("DELETE", f"/api/annotations/{annotation}/")
        assert annotator.sync().removed == 1
        assert annotator.learnt() == ["out of a file"]

    def test_the_deleted_one_of_two_annotations(self, annotator: Annotator) -> None:
        task_id = annotator.add_task()
        gone, _ = annotator.submit(task_id, "a cat"), annotator.submit(task_id, "a dog")
        annotator.sync()
        annotator.call("DELETE", f"/api/annotations/{gone}/")
        annotator.sync()
        assert annotator.states() == [CorrectionState.ANNOTATION_DELETED, CorrectionState.ACTIVE]

    def test_annotations_deleted_in_bulk(self, annotator: Annotator) -> None:
        tasks = [annotator.add_task() for _ in range(3)]
        for task_id in tasks:
            annotator.submit(task_id, "a cat")
        annotator.sync()
        annotator.call(
            "POST",
            f"/api/dm/actions/?id=delete_tasks_annotations&project={annotator.project_id}",
            json={"selectedItems": {"all": False, "included": tasks[:2]}},
        )
        assert annotator.sync().removed == 2

    def test_a_deleted_task(self, annotator: Annotator) -> None:
        gone, stays = annotator.add_task(), annotator.add_task()
        for task_id in (gone, stays):
            annotator.submit(task_id, "a cat")
        annotator.sync()
        annotator.call("DELETE", f"/api/tasks/{gone}/")
        assert annotator.sync().removed == 1
        assert annotator.states() == [CorrectionState.TASK_DELETED, CorrectionState.ACTIVE]

    def test_tasks_deleted_in_bulk(self, annotator: Annotator) -> None:
        for _ in range(2):
            annotator.submit(annotator.add_task(), "a cat")
        annotator.sync()
        annotator.call(
            "POST",
            f"/api/dm/actions/?id=delete_tasks&project={annotator.project_id}",
            json={"selectedItems": {"all": True, "excluded": []}},
        )
        assert annotator.sync().removed == 2
        assert annotator.states() == [CorrectionState.TASK_DELETED] * 2

    def test_a_deletion_made_up_for_by_an_addition(self, annotator: Annotator) -> None:
        gone, other = annotator.add_task(), annotator.add_task()
        annotator.submit(gone, "a cat")
        annotator.sync()
        annotator.call("DELETE", f"/api/tasks/{gone}/")
        annotator.submit(other, "a dog")
        result = annotator.sync()
        assert (result.new, result.removed) == (1, 1)
        assert annotator.learnt() == ["a dog"]


class TestUnreadableImages:
    @pytest.mark.faults
    def test_the_correction_waits_with_its_reason(self, annotator: Annotator) -> None:
        bad, good = annotator.add_task(image="data:image/png;base64,AAAA"), annotator.add_task()
        for task_id in (bad, good):
            annotator.submit(task_id, "a cat")
        result = annotator.sync()
        assert (result.new, result.failed, result.corrections) == (2, 1, 1)
        row = annotator.corrections()[0]
        assert row.state is CorrectionState.IMAGE_UNREADABLE
        assert "not an image in a supported format" in (row.reason or "")
        assert row.captions == ["a cat"]

    def test_the_correction_counts_once_the_image_can_be_read(self, annotator: Annotator) -> None:
        task_id = annotator.add_task(image="/nowhere.png")
        annotator.submit(task_id, "a cat")
        assert annotator.sync().failed == 1
        annotator.call("PATCH", f"/api/tasks/{task_id}/", json={"data": {"image": inline()}})
        assert annotator.sync() == SyncResult(new=0, changed=1, removed=0, failed=0, corrections=1)
        assert annotator.learnt() == ["a cat"]

    @pytest.mark.faults
    def test_a_copy_that_we_have_is_used_when_the_image_is_gone(self, annotator: Annotator) -> None:
        task_id = annotator.add_task()
        annotation = annotator.submit(task_id, "a cat")
        annotator.sync()
        annotator.call("PATCH", f"/api/tasks/{task_id}/", json={"data": {"image": "/nowhere.png"}})
        annotator.change(annotation, "a small cat")
        assert annotator.sync().failed == 0
        assert annotator.learnt() == ["a small cat"]

    def test_an_image_that_is_too_large_is_not_kept(self, annotator: Annotator) -> None:
        annotator.submit(annotator.add_task(image=inline(size=(1001, 1000))), "a cat")
        assert annotator.sync(CAPTIONLOOP_MAX_IMAGE_MEGAPIXELS="1").failed == 1


class TestTrouble:
    @pytest.mark.faults
    def test_a_sync_that_dies_keeps_what_it_has_and_the_next_finds_the_rest(
        self, annotator: Annotator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(5):
            annotator.submit(annotator.add_task(), f"caption {number}")
        monkeypatch.setattr(syncing, "_TASKS_PER_BATCH", 2)
        read, calls = LabelStudio.tasks, []

        def dies_at_the_second_batch(label_studio: LabelStudio, project_id: int, ids: list[int]) -> list[Json]:
            calls.append(ids)
            if len(calls) == 2:
                raise LabelStudioError("gone")
            return read(label_studio, project_id, ids)

        with monkeypatch.context() as patched:
            patched.setattr(LabelStudio, "tasks", dies_at_the_second_batch)
            with pytest.raises(LabelStudioError):
                annotator.sync()
        assert annotator.learnt() == ["caption 0", "caption 1"]
        assert annotator.sync().new == 3

    @pytest.mark.faults
    def test_two_syncs_at_once_do_no_harm(self, annotator: Annotator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(syncing, "_TASKS_PER_BATCH", 2)
        for number in range(6):
            annotator.submit(annotator.add_task(), f"caption {number}")
        with ThreadPoolExecutor(2) as threads:
            results = [run.result() for run in [threads.submit(annotator.sync) for _ in range(2)]]
        assert sum(result.new for result in results) == 6
        assert sorted(annotator.learnt()) == [f"caption {number}" for number in range(6)]
        assert all(not row.revisions for row in self.with_revisions(annotator))

    @staticmethod
    def with_revisions(annotator: Annotator) -> list[Correction]:
        with annotator.database.reading() as session:
            rows = list(session.scalars(select(Correction)))
            for row in rows:
                assert row.revisions is not None
            return rows

    @pytest.mark.faults
    def test_a_database_from_yesterday_is_healed(self, annotator: Annotator) -> None:
        annotator.submit(annotator.add_task(), "a cat")
        annotator.sync()
        annotator.submit(annotator.add_task(), "a dog")
        with annotator.database.session() as session:
            # As if the backup were older than the second annotation, and that one older than the last sync.
            row = session.get_one(Project, annotator.project.id)
            assert row.synced_until is not None
            row.synced_until = row.synced_until.replace(year=row.synced_until.year + 1)
        annotator.project = row
        assert annotator.sync().new == 1
        assert annotator.learnt() == ["a cat", "a dog"]

    def test_progress_is_told(self, annotator: Annotator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(syncing, "_TASKS_PER_BATCH", 2)
        for _ in range(3):
            annotator.submit(annotator.add_task(), "a cat")
        told: list[tuple[int, int]] = []
        annotator.sync(on_progress=lambda done, total: told.append((done, total)))
        assert told == [(2, 3), (3, 3)]

    def test_only_what_changed_is_read(self, annotator: Annotator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(syncing, "_OVERLAP", syncing._OVERLAP * 0)
        for _ in range(3):
            annotator.submit(annotator.add_task(), "a cat")
        annotator.sync()
        annotator.submit(annotator.add_task(), "a dog")
        told: list[tuple[int, int]] = []
        annotator.sync(on_progress=lambda done, total: told.append((done, total)))
        assert told == [(2, 2)]  # the new one, and the last one of before

    def test_a_label_config_without_captions_is_an_error(self, annotator: Annotator) -> None:
        config = '<View><Image name="image" value="$image"/></View>'
        annotator.label_studio.update_project(annotator.project_id, label_config=config)
        with pytest.raises(LabelConfigError, match="it has no TextArea"):
            annotator.sync()

    def test_a_project_that_is_not_ours_is_an_error(self, annotator: Annotator) -> None:
        annotator.project.id = 999
        with pytest.raises(NotFoundError, match="999"):
            annotator.sync()


@pytest.mark.faults
class TestASyncThatStoodStill:
    """It has read from Label Studio, stands still while another sync does its work, and then goes on."""

    @pytest.fixture
    def meanwhile(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
        def between_reading_and_writing(method: str, happens: Callable[[], object]) -> None:
            read, pending = getattr(LabelStudio, method), [happens]

            def reading(self: LabelStudio, *arguments: Any, **named: Any) -> Any:
                answer = read(self, *arguments, **named)
                if pending:
                    pending.pop()()
                return answer

            monkeypatch.setattr(LabelStudio, method, reading)

        return between_reading_and_writing

    def test_does_not_take_for_deleted_what_was_written_since(
        self, annotator: Annotator, meanwhile: Callable[[str, Callable[[], object]], None]
    ) -> None:
        task = annotator.add_task()
        annotator.submit(task, "a cat")

        def somebody_else_writes() -> None:
            annotator.submit(task, "a dog")
            annotator.sync()

        meanwhile("tasks", somebody_else_writes)
        annotator.sync()

        assert sorted(annotator.learnt()) == ["a cat", "a dog"]

    def test_does_not_bring_back_what_was_deleted_since(
        self, annotator: Annotator, meanwhile: Callable[[str, Callable[[], object]], None]
    ) -> None:
        task = annotator.add_task()
        annotation = annotator.submit(task, "a cat")
        annotator.submit(task, "a dog")
        annotator.sync()
        annotator.change(annotation, "a small cat")

        def somebody_deletes() -> None:
            annotator.call("DELETE", f"/api/annotations/{annotation}/")
            annotator.sync()

        meanwhile("tasks", somebody_deletes)
        annotator.sync()

        assert annotator.learnt() == ["a dog"]

    def test_does_not_put_an_older_label_config_back(
        self, annotator: Annotator, meanwhile: Callable[[str, Callable[[], object]], None]
    ) -> None:
        annotator.submit(annotator.add_task(), "a cat")
        changed = SAMPLE_LABEL_CONFIG.replace('maxSubmissions="1"', 'maxSubmissions="3"')

        def somebody_changes_it() -> None:
            annotator.set_label_config(changed)
            annotator.sync()

        meanwhile("project", somebody_changes_it)
        annotator.sync()

        with annotator.database.reading() as session:
            kept = session.get_one(Project, annotator.project.id).label_config
        assert 'maxSubmissions="3"' in kept
