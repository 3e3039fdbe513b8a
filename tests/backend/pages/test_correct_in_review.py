"""A reviewer corrects captions on Review: in a real Label Studio, with who did it, and to be taken back."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Page, expect
from tests.support.live_room import served, sign_in_at
from tests.support.room import USER, app_of, opened_room, post, signed_in
from tests.support.servers import LabelStudioServer
from tests.support.versions import FinishedRun

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.backend.page_data.room import Room
from captionloop.home import Home
from captionloop.model.database import Correction, CorrectionState, Project, utc_now
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import CorrectionRecord
from captionloop.settings import Secret

_WRITTEN = "a boat beside a  car"  # with two spaces, which are read as one


@dataclass(frozen=True)
class Reviewed:
    """A correction whose annotation is in Label Studio, beside a choice of its annotator."""

    room: Room
    studio: LabelStudio
    number: int
    annotation: int
    correction: int

    @property
    def page(self) -> str:
        return f"/projects/{self.number}/review?item={self.correction}"

    def in_label_studio(self) -> list[str]:
        (text,) = [item for item in self.studio.annotation(self.annotation)["result"] if item["type"] == "textarea"]
        return list(text["value"]["text"])

    def here(self) -> Correction:
        with self.room.database.reading() as session:
            return session.get_one(Correction, self.correction)


@pytest.fixture
def reviewed(
    finished: FinishedRun, home: Home, redis_url: str, label_studio_server: LabelStudioServer
) -> Iterator[Reviewed]:
    url, token = label_studio_server.url, Secret(label_studio_server.token)
    config = SAMPLE_LABEL_CONFIG.replace(
        "</View>\n</View>", '<Choices name="kind" toName="image"><Choice value="x"/></Choices></View></View>'
    )
    with opened_room(home, redis_url, label_studio_url=url, label_studio_api_key=token) as room:
        studio = room.context.label_studio
        number = int(studio.create_project("Reviewing", config)["id"])
        (task,) = studio.import_tasks(number, [{"data": {"image": "/a.png"}}])
        place = {"to_name": "image", "origin": "manual"}
        text = {"from_name": "caption", "type": "textarea", "value": {"text": [_WRITTEN]}, **place}
        kind = {"from_name": "kind", "type": "choices", "value": {"choices": ["x"]}, **place}
        annotation = studio.create_annotation(number, task, result=[text, kind])["id"]
        with room.database.session() as session:
            session.get_one(Project, finished.project.id).label_studio_id = number
            record = CorrectionRecord(
                annotation, task, CorrectionState.ACTIVE, ["a boat beside a car"], utc_now(), utc_now(),
                control="caption", suggestion="a boat", suggestion_version=finished.version.version, annotator="ada@x",
            )  # fmt: skip
            corrections.upsert(session, finished.project.id, record)
            row = session.query(Correction).filter_by(annotation_id=annotation).one()
            made = Reviewed(room, studio, number, annotation, row.id)
        yield made


def test_a_caption_is_corrected_by_keyboard_in_label_studio_too_with_who_did_it(reviewed: Reviewed, page: Page) -> None:
    with served(app_of(reviewed.room)) as address:
        sign_in_at(page, address, f"/projects/{reviewed.number}/")
        page.goto(address + reviewed.page)
        page.wait_for_load_state("load")
        page.keyboard.press("e")
        page.wait_for_function("document.activeElement.name === 'caption'")
        page.keyboard.press("Control+a")
        page.keyboard.type("a boat and a car")
        page.keyboard.press("Control+Enter")
        expect(page.locator(".said")).to_contain_text("Written to Label Studio")

        assert reviewed.in_label_studio() == ["a boat and a car"]
        assert len(reviewed.studio.annotation(reviewed.annotation)["result"]) == 2
        stored = reviewed.here()
        assert (stored.captions, stored.reviewed_by, stored.annotator) == (["a boat and a car"], USER, "ada@x")
        assert stored.words_changed == 3
        expect(page.locator(".facts")).to_contain_text(f"Changed by {USER}")
        expect(page.locator(".facts q")).to_have_text("a boat beside a car")

        page.keyboard.press("z")
        expect(page.locator(".said")).to_contain_text("Taken back.")
        assert reviewed.in_label_studio() == reviewed.here().captions == ["a boat beside a car"]
        expect(page.locator(".facts q")).to_have_count(0)

        page.keyboard.press("b")
        page.wait_for_function("document.activeElement.name === 'sent_back'")
        page.keyboard.type("which colour?")
        page.keyboard.press("Enter")
        expect(page.locator(".said")).to_contain_text("Sent back: ")
        page.goto(f"{address}/projects/{reviewed.number}/review?sent_back=yes")
        expect(page.locator(".sentences")).to_contain_text("which colour?")


@pytest.fixture
def lead(reviewed: Reviewed) -> FlaskClient:
    return signed_in(app_of(reviewed.room))


def test_what_was_changed_in_label_studio_meanwhile_is_not_overwritten(reviewed: Reviewed, lead: FlaskClient) -> None:
    path = f"/projects/{reviewed.number}/review/{reviewed.correction}/captions"
    result = reviewed.studio.annotation(reviewed.annotation)["result"]
    result[0]["value"]["text"] = ["somebody else's"]
    reviewed.studio.update_annotation(reviewed.annotation, result=result)

    answer = post(lead, path, page=reviewed.page, caption="mine")

    assert (answer.status_code, "changed in Label Studio since" in answer.get_data(as_text=True)) == (409, True)
    assert reviewed.in_label_studio() == ["somebody else's"]
    assert reviewed.here().captions == ["a boat beside a car"]


@pytest.mark.parametrize("caption", ["", " \t\n", "x" * 10_001])
def test_a_caption_that_cannot_be_is_refused_and_nothing_changes(
    reviewed: Reviewed, lead: FlaskClient, caption: str
) -> None:
    path = f"/projects/{reviewed.number}/review/{reviewed.correction}/captions"

    assert post(lead, path, page=reviewed.page, caption=caption).status_code == 400

    assert reviewed.in_label_studio() == [_WRITTEN]
    assert reviewed.here().captions == ["a boat beside a car"]


def test_an_undo_that_comes_too_late_leaves_the_newer_caption_and_says_so_once(
    reviewed: Reviewed, lead: FlaskClient
) -> None:
    post(lead, f"/projects/{reviewed.number}/review/{reviewed.correction}/captions", page=reviewed.page, caption="mine")
    result = reviewed.studio.annotation(reviewed.annotation)["result"]
    result[0]["value"]["text"] = ["somebody else's"]
    reviewed.studio.update_annotation(reviewed.annotation, result=result)

    undo = f"/projects/{reviewed.number}/review/undo"
    assert post(lead, undo, page=reviewed.page).status_code == 409
    assert "nothing of yours" in post(lead, undo, page=reviewed.page).get_data(as_text=True)
    assert reviewed.in_label_studio() == ["somebody else's"]


def test_sending_back_ends_when_the_annotator_changes_the_caption(reviewed: Reviewed, lead: FlaskClient) -> None:
    path = f"/projects/{reviewed.number}/review/{reviewed.correction}"
    post(lead, path, page=reviewed.page, sent_back="which colour?")
    stored = reviewed.here()
    assert stored.sent_back == "which colour?"

    record = {name: getattr(stored, name) for name in CorrectionRecord.__dataclass_fields__}
    with reviewed.room.database.session() as session:
        changed = CorrectionRecord(**record | {"captions": ["a red boat"], "updated_at": utc_now()})
        corrections.upsert(session, stored.project_id, changed)

    assert reviewed.here().sent_back == ""
