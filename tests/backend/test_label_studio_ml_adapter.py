"""The adapter under the real `label-studio-ml` 2.x, which the package index does not have (see the README)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.models import tiny_base
from tests.support.pictures import picture

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
            reason="label-studio-ml 2.x is only in HumanSignal's git repository; the README has the line for it",
        )


@pytest.fixture
def client(
    label_studio_ml: Any, database: Database, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The app that `label-studio-ml start` serves, with our model class."""
    tiny_base(tmp_path / "base")
    monkeypatch.setenv("CAPTIONLOOP_MODEL", str(tmp_path / "base"))
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://localhost:9")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "5" * 40)
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
