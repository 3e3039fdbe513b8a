"""A Label Studio by script: as much of its API as a sync and a captioning run ask for, and every way to answer badly.

For what a real one cannot be made to say: texts that its own checks would refuse, and answers that are cut off, late or
none of its own. What the suite needs to know of a real Label Studio it asks a real one.
"""

import json
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.settings import LABEL_STUDIO_VERSION, Settings
from tests.support.models import tiny_base
from tests.support.pictures import picture

TOKEN = "a-current-token"
PAGE = b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"


@dataclass(frozen=True)
class Reply:
    """What is answered instead of what was asked for.

    Args:
        cut_after: so many bytes of the body are sent, and then the connection ends; None: all of it.
        after_s: how long it takes.
    """

    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"
    cut_after: int | None = None
    after_s: float = 0.0


CUT_OFF = Reply(body=json.dumps({"tasks": [], "total": 0, "more": "x" * 2000}).encode(), cut_after=100)
"""An answer whose connection ends in the middle of its body."""

HANG_UP = Reply(cut_after=-1)
"""No answer at all: the connection ends."""

PASSES = {
    "429": Reply(429),
    "500": Reply(500, PAGE, "text/html"),
    "503": Reply(503),
    "half of an answer": CUT_OFF,
    "no answer": HANG_UP,
}
"""What a Label Studio answers for a while that is busy, restarts or is updated."""

STAYS = {
    "401": (Reply(401, b'{"detail": "Invalid token."}'), "does not accept the access token"),
    "403": (Reply(403, b"{}"), "does not allow this account"),
    "404": (Reply(404, b'{"detail": "Not found."}'), "this account cannot see it"),
    "a web page": (Reply(200, PAGE, "text/html"), "a web page instead of JSON"),
    "an object of another API": (Reply(200, b'{"status": "ok"}'), "something unexpected"),
}
"""What waiting does not help against, and how it is told."""

Decide = Callable[[str, str], Reply | None]
"""Method and path with query → what is answered instead; None: what a Label Studio would answer."""


@dataclass
class ScriptedStudio:
    """A server with one project, number 1. Change its attributes between two requests as people change a project."""

    url: str = ""
    token: str = TOKEN
    release: str = LABEL_STUDIO_VERSION
    project: Json = field(
        default_factory=lambda: {
            "id": 1, "title": "By script", "label_config": SAMPLE_LABEL_CONFIG, "model_version": "",
            "sampling": "Sequential sampling",
        }
    )  # fmt: skip
    tasks: dict[int, Json] = field(default_factory=dict)
    decide: Decide = lambda method, path: None
    asked: list[str] = field(default_factory=list)  # method and path of each request
    backends: list[Json] = field(default_factory=list)
    webhooks: list[Json] = field(default_factory=list)
    views: list[Json] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    _numbers: int = 0

    def number(self) -> int:
        with self.lock:
            self._numbers += 1
            return self._numbers

    def add_task(self, data: Any = None, **more: Any) -> int:
        """A task; its picture is of one colour unless `data` says otherwise."""
        with self.lock:
            number = self.number()
            self.tasks[number] = {
                "id": number, "data": {"image": picture("red")} if data is None else data, "annotations": [],
                "predictions": [], "updated_at": moment(), "total_annotations": 0, "cancelled_annotations": 0, **more,
            }  # fmt: skip
            return number

    def annotate(self, task_id: int, *texts: Any, at: str | None = None, **more: Any) -> int:
        """An annotation with these texts; `more` are fields of its one result."""
        result = [{
            "from_name": "caption", "to_name": "image", "type": "textarea", "value": {"text": list(texts)},
            "origin": "manual", **more,
        }]  # fmt: skip
        with self.lock:
            number, task, now = self.number(), self.tasks[task_id], at or moment()
            task["annotations"].append({
                "id": number, "result": result, "was_cancelled": False, "completed_by": 1, "lead_time": 2.5,
                "parent_prediction": None, "created_at": now, "updated_at": now,
            })  # fmt: skip
            task["total_annotations"], task["updated_at"] = len(task["annotations"]), now
            return number

    def delete_task(self, task_id: int) -> None:
        with self.lock:
            del self.tasks[task_id]

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        with self.lock:
            if path == "/api/projects/1/" and method in {"GET", "PATCH"}:
                self.project |= body or {}
                annotations = [one for task in self.tasks.values() for one in task["annotations"]]
                counts = {"total_annotations_number": len(annotations), "skipped_annotations_number": 0}
                return 200, self.project | counts
            if path == "/api/tasks/" and method == "GET":
                return 200, self._task_page(query)
            if path == "/api/version/":
                return 200, {"release": self.release}
            if path == "/api/current-user/whoami":
                return 200, {"id": 1, "email": "somebody@x.org"}
            if path == "/api/users/":
                return 200, [{"id": 1, "email": "somebody@x.org"}]
            if path == "/api/projects/1/import/predictions":
                return self._import(body)
            if path == "/api/predictions/" or path.startswith("/api/predictions/"):
                return self._prediction(method, path)
            attached = (("/api/ml", self.backends), ("/api/webhooks", self.webhooks), ("/api/dm/views", self.views))
            for prefix, kept in attached:
                if path.startswith(prefix):
                    return self._kept(kept, method, path, body)
            return 404, {"detail": "Not found."}

    def _task_page(self, query: dict[str, list[str]]) -> Json:
        """A page, by id. Beyond it only whether there is more is known, or large projects would take too long."""
        asked, size = json.loads(query["query"][0]), int(query["page_size"][0])
        numbers = sorted(self.tasks if "selectedItems" not in asked else self.tasks.keys() & _selected(asked))
        numbers = numbers[bisect_right(numbers, _after(asked)) :]
        fitting = (self.tasks[number] for number in numbers if _fits(self.tasks[number], asked))
        found = list(islice(fitting, size + 1))
        return {"tasks": found[:size], "total": len(found)}

    def _import(self, predictions: Sequence[Json]) -> tuple[int, Json]:
        if any(prediction["task"] not in self.tasks for prediction in predictions):
            return 400, {"detail": "There is no such task."}
        for prediction in predictions:
            made = {**prediction, "id": self.number(), "cluster": None}
            self.tasks[prediction["task"]]["predictions"].append(made)
        return 201, {"created": len(predictions)}

    def _prediction(self, method: str, path: str) -> tuple[int, Any]:
        number = path.rstrip("/").rpartition("/")[2]
        for task in self.tasks.values():
            for prediction in task["predictions"]:
                if str(prediction["id"]) == number:
                    if method == "DELETE":
                        task["predictions"].remove(prediction)
                    return 204 if method == "DELETE" else 200, prediction
        return 404, {"detail": "Not found."}

    def _kept(self, kept: list[Json], method: str, path: str, body: Any) -> tuple[int, Any]:
        if method == "GET":
            return 200, kept
        if method == "POST":
            kept.append({"id": self.number(), **body})
            return 201, kept[-1]
        number = int(path.rstrip("/").rpartition("/")[2])
        found = next((one for one in kept if one["id"] == number), None)
        if found is None:
            return 404, {"detail": "Not found."}
        if method == "DELETE":
            kept.remove(found)
            return 204, None
        found |= body
        return 200, found


