"""What people write and no one expects, from Label Studio to the text that is trained on, on both databases."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import select
from tests.support.contexts import opened_context
from tests.support.models import add_project
from tests.support.odd_captions import KEPT, NOT_A_LETTER_LEFT
from tests.support.scripted_studio import TOKEN, ScriptedStudio, moment, scripted_studio

from captionloop.home import Home
from captionloop.jobs.project.sync import SyncResult, sync
from captionloop.model.database import Correction, CorrectionState, Database, Project
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import derived, read_snapshot


@pytest.fixture
def studio() -> Iterator[ScriptedStudio]:
    with scripted_studio() as running:
        yield running


@pytest.fixture
def project(either_database: Database) -> Project:
    return add_project(either_database)


def synced(studio: ScriptedStudio, database: Database, home: Home, project: Project) -> SyncResult:
    with opened_context(database, home, url=studio.url, token=TOKEN) as context:
        return sync(context, project.id)


def rows(database: Database) -> list[Correction]:
    with database.reading() as session:
        return list(session.scalars(select(Correction).order_by(Correction.annotation_id)))


def test_odd_captions_are_kept_and_reach_the_training_data(
    studio: ScriptedStudio, either_database: Database, home: Home, project: Project
) -> None:
    for text in KEPT:
        studio.annotate(studio.add_task(), text)

    result = synced(studio, either_database, home, project)

    assert result.corrections == len(KEPT)
    with either_database.session() as session:
        path = corrections.snapshot(session, project.id, home).path
    assert [example.caption for example in read_snapshot(path).examples] == list(KEPT.values())


def test_a_caption_without_a_letter_is_none(
    studio: ScriptedStudio, either_database: Database, home: Home, project: Project
) -> None:
    for text in NOT_A_LETTER_LEFT:
        studio.annotate(studio.add_task(), text)

    synced(studio, either_database, home, project)

    assert [row.state for row in rows(either_database)] == [CorrectionState.EMPTIED] * len(NOT_A_LETTER_LEFT)


def test_a_value_that_is_no_text_is_no_caption(
    studio: ScriptedStudio, either_database: Database, home: Home, project: Project
) -> None:
    for texts in ([None], [7], [{"text": "a cat"}], [["a cat"]], []):
        studio.annotate(studio.add_task(), *texts)
    studio.annotate(studio.add_task(), "a cat", value="a text")
    studio.annotate(studio.add_task(), "a cat", value={"text": {"a": "cat"}})

    assert synced(studio, either_database, home, project).corrections == 0


@pytest.mark.parametrize("origin", [{"by": "import"}, ["manual"], 7, None])
def test_an_origin_that_is_none_of_label_studios_does_not_end_the_sync(
    studio: ScriptedStudio, either_database: Database, home: Home, project: Project, origin: object
) -> None:
    studio.annotate(studio.add_task(), "a cat", origin=origin)

    assert synced(studio, either_database, home, project).corrections == 1
    assert rows(either_database)[0].origin is None


@pytest.mark.parametrize(
    "image", ["http://\x00/", "\x00", "/data/\ud800.png", "data:image/png;base64,\x00", "x" * 100_000, {"a": 1}, 7]
)
def test_an_address_that_is_none_waits_with_its_reason_and_harms_no_neighbour(
    studio: ScriptedStudio, either_database: Database, home: Home, project: Project, image: object
) -> None:
    studio.annotate(studio.add_task({"image": image}), "a cat")
    studio.annotate(studio.add_task(), "a dog")

    result = synced(studio, either_database, home, project)

    assert (result.failed, result.corrections) == (1, 1)
    bad, _ = rows(either_database)
    assert (bad.state, bad.captions) == (CorrectionState.IMAGE_UNREADABLE, ["a cat"])
    assert 10 < len(bad.reason or "") < 1000


def test_a_suggestion_of_another_model_may_be_as_odd(
    studio: ScriptedStudio, either_database: Database, home: Home, project: Project
) -> None:
    task = studio.add_task()
    result = [{"from_name": "caption", "value": {"text": ["a \x00dog\ud800 " * 9_000]}, "origin": {}}]
    prediction = {"id": 900, "result": result, "model_version": "v\x00\ud800", "score": 0.5, "cluster": None}
    studio.tasks[task]["predictions"].append(prediction)
    studio.annotate(task, "a cat " * 17_000)
    studio.tasks[task]["annotations"][0]["parent_prediction"] = 900
    begun = time.process_time()

    synced(studio, either_database, home, project)

    (row,) = rows(either_database)
    assert (row.suggestion or "").startswith("a dog a dog")
    assert row.suggestion_version == "v\ufffd\ufffd"
    assert (row.words_changed, row.guess) == (None, None)
    assert time.process_time() - begun < 5  # while it is compared, nobody else can write


def test_a_thousand_texts_in_one_annotation_are_a_thousand_captions(
    studio: ScriptedStudio, either_database: Database, home: Home, project: Project
) -> None:
    studio.annotate(studio.add_task(), *[f"caption {number}" for number in range(1000)])

    synced(studio, either_database, home, project)

    assert len(rows(either_database)[0].captions) == 1000


def test_what_follows_from_the_texts_is_found_out_while_others_can_write(
    studio: ScriptedStudio, either_database: Database, home: Home, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []

    def counting(suggestion: str | None, captions: Sequence[str]) -> dict[str, Any]:
        with either_database.session() as session:  # waits in vain for a sync that holds the database
            session.get_one(Project, project.id).title = captions[0]
        counted.append(captions[0])
        return derived(suggestion, captions)

    monkeypatch.setattr(corrections, "derived", counting)
    task = studio.add_task()
    studio.annotate(task, "p r " * 1000)
    synced(studio, either_database, home, project)
    changed = studio.tasks[task]["annotations"][0]
    changed["result"][0]["value"]["text"] = ["p s"]
    changed["updated_at"] = studio.tasks[task]["updated_at"] = moment()
    synced(studio, either_database, home, project)

    assert [text[:3] for text in counted] == ["p r", "p s"]
    assert rows(either_database)[0].search_text == "\np s"
