"""Label Studio's API, as far as Captionloop needs it, over plain HTTP.

Not built on `label_studio_sdk.LabelStudio`, although the package is there: its exchange of a personal access token
drops the path of a Label Studio that lives under one, its answers fail to parse when a server adds a value, it takes
seconds to import, and it follows redirects with the token in its hands. Every request is made in `_send`.

Two traps of the server shape what is asked for (docs/label-studio.md): opening one task by `GET /api/tasks/{id}/` makes
Label Studio call the ML backend, which may be the caller; and task lists hold storage addresses already rewritten,
unless told otherwise.
"""

from __future__ import annotations

import base64
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from captionloop.backend.label_studio.annotations import read_moment
from captionloop.backend.label_studio.network_environment import certificates, through_which_proxy, why_not_trusted
from captionloop.errors import LabelStudioError

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]

BACKEND_TITLE = "Captionloop"
"""Of our ML backend; as a project's `model_version` it stands for whatever version the backend says it serves."""

_CONNECT_TIMEOUT_S = 5.0
_TIMEOUT_S = 60.0
# Uploads and imports are worked on before they are answered; adding a backend makes Label Studio call it first.
_LONG_TIMEOUT_S = 300.0
# A request with its further tries, and a server that goes on sending, but slowly, get so many times as long as one
# that sends nothing.
_PATIENCE = 3.0
# A page of a hundred tasks with their annotations and whatever their data hold.
_LARGEST_ANSWER_BYTES = 500_000_000
_RETRY_DELAYS_S = (0.5, 1.0, 2.0, 4.0)
_LONGEST_RETRY_AFTER_S = 30.0
_WORTH_ANOTHER_TRY = frozenset({429, 500, 502, 503, 504})
# With these the server says that it did nothing, so that even a request which creates something may be repeated.
_NOTHING_DONE = frozenset({429, 503})
_REPEATABLE = frozenset({"GET", "PUT", "PATCH", "DELETE"})
# Django refuses a request with more than 100 files (DATA_UPLOAD_MAX_NUMBER_FILES), Label Studio one over 250 MB.
_FILES_PER_UPLOAD = 50
_BYTES_PER_UPLOAD = 50_000_000
_TASKS_PER_PAGE = 100
# Where the path of a page of Label Studio begins, as people copy it out of the browser.
_PAGES = re.compile(r"/(?:api|data|docs|organization|projects|user)(?:/|$)")
_OK = 200
# What others build on, field by field.
_KEPT = {"id": int}
_PROJECT = {
    "id": int,
    "title": str,
    "label_config": str,
    "total_annotations_number": int,
    "skipped_annotations_number": int,
}
_TASK = {"id": int, "data": dict, "updated_at": str, "total_annotations": int, "cancelled_annotations": int}
_TASK_WITH_RESULTS = {"id": int, "data": dict, "annotations": list, "predictions": list}


@dataclass(frozen=True)
class TaskSummary:
    """A task without what was made of it."""

    id: int
    data: Json
    updated_at: datetime
    annotations: int  # submitted ones, without the skipped
    skipped: int


