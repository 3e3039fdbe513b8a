"""The adapter under the real `label-studio-ml` 2.x, which the package index does not have (see docs/install.md)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.annotator import png
from tests.support.models import tiny_base
from tests.support.pictures import picture
from tests.support.scripted_studio import TOKEN, Reply, scripted_studio

from captionloop.model.database import Database

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # its own warnings are not ours to mend

RECORDED = Path(__file__).parent.parent / "data" / "label-studio"


def recorded(name: str) -> dict[str, Any]:
    return dict(json.loads((RECORDED / f"{name}.json").read_text())["body"])


@pytest.fixture(scope="module")
def label_studio_ml(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The package's `api`; when first imported it makes a cache in the directory that MODEL_DIR names."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("MODEL_DIR", str(tmp_path_factory.mktemp("cache")))
        return pytest.importorskip(
            "label_studio_ml.api",
            reason="label-studio-ml 2.x is only in HumanSignal's git repository; docs/install.md has the command",
        )


@pytest.fixture
def known() -> dict[str, str]:
    """What the environment says of Label Studio."""
    return {"LABEL_STUDIO_URL": "http://localhost:9", "LABEL_STUDIO_API_KEY": "5" * 40}


@pytest.fixture
def client(
    label_studio_ml: Any,
    database: Database,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    known: dict[str, str],
) -> Iterator[Any]:
    """The app that `label-studio-ml start` serves, with our model class."""
    tiny_base(tmp_path / "base")
    monkeypatch.setenv("CAPTIONLOOP_MODEL", str(tmp_path / "base"))
    monkeypatch.setenv("REDIS_URL", redis_url)
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    from captionloop.backend import label_studio_ml_adapter

    label_studio_ml_adapter._service.cache_clear()
    yield label_studio_ml.init_app(model_class=label_studio_ml_adapter.CaptionloopModel).test_client()
    label_studio_ml_adapter._service().close()
    label_studio_ml_adapter._service.cache_clear()


def test_health_names_our_model_class(client: Any) -> None:
    assert client.get("/health").get_json() == {"status": "UP", "model_class": "CaptionloopModel"}


def test_setup_answers_with_the_champion(client: Any) -> None:
    version = client.post("/setup", json=recorded("setup")).get_json()["model_version"]

    assert version.startswith("base-")


def test_predict_answers_with_a_caption_of_that_version(client: Any) -> None:
    body = recorded("predict_one_task")
    body["tasks"][0]["data"]["image"] = picture("red")

    [result] = client.post("/predict", json=body).get_json()["results"]

    assert result["model_version"] == client.post("/setup", json=recorded("setup")).get_json()["model_version"]
    assert isinstance(result["result"][0]["value"]["text"][0], str)


def test_start_training_queues_a_run(client: Any) -> None:
    body = recorded("webhook_start_training")

    answer = client.post("/webhook", json=body).get_json()

    assert (answer["status"], bool(answer["result"]["job"])) == ("ok", True)


def predicted(client: Any, *images: str) -> list[dict[str, Any]]:
    """The entries of tasks with these images."""
    body = recorded("predict_one_task")
    (task,) = body["tasks"]
    body["tasks"] = [task | {"id": place, "data": {"image": image}} for place, image in enumerate(images, start=1)]
    return list(client.post("/predict", json=body).get_json()["results"])


class TestWithoutALabelStudioThatIsKnown:
    @pytest.fixture
    def known(self) -> dict[str, str]:
        return {}

    def test_a_picture_that_needs_none_is_captioned_and_the_other_gets_the_reason(self, client: Any) -> None:
        inline, uploaded = predicted(client, picture("red"), "/data/upload/1/a.png")

        assert inline["result"][0]["value"]["text"]
        assert "result" not in uploaded
        assert "LABEL_STUDIO_URL" in uploaded["reason"]


class TestWhatLabelStudioMlGoesBy:
    @pytest.fixture
    def known(self) -> Iterator[dict[str, str]]:
        with scripted_studio(lambda method, path: Reply(200, png(), "image/png")) as studio:
            yield {"LABEL_STUDIO_HOST": studio.url, "LABEL_STUDIO_ACCESS_TOKEN": TOKEN}

    def test_names_the_label_studio_where_ours_is_unset(self, client: Any) -> None:
        (uploaded,) = predicted(client, "/data/upload/1/a.png")
        assert uploaded["result"][0]["value"]["text"]


class TestAnAddressThatIsNone:
    @pytest.fixture
    def known(self) -> dict[str, str]:
        return {"LABEL_STUDIO_HOST": "label-studio", "LABEL_STUDIO_ACCESS_TOKEN": TOKEN}

    def test_ends_no_batch(self, client: Any) -> None:
        (inline,) = predicted(client, picture("red"))
        assert inline["result"][0]["value"]["text"]
