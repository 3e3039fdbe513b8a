"""The versions of a project, and what can be done with each."""

import io
import re
import zipfile

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Page, expect
from tests.support.damage import damage
from tests.support.live_room import press, sign_in
from tests.support.room import post
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.room import Room
from captionloop.backend.page_data.versions import held_out_figures, read_versions
from captionloop.model.database import Version

PAGE = "/projects/1/versions"


@pytest.fixture
def candidate(finished: FinishedRun) -> str:
    """A version that is better than the champion, which is the base."""
    return finished.version.version


def text_of(client: FlaskClient, path: str = PAGE) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    return answer.get_data(as_text=True)


def test_the_page_shows_every_version_with_its_figures(room: Room, finished: FinishedRun) -> None:
    shown = read_versions(room, finished.project)

    newest, base = shown.versions
    assert (shown.champion, newest.info.version, base.is_base) == (
        finished.base.name, finished.version.version, True,
    )  # fmt: skip
    assert newest.figures == held_out_figures(finished.version.metrics)
    assert base.figures == held_out_figures(finished.version.metrics["gate"]["champion"])  # as the run measured it
    assert (newest.size_bytes or 0) > 100_000


@pytest.mark.parametrize(("difference", "sign"), [(0.5, "▲"), (-0.5, "▼"), (0.0, "="), (-0.001, "=")])
def test_the_sign_before_a_difference_says_better_worse_or_the_same(
    room: Room, lead: FlaskClient, candidate: str, difference: float, sign: str
) -> None:
    with room.database.session() as session:
        version = session.get_one(Version, candidate)
        version.metrics = version.metrics | {"gate": version.metrics["gate"] | {"difference": difference}}

    assert re.search(rf"{sign} [+−]\d", text_of(lead))


def test_the_drawing_leads_to_each_version(lead: FlaskClient, candidate: str, finished: FinishedRun) -> None:
    text = text_of(lead)

    assert 'class="node candidate"' in text
    for name in (candidate, finished.base.name):
        assert f'<a href="{PAGE}/{name}" aria-label' in text
        assert text_of(lead, f"{PAGE}/{name}")


def test_what_a_promotion_does_is_said_before_it_is_done(lead: FlaskClient, candidate: str) -> None:
    assert f"Promote {candidate}: suggestions of all unlabelled tasks will be renewed" in text_of(lead)


@pytest.mark.parametrize(
    ("unlabelled", "said"),
    [
        (312, "suggestions of 312 unlabelled tasks will be renewed"),
        (1, "suggestions of 1 unlabelled task will be renewed"),
        (0, "there are none now"),
        (None, "did not say in time"),
    ],
)
def test_the_number_of_tasks_is_label_studios(
    lead: FlaskClient, candidate: str, monkeypatch: pytest.MonkeyPatch, unlabelled: int | None, said: str
) -> None:
    monkeypatch.setattr(Room, "unlabelled_tasks", lambda room, project: unlabelled)

    assert said in text_of(lead, f"{PAGE}/{candidate}/reach")


def test_without_label_studio_no_number_is_known(room: Room, finished: FinishedRun) -> None:
    assert room.unlabelled_tasks(finished.project) is None


def test_promoting_makes_it_champion_and_has_suggestions_renewed(
    lead: FlaskClient, room: Room, finished: FinishedRun, candidate: str
) -> None:
    answer = post(lead, f"{PAGE}/{candidate}/promote", page=PAGE)

    assert f"{candidate} is the champion now" in answer.get_data(as_text=True)
    assert room.versions.champion(finished.project.id).version == candidate
    assert [run.kind.value for run in room.runs.active()] == ["annotate"]


def test_rolling_back_from_this_page_leads_back_to_it(
    lead: FlaskClient, room: Room, finished: FinishedRun, candidate: str
) -> None:
    room.versions.promote(finished.project.id, candidate, reason="test")

    answer = post(lead, "/projects/1/rollback", page=PAGE, back=PAGE)

    assert answer.request.path == PAGE
    assert f"{finished.base.name} is the champion again" in answer.get_data(as_text=True)


def test_a_deleted_version_is_told_of_and_cannot_be_promoted(lead: FlaskClient, candidate: str) -> None:
    post(lead, f"{PAGE}/{candidate}/delete", page=PAGE)

    text = text_of(lead, f"{PAGE}/{candidate}")
    assert "its files are gone, so it cannot be promoted" in text
    assert f"{candidate}/promote" not in text + text_of(lead)
    answer = post(lead, f"{PAGE}/{candidate}/promote", page=PAGE)
    assert (answer.status_code, f"{candidate} was deleted" in answer.get_data(as_text=True)) == (404, True)


@pytest.mark.faults
@pytest.mark.parametrize("path", [PAGE, f"{PAGE}/NAME"])
@pytest.mark.parametrize("file", ["model.safetensors", "captionloop.json"])
def test_a_damaged_version_is_told_of_and_not_offered_for_promotion(
    lead: FlaskClient, finished: FinishedRun, path: str, file: str
) -> None:
    damage(finished.version.path / file, "truncated")

    text = text_of(lead, path.replace("NAME", finished.version.version))

    assert re.search(rf'role="alert">[^<]*{file}[^<]*Let another version serve', text)
    assert f"Promote {finished.version.version}" not in text


