"""A label config with a title and a description, on a real Label Studio: both are suggested, and both are learnt."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.loop import Loop, opened_loop
from tests.support.models import tiny_base
from tests.support.pictures import picture_of_scene
from tests.support.runs import begun
from tests.support.servers import LabelStudioServer
from tests.support.studio import newest
from tests.support.styles import serve_styles

from captionloop.backend.label_studio.annotations import caption_item
from captionloop.backend.label_studio.label_config import CaptionTarget
from captionloop.backend.server.serve import build_service
from captionloop.errors import SettingsError
from captionloop.home import Home
from captionloop.jobs.captioning.annotate_run import run_annotate
from captionloop.jobs.learning.finetune_run import run_finetune
from captionloop.jobs.project.change_settings import change_settings
from captionloop.jobs.project.sync import sync
from captionloop.jobs.queue.attempt import Attempt
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.database import BoxCaption, RunKind, RunState
from captionloop.model.dataset.corrections import training_examples
from captionloop.model.dataset.styles import styles_of
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import Scene
from captionloop.model.starter.styles import STYLES

CONFIG = (
    '<View><Image name="image" value="$image"/><TextArea name="caption" toName="image" maxSubmissions="1"/>'
    '<TextArea name="title" toName="image" maxSubmissions="1"/></View>'
)
BOXES = {name: CaptionTarget(name, "image", "image", max_submissions=1) for name in ("caption", "title")}
TAUGHT, UNSEEN = 60, 60


def title(scene: Scene) -> str:
    """Only what is first, in the words of another manner, as a headline."""
    return STYLES["met_words"](scene).title()


MANNERS = {"caption": STYLES["alt_text"], "title": title}


def scene_of(place: int) -> tuple[Scene, int]:
    return example("two boxes", place)


class People:
    def __init__(self, loop: Loop, tasks: int) -> None:
        self.loop, self.number, self.studio = loop, loop.project.label_studio_id, loop.context.label_studio
        pictures = [picture_of_scene(scene, seed=seed) for scene, seed in map(scene_of, range(tasks))]
        self.tasks = self.studio.import_tasks(self.number, [{"data": {"image": picture}} for picture in pictures])

    def task(self, place: int) -> Any:
        return self.studio.task(self.number, self.tasks[place])

    def suggested(self, place: int) -> dict[str, str]:
        return {item["from_name"]: item["value"]["text"][0] for item in newest(self.task(place))["result"]}

    def write(self, place: int, **texts: str) -> None:
        items = [caption_item(BOXES[box], text) | {"origin": "prediction-changed"} for box, text in texts.items()]
        parent = newest(self.task(place))["id"]
        self.studio.create_annotation(
            self.number, self.tasks[place], result=items, lead_time=1.0, parent_prediction=parent
        )


@pytest.fixture
def open_loop(
    label_studio_server: LabelStudioServer, home: Home, redis_url: str, tmp_path: Path
) -> Iterator[Callable[..., Loop]]:
    opened = []

    def open_at(**variables: str) -> Loop:
        opened.append(opened_loop(label_studio_server, home, redis_url, tmp_path, **variables))
        loop = opened[-1].__enter__()
        loop.context.label_studio.update_project(loop.project.label_studio_id, label_config=CONFIG)
        sync(loop.context, loop.project.id)
        change_settings(loop.context, loop.context.project(loop.project.id), ["other_boxes=title"], by="test")
        return loop

    yield open_at
    for one in opened:
        one.__exit__(None, None, None)


def carry_out(loop: Loop, kind: RunKind, job: Callable[[Any, Attempt], str]) -> str:
    attempt = begun(loop.context.queue.runs, loop.project.id, kind)
    said = job(loop.context, attempt)
    attempt.finish(RunState.FINISHED, message=said)
    return said


def test_both_boxes_are_suggested_with_one_pass_of_the_encoder_and_what_is_written_is_kept_apart(
    open_loop: Callable[..., Loop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_base(tmp_path / "base").source
    loop = open_loop(CAPTIONLOOP_MODEL=base)
    people = People(loop, 3)
    passes: list[int] = []
    run_encoder = Captioner._run_encoder

    def counted(self: Captioner, images: Any) -> Any:
        passes.append(len(images))
        return run_encoder(self, images)

    monkeypatch.setattr(Captioner, "_run_encoder", counted)
    carry_out(loop, RunKind.ANNOTATE, run_annotate)
    assert set(people.suggested(0)) == {"caption"}  # nobody has written a title yet
    people.write(0, caption="a house", title="House")
    people.write(1, caption="a tree")
    sync(loop.context, loop.project.id)
    with loop.context.database.reading() as session:
        found = [(one.caption, one.style) for one in training_examples(session, loop.project.id)]
        assert [(style.name, style.corrections, style.control) for style in styles_of(session, loop.project.id)] == [
            (None, 2, None), ("title", 1, "title")
        ]  # fmt: skip
    assert found == [("a house", None), ("a tree", None), ("House", "title")]

    champion = serve_styles(loop.context.versions, loop.project, base, capitals={"title": "upper"})
    carry_out(loop, RunKind.ANNOTATE, run_annotate)
    shown = people.suggested(2)
    assert shown["title"] == shown["title"].upper() != shown["caption"]
    assert sum(passes) == 3  # one for each picture, whatever is written about it

    service = build_service(loop.context)
    try:
        (entry,) = service.predict(people.number, CONFIG, [people.task(2)])
    finally:
        service.close()
    assert {item["from_name"]: item["value"]["text"][0] for item in entry["result"]} == shown
    assert entry["model_version"] == champion
    assert carry_out(loop, RunKind.ANNOTATE, run_annotate).startswith("1 unlabelled task has")
    assert len(people.task(2)["predictions"]) == 2  # those of the base and of the champion


def test_a_box_without_a_style_yet_may_begin_with_the_caption(open_loop: Callable[..., Loop], tmp_path: Path) -> None:
    loop = open_loop(CAPTIONLOOP_MODEL=tiny_base(tmp_path / "base").source)
    change_settings(loop.context, loop.context.project(loop.project.id), ["empty_boxes=caption"], by="test")
    people = People(loop, 1)
    carry_out(loop, RunKind.ANNOTATE, run_annotate)
    shown = people.suggested(0)
    assert shown["title"] == shown["caption"]
    people.write(0, caption=shown["caption"], title="")
    sync(loop.context, loop.project.id)
    with loop.context.database.reading() as session:
        assert session.query(BoxCaption).all() == []


def test_a_box_that_is_not_there_is_refused_with_those_that_are(open_loop: Callable[..., Loop], tmp_path: Path) -> None:
    loop = open_loop(CAPTIONLOOP_MODEL=tiny_base(tmp_path / "base").source)
    with pytest.raises(SettingsError, match="has 'subtitle'; the label config's text boxes are caption, title"):
        change_settings(loop.context, loop.context.project(loop.project.id), ["other_boxes=subtitle"], by="test")


@pytest.mark.slow
def test_both_boxes_are_learnt_and_neither_is_in_the_others_words(open_loop: Callable[..., Loop]) -> None:
    loop = open_loop(CAPTIONLOOP_GATE="better")
    people = People(loop, TAUGHT + UNSEEN)
    carry_out(loop, RunKind.ANNOTATE, run_annotate)
    for place in range(TAUGHT):
        people.write(place, **{box: manner(scene_of(place)[0]) for box, manner in MANNERS.items()})
    assert "is the champion now" in carry_out(loop, RunKind.FINETUNE, run_finetune)
    carry_out(loop, RunKind.ANNOTATE, run_annotate)

    shown = [people.suggested(place) for place in range(TAUGHT, TAUGHT + UNSEEN)]
    scenes = [scene_of(place)[0] for place in range(TAUGHT, TAUGHT + UNSEEN)]
    for box, manner in MANNERS.items():
        right = sum(texts[box] == manner(scene) for texts, scene in zip(shown, scenes, strict=True))
        assert right / UNSEEN >= 0.9, box
    assert not any("Illustration" in texts["title"] or "One" in texts["caption"] for texts in shown)
