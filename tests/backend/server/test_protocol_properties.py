"""Whatever JSON comes in: an answer with a message, as many results as tasks, and never the caption of another task."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support.models import tiny_base
from tests.support.pictures import picture
from tests.support.postgres import empty_database
from tests.support.servers import RedisServer
from tests.support.service import AUTH, CONFIG, caption_service, client_of, predict

from captionloop.home import Home
from captionloop.model.database import Database

RECORDED = Path(__file__).parents[2] / "data" / "label-studio"
COLOURS = ("red", "green", "blue", "white", "black", "yellow", "purple", "orange")
SECRET = {"X-Captionloop-Secret": "guessed"}

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(), max_size=20)  # with surrogates and NUL
    | st.sampled_from(["", "1.5", "\x00", "\ud800", CONFIG, "<View/>", "9" * 5000, "START_TRAINING", "TASKS_CREATED"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("tasks", "project", "label_config", "schema", "params", "action", "job", "id", "data", "hostname")
BODIES = JSON | st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6)
CHECKED = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def client(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FlaskClient]:
    directory = tmp_path_factory.mktemp("properties")
    home = Home(directory / "home")
    home.create()
    if request.param == "postgresql":
        with empty_database(request.getfixturevalue("postgres_server")) as url:
            yield from client_on(url, redis_server, directory)
    else:
        yield from client_on(f"sqlite:///{home.database}", redis_server, directory)


def client_on(url: str, redis_server: RedisServer, directory: Path) -> Iterator[FlaskClient]:
    with closing(Database(url)) as database:
        database.migrate()
        base = tiny_base(directory / "base")
        with caption_service(database, f"{redis_server.url}?db=2", directory, base) as service:
            yield client_of(service)


@pytest.fixture(scope="module")
def known(client: FlaskClient) -> dict[str, Any]:
    """The caption of each colour, asked for alone."""
    found = {colour: predict(client, picture(colour))[0]["result"][0]["value"]["text"] for colour in COLOURS}
    assert len({str(text) for text in found.values()}) > len(COLOURS) / 2, "they cannot be told apart"
    return found


def post(client: FlaskClient, path: str, body: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, data=data, content_type="application/json", auth=AUTH)


def assert_answered(answer: Any) -> None:
    """Either well, or with a message and a status that says whose fault it is."""
    content = answer.get_json()
    assert answer.status_code < 500, content
    if answer.status_code >= 400:
        assert set(content) == {"error", "type"}
        assert content["error"]


@pytest.mark.parametrize("path", ["/predict", "/setup", "/webhook", "/job_status", "/train"])
@CHECKED
@given(body=BODIES)
@example(body=b"")
@example(body=b"[" * 200_000)
@example(body=b'{"tasks": ' + b"[" * 200_000)
@example(body=b'{"project": "\xff"}')
@example(body={"project": "9" * 5000, "schema": CONFIG, "label_config": CONFIG, "tasks": []})
@example(body={"project": 2**40, "schema": CONFIG, "label_config": CONFIG, "tasks": []})
@example(body={"project": "1", "schema": "<View>" * 5000 + "</View>" * 5000, "label_config": "", "tasks": []})
@example(body={"project": "1", "schema": CONFIG.replace("words", "w\x00\ud800"), "label_config": "", "tasks": []})
@example(body={"job": "\x00\ud800"})
@example(body={"action": "START_TRAINING", "project": {"id": "x"}})
@example(body={"action": ["START_TRAINING"], "project": {"id": 1}})
def test_whatever_comes_is_answered(client: FlaskClient, path: str, body: Any) -> None:
    assert_answered(post(client, path, body))


@CHECKED
@given(body=BODIES)
def test_whatever_comes_to_versions_is_answered(client: FlaskClient, body: Any) -> None:
    data = json.dumps(body).encode()

    assert_answered(client.get("/versions", data=data, content_type="application/json", auth=AUTH))


@CHECKED
@given(body=BODIES)
def test_a_forged_event_is_refused_whatever_it_says(client: FlaskClient, body: Any) -> None:
    answer = client.post("/webhook", data=json.dumps(body), content_type="application/json", headers=SECRET)

    assert answer.status_code in {400, 403}
    assert answer.get_json()["error"]


TASKS = st.lists(
    st.tuples(
        st.sampled_from([*COLOURS, "bad", "missing", "none", "number", "nul"]),
        st.integers(0, 2**31 - 1),
        st.dictionaries(st.text(st.characters(), max_size=5), JSON, max_size=3),
    ),
    max_size=12,
)
PHOTOS: dict[str, Any] = {
    "bad": "data:image/png;base64,AAAA",
    "missing": "missing.png",
    "none": None,
    "number": 7,
    "nul": "data:\x00\ud800",
}


@CHECKED
@given(asked=TASKS)
@example(asked=[(colour, 5, {}) for colour in COLOURS])  # the same task eight times
@example(asked=[("none", 1, {"\x00\ud800": "its name is told"})])
def test_each_task_gets_its_own_caption(
    client: FlaskClient, known: dict[str, Any], asked: list[tuple[str, int, dict[str, Any]]]
) -> None:
    tasks = [
        {**more, "id": number, "data": {**more, "photo": PHOTOS[kind] if kind in PHOTOS else picture(kind)}}
        for kind, number, more in asked
    ]

    answer = post(client, "/predict", {"tasks": tasks, "project": "7.1", "label_config": CONFIG})

    assert answer.status_code == 200, answer.get_data(as_text=True)
    results = answer.get_json()["results"]
    assert len(results) == len(asked)
    for (kind, _, _), result in zip(asked, results, strict=True):
        if kind in known:
            assert result["result"][0]["value"]["text"] == known[kind]
        else:
            assert result["result"] == []


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, found in inner:
        yield from places(found, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The same JSON with something else at a place; `...` takes it out."""
    if not path:
        return None if new is ... else new
    copied = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and new is ...:
        del copied[path[0]]
    else:
        copied[path[0]] = changed(value[path[0]], path[1:], new)
    return copied


@pytest.mark.parametrize("name", [*sorted(path.stem for path in RECORDED.glob("[psw]*_*.json")), "setup"])
@CHECKED
@given(data=st.data())
def test_a_recorded_request_with_something_else_in_it_is_answered(client: FlaskClient, name: str, data: Any) -> None:
    recorded = json.loads((RECORDED / f"{name}.json").read_text())
    body = recorded["body"]
    for _ in range(data.draw(st.integers(1, 3))):
        body = changed(body, data.draw(st.sampled_from(list(places(body)))), data.draw(JSON | st.just(...)))

    answer = post(client, f"/{name.partition('_')[0]}", body)

    assert_answered(answer)
    if answer.status_code == 200 and name.startswith("predict"):
        assert len(answer.get_json()["results"]) == len(body["tasks"])
