"""Every sync uses the configured limits of pictures."""

import base64
import io
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner
from PIL import Image
from tests.support.models import add_project
from tests.support.scripted_studio import TOKEN, ScriptedStudio, scripted_studio

from captionloop.backend.cli import cli
from captionloop.jobs import entry
from captionloop.model.database import CorrectionState, Database, Project
from captionloop.model.dataset.corrections import counts

MEGAPIXELS = 110


@pytest.fixture(scope="module")
def large_picture() -> str:
    """A PNG of 110 megapixels, of one bit each, as a `data:` address."""
    file = io.BytesIO()
    Image.new("1", (11_000, MEGAPIXELS * 10**6 // 11_000)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Iterator[ScriptedStudio]:
    with scripted_studio() as running:
        monkeypatch.setenv("LABEL_STUDIO_URL", running.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
        monkeypatch.setenv("REDIS_URL", redis_url)
        yield running


@pytest.fixture
def project(studio: ScriptedStudio, database: Database) -> Project:
    return add_project(database, server=studio.url)


def by_an_event(project: Project) -> None:
    entry.sync(project.id)


def by_the_command(project: Project) -> None:
    result = CliRunner().invoke(cli, ["sync", "--project", str(project.label_studio_id)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("sync", [by_an_event, by_the_command])
@pytest.mark.parametrize(("allowed", "state"), [(200, CorrectionState.ACTIVE), (100, CorrectionState.IMAGE_UNREADABLE)])
def test_a_picture_is_too_large_only_by_the_configured_limit(
    studio: ScriptedStudio,
    project: Project,
    database: Database,
    large_picture: str,
    monkeypatch: pytest.MonkeyPatch,
    sync: Callable[[Project], None],
    allowed: int,
    state: CorrectionState,
) -> None:
    monkeypatch.setenv("CAPTIONLOOP_MAX_IMAGE_MEGAPIXELS", str(allowed))
    monkeypatch.setattr(entry, "_DEBOUNCE_S", 0)
    studio.annotate(studio.add_task({"image": large_picture}), "a black sheet")

    sync(project)

    with database.reading() as session:
        assert counts(session, project.id)[state] == 1