@pytest.mark.faults
def test_a_version_whose_damaged_file_was_put_back_is_no_longer_told_of(
    lead: FlaskClient, finished: FinishedRun
) -> None:
    weights = finished.version.path / "model.safetensors"
    kept = weights.read_bytes()
    damage(weights, "missing")
    assert 'role="alert"' in text_of(lead)

    weights.write_bytes(kept)

    assert 'role="alert"' not in text_of(lead)


def test_the_champion_offers_no_deletion_and_refuses_it(
    lead: FlaskClient, room: Room, finished: FinishedRun, candidate: str
) -> None:
    room.versions.promote(finished.project.id, candidate, reason="test")

    assert f"{candidate}/delete" not in text_of(lead, f"{PAGE}/{candidate}")
    answer = post(lead, f"{PAGE}/{candidate}/delete", page=PAGE)
    assert (answer.status_code, "is the champion" in answer.get_data(as_text=True)) == (409, True)


def test_deleting_what_a_rollback_leads_to_says_so_first(
    lead: FlaskClient, room: Room, finished: FinishedRun, candidate: str
) -> None:
    room.versions.promote(finished.project.id, candidate, reason="test")
    room.versions.promote(finished.project.id, finished.base.name, reason="test")

    assert f"A rollback from {finished.base.name} leads to {candidate}" in text_of(lead, f"{PAGE}/{candidate}")
    assert post(lead, f"{PAGE}/{candidate}/delete", page=PAGE).status_code == 409
    assert post(lead, f"{PAGE}/{candidate}/delete", page=PAGE, even_rollback_target="yes").status_code == 200


def test_a_pinned_version_is_kept_until_it_is_unpinned(lead: FlaskClient, candidate: str) -> None:
    post(lead, f"{PAGE}/{candidate}/pin", page=PAGE)
    assert post(lead, f"{PAGE}/{candidate}/delete", page=PAGE).status_code == 409

    post(lead, f"{PAGE}/{candidate}/pin", page=PAGE, pinned="no")
    assert post(lead, f"{PAGE}/{candidate}/delete", page=PAGE).status_code == 200


def test_the_export_is_an_attachment_with_the_model_in_it(lead: FlaskClient, candidate: str) -> None:
    answer = lead.get(f"{PAGE}/{candidate}/export")

    assert answer.headers["Content-Disposition"] == f'attachment; filename="{candidate}.zip"'
    names = zipfile.ZipFile(io.BytesIO(answer.data)).namelist()
    assert {f"{candidate}/config.json", f"{candidate}/model.safetensors"} <= set(names)


def test_the_report_has_a_policy_that_allows_its_style_and_no_script(lead: FlaskClient, candidate: str) -> None:
    answer = lead.get(f"{PAGE}/{candidate}/report")

    policy = answer.headers["Content-Security-Policy"]
    assert (answer.status_code, "script" in policy) == (200, False)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policy


def test_the_report_can_be_taken_away(lead: FlaskClient, candidate: str) -> None:
    answer = lead.get(f"{PAGE}/{candidate}/report?download=1")

    assert answer.headers["Content-Disposition"] == f'attachment; filename="report-of-{candidate}.html"'


def test_the_table_can_be_taken_away(lead: FlaskClient, candidate: str) -> None:
    rows = lead.get(f"{PAGE}?format=json").get_json()

    assert (rows[0]["version"], rows[0]["state"]) == (candidate, "candidate")


def test_a_reader_sees_all_and_is_offered_no_change(reader: FlaskClient, candidate: str) -> None:
    for path in (PAGE, f"{PAGE}/{candidate}"):
        text = text_of(reader, path)
        assert (f"{PAGE}/{candidate}/report" in text, 'name="pinned"' in text, "/promote" in text) == (
            True, False, False,
        )  # fmt: skip


def test_an_unknown_version_is_a_page_that_says_so(lead: FlaskClient) -> None:
    answer = lead.get(f"{PAGE}/v99")

    assert (answer.status_code, "There is no version" in answer.get_data(as_text=True)) == (404, True)


def test_figures_that_a_run_did_not_keep_are_not_made_up() -> None:
    assert held_out_figures({"cider_d": 1.0}) is None


def test_by_keyboard_a_version_is_pinned_and_a_promotion_read(page: Page, served: str, candidate: str) -> None:
    sign_in(page, served)
    page.goto(f"{served}{PAGE}/{candidate}")
    press(page, "p")
    expect(page.locator(".said-now")).to_contain_text("is pinned")
    press(page, "u")
    expect(page.locator("h1")).to_contain_text("is the champion")

    page.wait_for_load_state("load")
    page.locator("table summary").first.press("Enter")

    expect(page.locator("table p.reach").first).to_contain_text("did not say in time")


def test_a_share_says_of_how_many_and_the_base_has_the_figures_that_a_run_measured(
    lead: FlaskClient, finished: FinishedRun
) -> None:
    shown = text_of(lead, PAGE)

    assert (
        shown.count(f'<span class="quiet of">of {len(finished.held_out)}</span>') == 2
    )  # the version's, and the base's
    assert "not measured" not in shown