def moment(now: datetime | None = None) -> str:
    return (now or datetime.now(UTC)).isoformat().replace("+00:00", "Z")


@contextmanager
def scripted_studio(decide: Decide = lambda method, path: None, *, port: int = 0) -> Iterator[ScriptedStudio]:
    studio = ScriptedStudio(decide=decide)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            studio.asked.append(f"{self.command} {urlsplit(self.path).path}")
            reply = studio.decide(self.command, self.path) or self._proper(body)
            time.sleep(reply.after_s)
            with suppress(ConnectionError):
                self._send(reply)

        def _proper(self, body: bytes) -> Reply:
            if self.headers.get("Authorization") != f"Token {studio.token}":
                return Reply(401, b'{"detail": "Invalid token."}')
            parts = urlsplit(self.path)
            given = json.loads(body) if body else None
            status, answer = studio.answer(self.command, parts.path, parse_qs(parts.query), given)
            return Reply(status, b"" if answer is None else json.dumps(answer).encode())

        def _send(self, reply: Reply) -> None:
            if reply.cut_after == -1:
                self.close_connection = True
                return
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut_after])
            self.close_connection = self.close_connection or reply.cut_after is not None

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 (the names that its base looks for)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("localhost", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    studio.url = f"http://localhost:{server.server_port}"
    try:
        yield studio
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def opened_context(studio: ScriptedStudio, home: Home, redis_url: str, directory: Path) -> Iterator[Context]:
    """Our side of it, on a tiny base that is made in `directory`; it tries a request again at once."""
    settings = {
        "CAPTIONLOOP_HOME": str(home.root),
        "CAPTIONLOOP_MODEL": tiny_base(directory).source,
        "LABEL_STUDIO_API_KEY": TOKEN,
        "LABEL_STUDIO_URL": studio.url,
        "REDIS_URL": redis_url,
    }
    with closing(Context.open(Settings.read(settings))) as opened:
        opened.label_studio._transport._retry_delays_s = (0.01,)
        yield opened


def _selected(asked: Json) -> set[int]:
    return set(asked["selectedItems"]["included"])


def _after(asked: Json) -> int:
    """The id behind which a page begins."""
    items = asked.get("filters", {"items": []})["items"]
    return max((item["value"] for item in items if _column(item) == "id" and item["operator"] == "greater"), default=-1)


def _column(item: Json) -> str:
    return str(item["filter"].rpartition(":")[2])


def _fits(task: Json, asked: Json) -> bool:
    """Whether the Data Manager would list a task."""
    if "selectedItems" in asked:
        return True
    compare: dict[str, Callable[[Any, Any], bool]] = {
        "greater": lambda found, value: found > value,
        "equal": lambda found, value: found == value,
        "greater_or_equal": lambda found, value: _time(found) >= _time(value),
    }
    return all(compare[item["operator"]](task[_column(item)], item["value"]) for item in asked["filters"]["items"])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
