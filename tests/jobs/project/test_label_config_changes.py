"""People change a real project's label config, and no caption of theirs is lost or attached to the wrong picture."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import select
from tests.support.annotator import Annotator, inline, png
from tests.support.servers import LabelStudioServer

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.label_config import CaptionTarget
from captionloop.errors import LabelConfigError
from captionloop.home import Home
from captionloop.jobs.project.change_settings import change_settings
from captionloop.model.captioning.captioner import ScoredCaption
from captionloop.model.database import Correction, CorrectionState, Database, Project, RunKind
from captionloop.model.dataset.images import content_hash
from captionloop.model.dataset.suggestion_log import Answer, SuggestionLog

IMAGE = '<Image name="image" value="$image"/>'
TWO_IMAGES = IMAGE + '<Image name="other" value="$other"/>'
CAPTION = '<TextArea name="caption" toName="image"/>'
REMARKS = '<TextArea name="remarks" toName="image"/>'
FOR_REGIONS = '<TextArea name="caption" toName="image" perRegion="true"/>'
CHOICES = '<Choices name="caption" toName="image"><Choice value="good"/></Choices>'


def config(*tags: str) -> str:
    return f"<View>{''.join(tags)}</View>"


def box(name: str, to_name: str = "image") -> CaptionTarget:
    return CaptionTarget(name, to_name, "image")


BASE = config(IMAGE, CAPTION)


@pytest.fixture(scope="module")
def label_studio(label_studio_server: LabelStudioServer) -> Iterator[LabelStudio]:
    client = LabelStudio(label_studio_server.url, label_studio_server.token)
    yield client
    client.close()


@pytest.fixture
def annotator(
    label_studio: LabelStudio, label_studio_server: LabelStudioServer, database: Database, home: Home
) -> Annotator:
    return Annotator.in_new_project(label_studio, label_studio_server, database, home, label_config=BASE)


def row(annotator: Annotator) -> Project:
    with annotator.database.reading() as session:
        return session.get_one(Project, annotator.project.id)


def choose(annotator: Annotator, redis_url: str, control: str) -> None:
    with annotator.context(REDIS_URL=redis_url) as context:
        change_settings(context, row(annotator), [f"control={control}"], by="test")


def test_a_text_box_that_is_added_before_the_captions_box_changes_nothing(annotator: Annotator) -> None:
    first = annotator.submit(annotator.add_task(), "a cat", target=box("caption"))
    annotator.submit(annotator.add_task(), "a dog", target=box("caption"))
    annotator.sync()

    annotator.set_label_config(config(IMAGE, REMARKS, CAPTION))
    annotator.save_again(first)
    result = annotator.sync()

    assert (result.corrections, result.notice) == (2, "")
    assert annotator.learnt() == ["a cat", "a dog"]
    assert row(annotator).control == "caption"


def test_corrections_that_an_earlier_release_emptied_are_read_again(annotator: Annotator) -> None:
    """It took the first text box, whichever that was."""
    annotator.submit(annotator.add_task(), "a cat", target=box("caption"))
    annotator.sync()
    with annotator.database.session() as session:
        session.scalars(select(Correction)).one().state = CorrectionState.EMPTIED
        session.scalars(select(Correction)).one().captions = []
        project = session.get_one(Project, annotator.project.id)
        project.control, project.synced_by = None, {}

    annotator.sync()

    assert annotator.learnt() == ["a cat"]


def test_all_annotations_are_read_again_when_somebody_says_so(annotator: Annotator) -> None:
    annotator.submit(annotator.add_task(), "a cat", target=box("caption"))
    annotator.sync()
    with annotator.database.session() as session:
        session.scalars(select(Correction)).one().captions = ["something else"]
        project = session.get_one(Project, annotator.project.id)
        assert project.synced_until is not None
        project.synced_until = project.synced_until.replace(year=project.synced_until.year + 1)

    annotator.sync(reads_all=True)

    assert annotator.learnt() == ["a cat"]


@dataclass(frozen=True)
class Step:
    """A label config, the box that people write captions into there, and whether somebody has to be asked."""

    config: str
    written_into: CaptionTarget | None
    asks: bool = False


WALK = {
    "a box before it": Step(config(IMAGE, REMARKS, CAPTION), box("caption")),
    "in another order": Step(config(CAPTION, REMARKS, IMAGE), box("caption")),
    "one whose name says more": Step(
        config(IMAGE, '<TextArea name="image_caption" toName="image"/>', CAPTION), box("caption")
    ),
    "renamed": Step(config(IMAGE, '<TextArea name="text" toName="image"/>'), box("text"), asks=True),
    "renamed once more": Step(config(IMAGE, '<TextArea name="words" toName="image"/>'), box("words"), asks=True),
    "back": Step(BASE, box("caption")),
    "of another picture": Step(
        config(TWO_IMAGES, '<TextArea name="caption" toName="other"/>'), box("caption", to_name="other")
    ),
    "its picture out of another field": Step(config('<Image name="image" value="$other"/>', CAPTION), box("caption")),
    "its picture renamed": Step(
        config('<Image name="photo" value="$image"/><TextArea name="caption" toName="photo"/>'),
        box("caption", to_name="photo"),
    ),
    "several captions": Step(
        config(IMAGE, '<TextArea name="caption" toName="image" maxSubmissions="3"/>'), box("caption")
    ),
    "for regions": Step(
        config(IMAGE, '<TextArea name="caption" toName="image" perRegion="true"/>', REMARKS), None, True
    ),
    "of another type": Step(config(IMAGE, CHOICES, REMARKS), None, True),
    "gone": Step(config(IMAGE, REMARKS), None, True),
    "no box at all": Step(config(IMAGE), None),
}


def test_ten_changes_and_back_lose_no_caption(annotator: Annotator) -> None:
    """One annotation is saved again after each of them, one without the text wherever its box is not there."""
    red_and_blue = {"data": {"image": inline("red"), "other": inline("blue")}}
    oldest, cleared = (
        annotator.submit(task, caption, target=box("caption"))
        for task, caption in zip(
            annotator.label_studio.import_tasks(annotator.project_id, [red_and_blue, red_and_blue]),
            ("the first caption", "the second caption"),
            strict=True,
        )
    )
    annotator.sync()
    written, known = ["the first caption", "the second caption"], 2
    for name, step in WALK.items():
        annotator.set_label_config(step.config)
        annotator.save_again(oldest)
        if step.written_into is None or step.written_into.from_name != "caption":
            annotator.change(cleared)
        if step.written_into is not None:
            caption = f"written when it was: {name}"
            task = annotator.label_studio.import_tasks(annotator.project_id, [red_and_blue])[0]
            annotator.submit(task, caption, target=step.written_into)
            written.append(caption)
        if name == "no box at all":
            with pytest.raises(LabelConfigError):
                annotator.sync()
        else:
            result = annotator.sync()
            assert result.corrections == len(written), name
            assert bool(result.notice) is step.asks, name
        assert annotator.learnt() == written, name
        assert len(annotator.learnt()) >= known, name
        known = len(annotator.learnt())

    annotator.set_label_config(BASE)
    result = annotator.sync(reads_all=True)

    assert (annotator.learnt(), result.notice, row(annotator).control) == (written, "", "caption")
    pictures = {row.captions[0]: row.image_sha256 for row in annotator.corrections()}
    of_other = {caption for caption, picture in pictures.items() if picture == content_hash(png("blue"))}
    assert of_other == {
        "written when it was: of another picture",
        "written when it was: its picture out of another field",
    }


class TestSavedWhileItWasAnother:
    """What was saved by a label config that was gone again before any sync saw it."""

    @pytest.fixture
    def known(self, annotator: Annotator) -> int:
        annotation = annotator.submit(annotator.add_task(), "a cat", target=box("caption"))
        annotator.sync()
        return annotation

    def test_under_another_name(self, annotator: Annotator, known: int) -> None:
        annotator.set_label_config(config(IMAGE, '<TextArea name="text" toName="image"/>'))
        annotator.change(known, "a cat", target=box("text"))
        annotator.set_label_config(BASE)
        annotator.sync()
        assert annotator.learnt() == ["a cat"]

    def test_for_regions(self, annotator: Annotator, known: int) -> None:
        annotator.set_label_config(config(IMAGE, FOR_REGIONS))
        region = {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 0, "text": ["an ear"]}
        item = {"from_name": "caption", "to_name": "image", "type": "textarea", "id": "1", "value": region}
        annotator.call("PATCH", f"/api/annotations/{known}/", json={"result": [item]})
        annotator.set_label_config(BASE)
        annotator.sync()
        assert annotator.learnt() == ["a cat"]

    def test_what_a_person_clears_in_the_box_is_cleared_beside_other_tags(
        self, annotator: Annotator, known: int
    ) -> None:
        annotator.set_label_config(config(IMAGE, CAPTION, REMARKS))
        annotator.change(known, "blurred", target=box("remarks"))
        annotator.sync()
        assert annotator.learnt() == []


class TestARename:
    @pytest.fixture(autouse=True)
    def renamed(self, annotator: Annotator) -> None:
        annotator.submit(annotator.add_task(), "a cat", target=box("caption"))
        annotator.sync()
        annotator.set_label_config(config(IMAGE, '<TextArea name="text" toName="image"/>'))

    def test_is_followed_and_said(self, annotator: Annotator) -> None:
        annotator.submit(annotator.add_task(), "a dog", target=box("text"))

        result = annotator.sync()

        assert annotator.learnt() == ["a cat", "a dog"]
        assert "'caption', which captions went into, is gone" in result.notice
        assert "captionloop project set control=text" in result.notice
        assert [found.control for found in annotator.corrections()] == ["caption", "text"]

    def test_is_confirmed_once(self, annotator: Annotator, redis_url: str) -> None:
        annotator.sync()
        choose(annotator, redis_url, "text")
        assert annotator.sync().notice == ""

    def test_an_annotation_of_before_that_is_saved_without_its_text_keeps_its_caption(
        self, annotator: Annotator
    ) -> None:
        (known,) = annotator.corrections()
        assert known.annotation_id is not None
        annotator.call("PATCH", f"/api/annotations/{known.annotation_id}/", json={"result": []})

        annotator.sync()

        assert annotator.learnt() == ["a cat"]

    def test_a_text_that_somebody_clears_in_the_new_box_is_cleared(self, annotator: Annotator) -> None:
        annotation = annotator.submit(annotator.add_task(), "a dog", target=box("text"))
        annotator.sync()
        annotator.change(annotation)

        annotator.sync()

        assert annotator.learnt() == ["a cat"]


class TestAChoice:
    @pytest.fixture(autouse=True)
    def gone(self, annotator: Annotator) -> None:
        annotator.submit(annotator.add_task(), "a cat", target=box("caption"))
        annotator.sync()
        boxes = [f'<TextArea name="{name}" toName="image"/>' for name in ("headline", "text")]
        annotator.set_label_config(config(IMAGE, *boxes))
        annotator.submit(annotator.add_task(), "a dog", target=box("text"))

    def test_until_a_text_box_is_chosen_nothing_is_read_and_nothing_lost(self, annotator: Annotator) -> None:
        result = annotator.sync()

        assert annotator.learnt() == ["a cat"]
        assert "headline or text" in result.notice

    def test_captions_that_were_written_before_the_choice_are_read_after_it(
        self, annotator: Annotator, redis_url: str
    ) -> None:
        annotator.sync()
        choose(annotator, redis_url, "text")

        assert annotator.sync().notice == ""
        assert annotator.learnt() == ["a cat", "a dog"]

    def test_a_text_box_may_be_chosen_before_any_sync_has_seen_the_change(
        self, annotator: Annotator, redis_url: str
    ) -> None:
        choose(annotator, redis_url, "text")
        annotator.sync()
        assert annotator.learnt() == ["a cat", "a dog"]

    def test_another_box_beside_the_present_one_is_read_instead_of_it_and_back(
        self, annotator: Annotator, redis_url: str
    ) -> None:
        annotator.set_label_config(config(IMAGE, CAPTION, REMARKS))
        both = [
            {"from_name": name, "to_name": "image", "type": "textarea", "value": {"text": [text]}}
            for name, text in {"caption": "a bird", "remarks": "blurred"}.items()
        ]
        annotator.call("POST", f"/api/tasks/{annotator.add_task()}/annotations/", json={"result": both})
        annotator.sync()
        assert annotator.learnt() == ["a cat", "a bird"]

        choose(annotator, redis_url, "remarks")
        annotator.sync()
        assert annotator.learnt() == ["blurred"]

        choose(annotator, redis_url, "caption")
        annotator.sync()
        assert annotator.learnt() == ["a cat", "a bird"]


def test_suggestions_that_wait_in_another_box_are_made_again(
    label_studio: LabelStudio, label_studio_server: LabelStudioServer, database: Database, home: Home, redis_url: str
) -> None:
    annotator = Annotator.in_new_project(
        label_studio, label_studio_server, database, home, label_config=BASE, is_connected=True
    )
    annotator.submit(annotator.add_task(), "a cat", target=box("caption"))
    annotator.sync(REDIS_URL=redis_url)
    SuggestionLog(database).keep(annotator.project.id, "v1", [Answer(1, ScoredCaption("a dog", 0.5))])

    annotator.set_label_config(config(IMAGE, '<TextArea name="text" toName="image"/>'))
    annotator.sync(REDIS_URL=redis_url)

    with annotator.context(REDIS_URL=redis_url) as context:
        assert [run.kind for run in context.queue.runs.unfinished(annotator.project.id)] == [RunKind.ANNOTATE]