class LabelStudio:
    """A Label Studio server, and the account whose token is given. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        names: Sequence[str] = (),
        retry_delays_s: Sequence[float] = _RETRY_DELAYS_S,
    ) -> None:
        """Name the server without calling it yet.

        Args:
            url: its address, with the path when it lives under one.
            api_key: a legacy token, or a personal access token (a JWT, which is exchanged for short-lived ones).
            names: further addresses of the same server, as tasks may hold them; it is never called by one of these.
            retry_delays_s: how long to wait before each further try when the server is busy or away.
        """
        self.url = url.rstrip("/")
        self._names = tuple(name.rstrip("/") for name in names)
        self._retry_delays_s = tuple(retry_delays_s)
        self._authorization = _Authorization(api_key.strip())
        self._client_lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._before_retry: Callable[[], None] = _go_on

    def close(self) -> None:
        """Close its connections. It can be used again, and closed again."""
        with self._client_lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    @contextmanager
    def telling_of_retries(self, tell: Callable[[], None]) -> Iterator[None]:
        """Within the block call something before a request is tried again: a server that is slow for each of its tries
        can hold one for minutes.

        Args:
            tell: called in the thread that makes the request. What it raises ends the trying.
        """
        before, self._before_retry = self._before_retry, tell
        try:
            yield
        finally:
            self._before_retry = before

    # --- the server and the account -----------------------------------------------------------------------------

    def version(self) -> str:
        """The version of Label Studio."""
        path = "/api/version/"
        return str(self._expected(self._get(path, what="version"), f"GET {path}", {"release": str})["release"])

    def check_address(self) -> None:
        """See that it is Label Studio's own address, and not that of one of its pages.

        It tells its version below any path, so that tells nothing.

        Raises:
            LabelStudioError: it is not.
        """
        try:
            self.who_am_i()
        except LabelStudioError as error:
            if error.status != 404:
                return  # whatever else is wrong with it
            own = _PAGES.split(self.url)[0]
            remedy = f": {own}" if own != self.url else ", with the path that it lives under and no further"
            raise LabelStudioError(
                f"A Label Studio answers at {self.url}, but its API is not there. Set LABEL_STUDIO_URL to its own "
                f"address{remedy}.",
                status=404,
            ) from error

    def who_am_i(self) -> Json:
        """The account that the token belongs to: `id`, `email`, …"""
        return self._get("/api/current-user/whoami", what="account")

    def emails(self) -> dict[int, str]:
        """The e-mail addresses of the organization's people by id; only the account's own when it may not see more."""
        try:
            people = self._list("/api/users/", what="list of people")
        except LabelStudioError as error:
            if error.status != 403:
                raise
            people = [self.who_am_i()]
        return {person["id"]: person["email"] for person in people if "id" in person and "email" in person}

    # --- projects -------------------------------------------------------------------------------------------------

    def projects(self) -> Iterator[Json]:
        """All projects that the account can see."""
        page, found, total = 1, 0, 1
        while found < total:
            answer = self._get("/api/projects/", what="list of projects", params={"page": page, "page_size": 100})
            self._expected(answer, "GET /api/projects/", {"results": list, "count": int})
            yield from answer["results"]
            page, found, total = page + 1, found + len(answer["results"]), answer["count"]
            if not answer["results"]:
                return

    def project(self, project_id: int, *, timeout_s: float = _TIMEOUT_S) -> Json:
        path = f"/api/projects/{project_id}/"
        found = self._object("GET", path, what=f"project {project_id}", timeout_s=timeout_s)
        # A project may be without either; a text is what everybody expects.
        found |= {name: found[name] or "" for name in ("title", "label_config") if name in found}
        return self._expected(found, f"GET {path}", _PROJECT)

    def create_project(self, title: str, label_config: str, **fields: Any) -> Json:
        """Make a project. Label Studio wants titles of three characters or more."""
        body = {"title": title, "label_config": label_config, **fields}
        return self._kept("POST", "/api/projects/", what="projects", json=body)

    def update_project(self, project_id: int, **fields: Any) -> Json:
        return self._object("PATCH", f"/api/projects/{project_id}/", what=f"project {project_id}", json=fields)

    # --- tasks ----------------------------------------------------------------------------------------------------

    def import_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Make tasks from `{"data": {...}}`, with `annotations` and `predictions` if given; their ids, in order."""
        if not tasks:
            return []
        return self._import(project_id, json=list(tasks))

    def upload_images(self, project_id: int, images: Iterable[tuple[str, bytes]]) -> list[int]:
        """Upload image files, given as (file name, bytes); the ids of the tasks made of them, in order."""
        ids: list[int] = []
        for batch in _upload_batches(images):
            # The server goes through the files by the name of their form field: each needs its own.
            ids += self._import(project_id, files={f"file{number}": file for number, file in enumerate(batch)})
        return ids

    def tasks(self, project_id: int, ids: Sequence[int]) -> list[Json]:
        """These tasks with their `annotations` and `predictions`, as far as they exist in the project."""
        found: list[Json] = []
        for start in range(0, len(ids), _TASKS_PER_PAGE):
            wanted = list(ids[start : start + _TASKS_PER_PAGE])
            while wanted:
                query = {"selectedItems": {"all": False, "included": wanted}}
                page, is_last = self._task_page(project_id, query, with_results=True)
                found += page
                seen = {task["id"] for task in page}
                wanted = [] if is_last else [task_id for task_id in wanted if task_id not in seen]
        return found

    def task(self, project_id: int, task_id: int) -> Json:
        """One task with its `annotations` and `predictions`.

        Raises:
            LabelStudioError: with status 404 when the project has no such task.
        """
        for task in self.tasks(project_id, [task_id]):
            return task
        raise LabelStudioError(f"Label Studio has no task {task_id} in project {project_id}.", status=404)

    def annotated_tasks(self, project_id: int, *, since: datetime | None = None) -> Iterator[TaskSummary]:
        """Tasks that hold an annotation or a skip, by id; only those changed at or after `since`, if given.

        Tasks that lost all their annotations are not among them.
        """
        changed = [] if since is None else [_filter("updated_at", "greater_or_equal", _moment(since), "Datetime")]
        seen: set[int] = set()
        # The Data Manager can join conditions by "and" or by "or", and not by both: hence two passes.
        for counter in ("total_annotations", "cancelled_annotations"):
            for task in self._task_summaries(project_id, [_filter(counter, "greater", 0), *changed]):
                if task.id not in seen:
                    seen.add(task.id)
                    yield task

    def unlabelled_tasks(self, project_id: int) -> Iterator[TaskSummary]:
        """Tasks without a submitted annotation, by id."""
        return self._task_summaries(project_id, [_filter("total_annotations", "equal", 0)])

    def unlabelled_tasks_with_results(self, project_id: int) -> Iterator[Json]:
        """Tasks without a submitted annotation, by id, with their `predictions`; several times slower than without."""
        return self._tasks_by_id(project_id, [_filter("total_annotations", "equal", 0)], with_results=True)

    def all_tasks(self, project_id: int) -> Iterator[TaskSummary]:
        return self._task_summaries(project_id, [])

    def next_task(self, project_id: int) -> Json | None:
        """The task that Label Studio would open for this account now, with its predictions; None when all are done."""
        try:
            return self._get(f"/api/projects/{project_id}/next/", what=f"next task of project {project_id}")
        except LabelStudioError as error:
            if error.status == 404:
                return None
            raise

    def create_annotation(self, project_id: int, task_id: int, **fields: Any) -> Json:
        """Submit an annotation as a person does: `result`, and what else Label Studio's annotations hold."""
        path, what = f"/api/tasks/{task_id}/annotations/", f"task {task_id}"
        return self._object("POST", path, what=what, params={"project": project_id}, json=fields)

    # --- predictions ----------------------------------------------------------------------------------------------

    def predictions(self, task_id: int) -> list[Json]:
        """The predictions of a task."""
        return self._list("/api/predictions/", what=f"predictions of task {task_id}", params={"task": task_id})

    def prediction(self, prediction_id: int) -> Json:
        return self._get(f"/api/predictions/{prediction_id}/", what=f"prediction {prediction_id}")

    def import_predictions(self, project_id: int, predictions: Sequence[Mapping[str, Any]]) -> int:
        """Store predictions, each with the id of its `task`; how many were stored."""
        if not predictions:
            return 0
        path = f"/api/projects/{project_id}/import/predictions"
        answer = self._object(
            "POST", path, what=f"project {project_id}", json=list(predictions), timeout_s=_LONG_TIMEOUT_S
        )
        return int(self._expected(answer, f"POST {path}", {"created": int})["created"])

    def update_prediction(self, prediction_id: int, **fields: Any) -> Json:
        """Change a prediction, such as its `score` and its `cluster`, which no bulk import takes."""
        path = f"/api/predictions/{prediction_id}/"
        return self._object("PATCH", path, what=f"prediction {prediction_id}", json=fields)

    def delete_prediction(self, prediction_id: int) -> None:
        self._delete(f"/api/predictions/{prediction_id}/", what=f"prediction {prediction_id}")

    def delete_predictions(self, project_id: int, task_ids: Sequence[int]) -> None:
        """Delete all predictions of these tasks."""
        self._data_manager_action("delete_tasks_predictions", project_id, task_ids)

    # --- what is attached to a project ------------------------------------------------------------------------------

    def ml_backends(self, project_id: int) -> list[Json]:
        """The project's ML backends. Label Studio asks each for its health before it answers."""
        params, fields = {"project": project_id}, {**_KEPT, "url": str}
        return self._list("/api/ml/", what=f"project {project_id}", params=params, fields=fields)

    def create_ml_backend(self, project_id: int, **fields: Any) -> Json:
        """Attach an ML backend. Label Studio calls its /health and /setup, and makes a webhook for it."""
        body = {"project": project_id, **fields}
        return self._kept("POST", "/api/ml/", what="ML backends", json=body, timeout_s=_LONG_TIMEOUT_S)

    def update_ml_backend(self, ml_backend_id: int, **fields: Any) -> Json:
        """Change an ML backend; its `url` and `project` are always needed, since Label Studio checks them again."""
        path = f"/api/ml/{ml_backend_id}"
        return self._kept("PATCH", path, what=f"ML backend {ml_backend_id}", json=fields, timeout_s=_LONG_TIMEOUT_S)

    def start_training(self, ml_backend_id: int) -> None:
        """What pressing Start Training in the settings does."""
        what = f"ML backend {ml_backend_id}"
        self._call("POST", f"/api/ml/{ml_backend_id}/train", what=what, timeout_s=_LONG_TIMEOUT_S)

    def delete_ml_backend(self, ml_backend_id: int) -> None:
        self._delete(f"/api/ml/{ml_backend_id}", what=f"ML backend {ml_backend_id}")

    def webhooks(self, project_id: int) -> list[Json]:
        what, params = f"webhooks of project {project_id}", {"project": project_id}
        return self._list("/api/webhooks/", what=what, params=params, fields={**_KEPT, "url": str})

    def create_webhook(self, project_id: int, url: str, **fields: Any) -> Json:
        body = {"project": project_id, "url": url, **fields}
        return self._kept("POST", "/api/webhooks/", what="webhooks", json=body)

    def update_webhook(self, webhook_id: int, url: str, **fields: Any) -> Json:
        """Change a webhook; Label Studio wants its `url` each time."""
        body = {"url": url, **fields}
        return self._kept("PATCH", f"/api/webhooks/{webhook_id}/", what=f"webhook {webhook_id}", json=body)

    def delete_webhook(self, webhook_id: int) -> None:
        self._delete(f"/api/webhooks/{webhook_id}/", what=f"webhook {webhook_id}")

    # --- the Data Manager's tabs ------------------------------------------------------------------------------------

    def views(self, project_id: int) -> list[Json]:
        """The tabs of a project."""
        what = f"tabs of project {project_id}"
        return self._list("/api/dm/views/", what=what, params={"project": project_id})

    def create_view(self, project_id: int, data: Json) -> Json:
        body = {"project": project_id, "data": data}
        return self._object("POST", "/api/dm/views/", what=f"tabs of project {project_id}", json=body)

    def delete_view(self, project_id: int, view_id: int) -> None:
        self._delete(f"/api/dm/views/{view_id}/", what=f"tab {view_id}", params={"project": project_id})

    # --- files ------------------------------------------------------------------------------------------------------

    def owns(self, url: str) -> bool:
        """True when an absolute address lies on this server, below its path: only there may the token go."""
        return _lies_below(url, self.url)

    def renamed(self, url: str) -> str:
        """An absolute address below one of the server's further names as the one below its own; others as they are."""
        for name in self._names:
            if _lies_below(url, name):
                parts = urlsplit(url)
                path = parts.path[len(urlsplit(name).path) :] or "/"
                return self.url + path + (f"?{parts.query}" if parts.query else "")
        return url

    def authorization(self) -> str:
        """The value of the Authorization header that the server accepts now."""
        return self._authorization.header(self)

    def renew_authorization(self) -> bool:
        """Have another Authorization value made after the server refused one; False when there can be no other."""
        return self._authorization.forget()

    # --- how it is asked --------------------------------------------------------------------------------------------

    def _task_summaries(self, project_id: int, conditions: list[Json]) -> Iterator[TaskSummary]:
        return map(_summary, self._tasks_by_id(project_id, conditions, with_results=False))

    def _tasks_by_id(self, project_id: int, conditions: list[Json], *, with_results: bool) -> Iterator[Json]:
        """Tasks by id, a page at a time.

        Each page begins after the last id seen, so that tasks which appear or vanish meanwhile shift nothing.
        """
        last_id = 0
        while True:
            items = [_filter("id", "greater", last_id), *conditions]
            query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
            page, is_last = self._task_page(project_id, query, with_results=with_results)
            yield from page
            if is_last:
                return
            last_id = page[-1]["id"]

    def _task_page(self, project_id: int, query: Json, *, with_results: bool) -> tuple[list[Json], bool]:
        """The first tasks that fit, and whether these are all. A server may be set to give fewer than one asks for."""
        params = {
            "project": project_id,
            "query": json.dumps(query),
            "page_size": _TASKS_PER_PAGE,
            "resolve_uri": "false",
            "fields": "all" if with_results else "task_only",
        }
        path = "/api/tasks/"
        answer = self._get(path, what=f"project {project_id}", params=params)
        tasks = self._expected(answer, f"GET {path}", {"tasks": list, "total": int})["tasks"]
        for task in tasks:
            self._expected(task, f"GET {path}", _TASK_WITH_RESULTS if with_results else _TASK)
        return tasks, not tasks or len(tasks) >= answer["total"]

    def _import(self, project_id: int, **body: Any) -> list[int]:
        answer = self._object(
            "POST",
            f"/api/projects/{project_id}/import",
            what=f"project {project_id}",
            params={"return_task_ids": "true"},
            timeout_s=_LONG_TIMEOUT_S,
            **body,
        )
        return [int(task_id) for task_id in answer.get("task_ids", [])]

    def _data_manager_action(self, action: str, project_id: int, task_ids: Sequence[int]) -> None:
        if not task_ids:
            return
        self._call(
            "POST",
            "/api/dm/actions/",
            what=f"project {project_id}",
            params={"id": action, "project": project_id},
            json={"selectedItems": {"all": False, "included": list(task_ids)}},
            timeout_s=_LONG_TIMEOUT_S,
        )

    def _delete(self, path: str, *, what: str, **request: Any) -> None:
        """Delete something; that it is gone already is fine."""
        try:
            self._call("DELETE", path, what=what, **request)
        except LabelStudioError as error:
            if error.status != 404:
                raise

    def _get(self, path: str, *, what: str, params: Mapping[str, Any] | None = None) -> Json:
        return self._object("GET", path, what=what, params=params)

    def _object(self, method: str, path: str, *, what: str, **request: Any) -> Json:
        answer = self._call(method, path, what=what, **request)
        return self._expected(answer, f"{method} {path}", {})

    def _kept(self, method: str, path: str, *, what: str, **request: Any) -> Json:
        """Make or change something that has an id."""
        return self._expected(self._object(method, path, what=what, **request), f"{method} {path}", _KEPT)

    def _list(
        self, path: str, *, what: str, params: Mapping[str, Any] | None = None, fields: Mapping[str, type] | None = None
    ) -> list[Json]:
        answer = self._call("GET", path, what=what, params=params)
        if not isinstance(answer, list):
            raise self._unexpected(f"GET {path}", "which is no list")
        return [self._expected(item, f"GET {path}", fields or {}) for item in answer]

    def _expected(self, answer: Any, request: str, fields: Mapping[str, type]) -> Json:
        """The answer, which is an object with these fields: else no one knows what comes of it further on."""
        if not isinstance(answer, dict):
            raise self._unexpected(request, "which is no object")
        for name, kind in fields.items():
            if not isinstance(answer.get(name), kind):
                raise self._unexpected(request, f"in which {name!r} is no {kind.__name__}")
        return answer

    def _unexpected(self, request: str, found: str) -> LabelStudioError:
        return LabelStudioError(
            f"Label Studio at {self.url} answered {request} with something unexpected, {found}. Check that "
            "LABEL_STUDIO_URL names a Label Studio, and its version.",
            status=_OK,
        )

    def _call(self, method: str, path: str, *, what: str, **request: Any) -> Any:
        """Make a request and read its JSON answer; `what` names the thing asked for in messages."""
        response = self._authorized(method, path, **request)
        if response.is_success:
            return self._read_json(response)
        raise self._refusal(response, what)

    def _authorized(self, method: str, path: str, **request: Any) -> httpx.Response:
        response = self._send(method, path, authorization=self.authorization(), **request)
        if response.status_code == 401 and self.renew_authorization():
            # The short-lived token may have ended between its check and its arrival.
            response = self._send(method, path, authorization=self.authorization(), **request)
        return response

    def _send(
        self, method: str, path: str, *, authorization: str | None, timeout_s: float = _TIMEOUT_S, **request: Any
    ) -> httpx.Response:
        """Send a request, again and again while there is hope and it does no harm."""
        import httpx

        from captionloop.backend.label_studio.deadlines import until

        headers = {"Accept": "application/json", "Accept-Encoding": "identity"} | (
            {"Authorization": authorization} if authorization else {}
        )
        timeout = httpx.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S)
        give_up_at = time.monotonic() + _PATIENCE * timeout_s
        for delay_s in (*self._retry_delays_s, None):
            try:
                with self._as_label_studio_error(), until(give_up_at):
                    response = self._exchanged(method, path, headers=headers, timeout=timeout, **request)
            except LabelStudioError as error:
                unsent = isinstance(error.__cause__, (httpx.ConnectError, httpx.ConnectTimeout))
                is_answer = error.status is not None
                if delay_s is None or is_answer or not (unsent or method in _REPEATABLE):
                    raise
                if time.monotonic() + delay_s >= give_up_at:
                    raise
                self._before_retry()
                time.sleep(_with_jitter(delay_s))
                continue
            again = _WORTH_ANOTHER_TRY if method in _REPEATABLE else _NOTHING_DONE
            if delay_s is None or response.status_code not in again:
                return response
            self._before_retry()
            time.sleep(_wait_s(response, delay_s))
        raise AssertionError("unreachable")

    def _exchanged(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request and its whole answer, which is read as it is sent, and is bounded in size."""
        import httpx

        with self._http().stream(method, self.url + path, **request) as response:
            if (coding := packed_as(response)) is not None:
                raise LabelStudioError(
                    f"Label Studio at {self.url} answered in the coding {coding!r}, which nobody asked for. Have "
                    "what stands before it (a proxy?) pass answers on as they are.",
                    status=response.status_code,
                )
            content = self._bounded(response)
        return httpx.Response(response.status_code, headers=response.headers, content=content, request=response.request)

    def _bounded(self, response: httpx.Response) -> bytes:
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > _LARGEST_ANSWER_BYTES:
                raise LabelStudioError(
                    f"Label Studio at {self.url} answered with more than {_LARGEST_ANSWER_BYTES:,} bytes. If tasks "
                    "hold whole pictures as data: addresses, upload these instead.",
                    status=response.status_code,
                )
        return bytes(content)

    def _http(self) -> httpx.Client:
        from captionloop.backend.label_studio.deadlines import TimedNetwork, client_on

        with self._client_lock:
            if self._client is None:
                # Redirects are not followed: a misconfigured address should be told of, and no token leave for another.
                self._client = client_on(TimedNetwork(), certificates=certificates(), by_environment=True)
            return self._client

    @contextmanager
    def _as_label_studio_error(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.TimeoutException as error:
            if isinstance(error, httpx.ConnectTimeout):
                raise LabelStudioError(self._unreachable("no answer to the connection")) from error
            raise LabelStudioError(
                f"Label Studio at {self.url} did not answer in time. See whether it is overloaded, and try again."
            ) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise LabelStudioError(
                f"{self.url!r} is no address of a Label Studio ({error}). Correct LABEL_STUDIO_URL."
            ) from error
        except httpx.HTTPError as error:
            if problem := why_not_trusted(error):
                raise LabelStudioError(f"Label Studio at {self.url} cannot be reached: {problem}") from error
            raise LabelStudioError(self._unreachable(str(error) or type(error).__name__)) from error

    def _unreachable(self, cause: str) -> str:
        return (
            f"Label Studio at {self.url} cannot be reached ({cause}). Start it, or correct LABEL_STUDIO_URL."
            + through_which_proxy(self.url)
        )

    def _read_json(self, response: httpx.Response) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except (ValueError, RecursionError) as error:
            raise LabelStudioError(
                f"{self.url} answered with {_kind(response)} instead of JSON. Check that LABEL_STUDIO_URL names a "
                f"Label Studio, with the path that it lives under.{through_which_proxy(self.url)}",
                status=response.status_code,
            ) from error

    def _refusal(self, response: httpx.Response, what: str) -> LabelStudioError:
        status = response.status_code
        if response.is_redirect:
            return LabelStudioError(
                f"Label Studio at {self.url} redirects to {response.headers.get('location')!r}. Set LABEL_STUDIO_URL "
                "to the address that it ends up at.",
                status=status,
            )
        detail = _detail(response)
        if status == 401:
            message = (
                f"Label Studio at {self.url} does not accept the access token{detail}. Copy a current one from its "
                "Account & Settings page into LABEL_STUDIO_API_KEY."
            )
        elif status == 403:
            message = (
                f"Label Studio at {self.url} does not allow this account to use the {what}{detail}. Use the token of "
                "someone who may."
            )
        elif status == 404 and _is_json(response):
            message = f"Label Studio at {self.url} has no {what}, or this account cannot see it."
        elif status == 404:
            message = (
                f"{self.url} answered 404 with {_kind(response)}: there seems to be no Label Studio. Correct "
                "LABEL_STUDIO_URL, with the path that it lives under."
            )
        elif status >= 500 or status == 429:
            message = (
                f"Label Studio at {self.url} failed with status {status}{detail}. Try again; if it stays, see its log."
            )
        else:
            message = f"Label Studio at {self.url} refused the request about the {what} ({status}){detail}."
        if not _is_json(response):
            message += through_which_proxy(self.url)
        return LabelStudioError(message, status=status)


class _Authorization:
    """Turns the key that a person has into the header that the server wants."""

    # So that a token does not end on its way; Label Studio's live for five minutes.
    _MARGIN_S = 20.0

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key
        self._claims = _jwt_claims(api_key)
        self._access: str | None = None
        self._renew_at = 0.0  # by time.monotonic()
        self._lock = threading.Lock()

    def header(self, server: LabelStudio) -> str:
        if self._claims is None:
            return f"Token {self._api_key}"
        if self._claims.get("token_type") != "refresh":
            return f"Bearer {self._api_key}"
        with self._lock:
            if self._access is None or time.monotonic() >= self._renew_at:
                self._exchange(server)
            return f"Bearer {self._access}"

    def forget(self) -> bool:
        """Drop the short-lived token; True when another can be had."""
        with self._lock:
            had, self._access = self._access, None
            return had is not None

    def _exchange(self, server: LabelStudio) -> None:
        # Safe to send twice: it makes nothing but a token. The token's own times are compared with each other only,
        # because this machine's clock may be off.
        response = server._send("POST", "/api/token/refresh/", authorization=None, json={"refresh": self._api_key})
        if not response.is_success:
            raise server._refusal(response, "personal access token")
        answer = server._read_json(response)
        access = str(answer.get("access", "")) if isinstance(answer, dict) else ""
        claims = _jwt_claims(access) or {}
        lifetime_s = float(claims.get("exp", 0)) - float(claims.get("iat", 0))
        self._access = access
        self._renew_at = time.monotonic() + max(lifetime_s - self._MARGIN_S, lifetime_s / 2)


def _jwt_claims(token: str) -> Json | None:
    """What a JWT says, unchecked (that is the server's business); None for a legacy token."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None


def _filter(column: str, operator: str, value: Any, kind: str = "Number") -> Json:
    """A condition in the Data Manager's language."""
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _summary(task: Json) -> TaskSummary:
    return TaskSummary(
        id=task["id"],
        data=task["data"],
        updated_at=read_moment(task["updated_at"]),
        annotations=task["total_annotations"],
        skipped=task["cancelled_annotations"],
    )


def _upload_batches(images: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    batch: list[tuple[str, bytes]] = []
    size = 0
    for name, data in images:
        if batch and (len(batch) == _FILES_PER_UPLOAD or size + len(data) > _BYTES_PER_UPLOAD):
            yield batch
            batch, size = [], 0
        batch.append((name, data))
        size += len(data)
    if batch:
        yield batch


def _origin(url: Any) -> tuple[str, str | None, int | None]:
    standard_port = {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.hostname, url.port or standard_port


def _lies_below(url: str, server: str) -> bool:
    """Whether an absolute address has the origin of a server, and a path below its own."""
    ours, theirs = urlsplit(server), urlsplit(url)
    try:
        same_origin = _origin(ours) == _origin(theirs)
    except ValueError:  # a port that is none
        return False
    return same_origin and (theirs.path + "/").startswith(ours.path.rstrip("/") + "/")


def packed_as(response: httpx.Response) -> str | None:
    """The coding that an answer came in although none was asked for, cut for a message; None: it is as it is."""
    coding: str = response.headers.get("Content-Encoding", "identity").strip().lower()
    return None if coding in {"", "identity"} else coding[:40]


def _go_on() -> None:
    pass


def _with_jitter(delay_s: float) -> float:
    # Several processes that were refused together should not come back together.
    return delay_s * random.uniform(0.8, 1.2)  # noqa: S311 (no secret depends on it)


def _wait_s(response: httpx.Response, delay_s: float) -> float:
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_RETRY_AFTER_S) if asked.isdecimal() else _with_jitter(delay_s)


def _is_json(response: httpx.Response) -> bool:
    return "json" in response.headers.get("Content-Type", "")


def _kind(response: httpx.Response) -> str:
    content_type = response.headers.get("Content-Type", "").split(";")[0]
    return "a web page" if content_type == "text/html" else content_type or "something"


def _detail(response: httpx.Response) -> str:
    """Label Studio's own reason, in brackets, or nothing."""
    if not _is_json(response):
        return ""
    try:
        answer = response.json()
    except ValueError:
        return ""
    if not isinstance(answer, dict):
        return ""
    errors = answer.get("validation_errors")
    reasons = _leaves(errors) if errors else _leaves(answer.get("detail"))
    text = " ".join(" ".join(reasons).split()).rstrip(".")
    return f" ({text[:300]})" if text else ""


def _leaves(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{key}: {leaf}" for key, inner in value.items() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [] if value is None else [str(value)]
