"""The frame of every page."""

from flask import Flask
from flask.testing import FlaskClient
from tests.support.models import add_project
from tests.support.room import post
from tests.support.versions import FinishedRun

from captionloop.model.database import Database, Project


def test_the_only_project_needs_no_choice(lead: FlaskClient) -> None:
    assert lead.get("/").headers["Location"] == "/projects/1/"


def test_of_several_projects_one_is_chosen_on_the_start_page_and_in_the_frame(
    lead: FlaskClient, database: Database
) -> None:
    with database.session() as session:
        session.get_one(Project, add_project(database, 2).id).title = "Birds & bees"

    for path in ("/", "/projects/1/"):
        assert '<a href="/projects/2/" dir="auto">Birds &amp; bees</a>' in lead.get(path).get_data(as_text=True)


def test_a_project_of_another_label_studio_is_not_offered(lead: FlaskClient, database: Database) -> None:
    add_project(database, 2, server="https://elsewhere.example")

    assert lead.get("/").headers["Location"] == "/projects/1/"
    assert lead.get("/projects/2/").status_code == 404


def test_without_a_project_the_page_says_how_to_connect_one(
    lead: FlaskClient, database: Database, finished: FinishedRun
) -> None:
    with database.session() as session:
        session.get_one(Project, finished.project.id).is_connected = False

    assert "captionloop connect --project ID" in lead.get("/").get_data(as_text=True)


def test_the_tab_of_the_page_is_marked(lead: FlaskClient) -> None:
    assert '<a href="/projects/1/" aria-current="page">Overview</a>' in lead.get("/projects/1/").get_data(as_text=True)


def test_every_page_leads_to_label_studio(lead: FlaskClient) -> None:
    assert 'href="http://localhost:9/projects/1/data"' in lead.get("/projects/1/").get_data(as_text=True)


def test_a_reader_can_sign_out(reader: FlaskClient) -> None:
    answer = post(reader, "/logout", page="/projects/1/")

    assert (answer.status_code, answer.request.path) == (200, "/login")


def test_an_address_that_is_none_is_a_page_for_a_browser_and_json_for_a_program(app: Flask) -> None:
    client = app.test_client()

    page = client.get("/projekt/1", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    answer = client.get("/projekt/1")

    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert (answer.status_code, answer.mimetype) == (404, "application/json")
