"""Label Studio's API, as far as Captionloop needs it, over plain HTTP.

Not built on `label_studio_sdk.LabelStudio`: its exchange of a personal access token drops the path of a Label Studio
that is served under one, its models reject values that a newer server adds, it takes seconds to import, and it sends
the token along on redirects. `transport` sends requests, `authorization` makes the header, `api_calls` validates
responses, and `messages` has the errors.

Two pitfalls of the server (docs/label-studio.md): `GET /api/tasks/{id}/` makes Label Studio call the ML backend, which
may be the caller; and task lists have rewritten storage addresses, unless `resolve_uri=false`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from captionloop.backend.label_studio import messages
from captionloop.backend.label_studio.annotations import read_moment
from captionloop.backend.label_studio.api_calls import WITH_ID, ApiCalls, Json
from captionloop.backend.label_studio.authorization import Authorization
from captionloop.backend.label_studio.browser_session import BrowserSession
from captionloop.backend.label_studio.transport import RETRY_DELAYS_S, TIMEOUT_S, Transport
from captionloop.errors import LabelStudioError

BACKEND_TITLE = "Captionloop"
"""Of our ML backend; as a project's `model_version` it stands for whichever version the backend serves."""
IMPORTED_VERSION = "imported captions"
"""The `model_version` of suggestions that are captions somebody had already; no version of ours is called so."""

# Uploads and imports are processed before the response; adding a backend makes Label Studio call it first.
_LONG_TIMEOUT_S = 300.0
# Django refuses a request with more than 100 files (DATA_UPLOAD_MAX_NUMBER_FILES), Label Studio one over 250 MB.
_FILES_PER_UPLOAD = 50
_BYTES_PER_UPLOAD = 50_000_000
_TASKS_PER_PAGE = 100
# First path segments of Label Studio's pages, for addresses copied from the browser.
_PAGES = re.compile(r"/(?:api|data|docs|organization|projects|user)(?:/|$)")
# What others build on, field by field.
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
    """A task without its annotations and predictions."""

    id: int
    data: Json
    updated_at: datetime
    annotations: int  # submitted ones, without the skipped
    skipped: int


class LabelStudio:
    """A Label Studio server, as the account of the token. Thread-safe."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        names: Sequence[str] = (),
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
    ) -> None:
        """Makes no request yet.

        Args:
            url: its address, with the path if it is served under one.
            api_key: a legacy token, or a personal access token (a JWT, which is exchanged for short-lived ones).
            names: other addresses of the same server that may occur in tasks; never used for requests.
            retry_delays_s: seconds to wait before each retry when the server is busy or unreachable.
        """
        self.url = url.rstrip("/")
        self._names = tuple(name.rstrip("/") for name in names)
        self._retry_delays_s = tuple(retry_delays_s)
        self._transport = Transport(self.url, retry_delays_s=retry_delays_s)
        self._authorization = Authorization(api_key, self._transport)
        self._api = ApiCalls(self._transport, self._authorization)

    @classmethod
    def of_browser(cls, url: str, cookies: Mapping[str, str]) -> LabelStudio:
        """The server as somebody who has signed in with a password (`browser_session.sign_in`). It retries nothing."""
        made = cls(url, "", retry_delays_s=())
        made._api = ApiCalls(made._transport, BrowserSession(made.url, cookies))
        return made

    def close(self) -> None:
        """Close its connections. Idempotent; it can be used again."""
        self._transport.close()

    def telling_of_retries(self, tell: Callable[[], None]) -> AbstractContextManager[None]:
        """Within the block, call a function before each retry, since retries of a slow server may take minutes.

        Args:
            tell: called in the thread that makes the request. An exception from it ends the retries.
        """
        return self._transport.telling_of_retries(tell)

    # --- the server and the account -----------------------------------------------------------------------------

    def version(self) -> str:
        """The version of Label Studio."""
        path = "/api/version/"
        return str(self._api.expected(self._api.get(path, what="version"), f"GET {path}", {"release": str})["release"])

    def check_address(self) -> None:
        """Check that it is Label Studio's own address, and not that of one of its pages.

        The version cannot tell, since Label Studio returns it below any path.

        Raises:
            LabelStudioError: it is not.
        """
        try:
            self.who_am_i()
        except LabelStudioError as error:
            if error.status != 404:
                return  # whatever else is wrong with it
            raise messages.address_of_a_page(self.url, _PAGES.split(self.url)[0]) from error

    def who_am_i(self) -> Json:
        """The account of the token: `id`, `email`, …"""
        return self._api.get("/api/current-user/whoami", what="account")

    def emails(self) -> dict[int, str]:
        """The e-mail addresses of the organization's people by id; only the account's own when it may not see more."""
        try:
            people = self._api.get_list("/api/users/", what="list of people")
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
            answer = self._api.get("/api/projects/", what="list of projects", params={"page": page, "page_size": 100})
            self._api.expected(answer, "GET /api/projects/", {"results": list, "count": int})
            yield from answer["results"]
            page, found, total = page + 1, found + len(answer["results"]), answer["count"]
            if not answer["results"]:
                return

    def project(self, project_id: int, *, timeout_s: float = TIMEOUT_S) -> Json:
        path = f"/api/projects/{project_id}/"
        found = self._api.get(path, what=f"project {project_id}", timeout_s=timeout_s)
        # A project may be without either; a text is what everybody expects.
        found |= {name: found[name] or "" for name in ("title", "label_config") if name in found}
        return self._api.expected(found, f"GET {path}", _PROJECT)

    def has_project(self, project_id: int) -> bool:
        """Whether there is such a project, which the account may see."""
        try:
            self.project(project_id)
        except LabelStudioError as error:
            if error.status == 404:
                return False
            raise
        return True

    def create_project(self, title: str, label_config: str, **fields: Any) -> Json:
        """Create a project. Label Studio requires titles of three characters or more."""
        body = {"title": title, "label_config": label_config, **fields}
        return self._api.save("POST", "/api/projects/", what="projects", json=body)

    def update_project(self, project_id: int, **fields: Any) -> Json:
        return self._api.send("PATCH", f"/api/projects/{project_id}/", what=f"project {project_id}", json=fields)

    # --- tasks ----------------------------------------------------------------------------------------------------

    def import_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Create tasks from `{"data": {...}}`, with `annotations` and `predictions` if given; their ids, in order.

        Raises:
            LabelStudioError: among others, it has repeatedly stored the tasks without what belongs to them; they are
                deleted again.
        """
        if not tasks:
            return []
        for pause_s in (0.0, *self._retry_delays_s):
            time.sleep(pause_s)
            answer = self._imported(project_id, json=list(tasks))
            ids = _task_ids(answer)
            if not (lost := _lost(tasks, answer)):
                return ids
            # A Label Studio on SQLite does this when others write as well: docs/label-studio.md.
            self.delete_tasks(project_id, ids)
        raise messages.lost_in_import(self.url, project_id, lost)

    def upload_images(self, project_id: int, images: Iterable[tuple[str, bytes]]) -> list[int]:
        """Upload image files, given as (file name, bytes); the ids of the tasks made of them, in order."""
        ids: list[int] = []
        for batch in _upload_batches(images):
            # The server reads files by the name of their form field, so each needs its own.
            files = {f"file{number}": file for number, file in enumerate(batch)}
            ids += _task_ids(self._imported(project_id, files=files))
        return ids

    def upload_files(self, project_id: int, files: Sequence[tuple[str, bytes]]) -> list[str]:
        """Upload (file name, bytes) without making tasks of them; their addresses, in order.

        At most 50 files and 50 MB, so that it is one request.
        """
        what = f"project {project_id}"
        answer = self._api.send(
            "POST",
            f"/api/projects/{project_id}/import",
            what=what,
            params={"commit_to_project": "false"},
            timeout_s=_LONG_TIMEOUT_S,
            files={f"file{number}": file for number, file in enumerate(files)},
        )
        ids = self._api.expected(answer, "POST /import", {"file_upload_ids": list})["file_upload_ids"]
        path = f"/api/projects/{project_id}/file-uploads"
        found = self._api.get_list(path, what=what, fields={**WITH_ID, "file": str}, params={"ids": json.dumps(ids)})
        names = {upload["id"]: upload["file"] for upload in found}
        return [f"{urlsplit(self.url).path}/data/{quote(names[number])}" for number in ids]

    def delete_tasks(self, project_id: int, task_ids: Sequence[int]) -> None:
        """Delete tasks with all that is in them."""
        self._data_manager_action("delete_tasks", project_id, task_ids)

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
        """Tasks that have an annotation or a skip, by id; only those changed at or after `since`, if given.

        Without tasks that lost all their annotations.
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
        """The task that Label Studio would serve to this account now, with its predictions; None when all are done."""
        try:
            return self._api.get(f"/api/projects/{project_id}/next/", what=f"next task of project {project_id}")
        except LabelStudioError as error:
            if error.status == 404:
                return None
            raise

    def create_annotation(self, project_id: int, task_id: int, **fields: Any) -> Json:
        """Submit an annotation: `result`, and further fields of Label Studio's annotations."""
        path, what = f"/api/tasks/{task_id}/annotations/", f"task {task_id}"
        return self._api.send("POST", path, what=what, params={"project": project_id}, json=fields)

    def annotations(self, task_id: int) -> list[Json]:
        """The submitted annotations of a task, without the skipped."""
        path = f"/api/tasks/{task_id}/annotations/"
        return self._api.get_list(path, what=f"annotations of task {task_id}", fields={**WITH_ID, "updated_at": str})

    def annotation(self, annotation_id: int) -> Json:
        path = f"/api/annotations/{annotation_id}/"
        return self._api.get(path, what=f"annotation {annotation_id}")

    def update_annotation(self, annotation_id: int, **fields: Any) -> Json:
        path = f"/api/annotations/{annotation_id}/"
        return self._api.save("PATCH", path, what=f"annotation {annotation_id}", json=fields)

    def delete_annotation(self, annotation_id: int) -> None:
        self._api.delete(f"/api/annotations/{annotation_id}/", what=f"annotation {annotation_id}")

    def postpone(self, task_id: int, result: Sequence[Json], *, draft: int | None = None) -> int:
        """Put a task off, with a draft: `next_task` then serves another one, and the lock on this one stays.

        Args:
            draft: one that the account has for the task already; its result stays.

        Returns:
            The draft's id; an annotation that is submitted with it as `draft_id` takes its place.
        """
        what = f"draft of task {task_id}"
        body: Json = {"was_postponed": True}
        if draft is not None:
            return int(self._api.save("PATCH", f"/api/drafts/{draft}/", what=what, json=body)["id"])
        body |= {"result": list(result), "lead_time": 0.0}
        return int(self._api.save("POST", f"/api/tasks/{task_id}/drafts", what=what, json=body)["id"])

    # --- predictions ----------------------------------------------------------------------------------------------

    def predictions(self, task_id: int) -> list[Json]:
        """The predictions of a task."""
        return self._api.get_list("/api/predictions/", what=f"predictions of task {task_id}", params={"task": task_id})

    def prediction(self, prediction_id: int) -> Json:
        return self._api.get(f"/api/predictions/{prediction_id}/", what=f"prediction {prediction_id}")

    def import_predictions(self, project_id: int, predictions: Sequence[Mapping[str, Any]]) -> int:
        """Store predictions, each with the id of its `task`; how many were stored."""
        if not predictions:
            return 0
        path = f"/api/projects/{project_id}/import/predictions"
        answer = self._api.send(
            "POST", path, what=f"project {project_id}", json=list(predictions), timeout_s=_LONG_TIMEOUT_S
        )
        return int(self._api.expected(answer, f"POST {path}", {"created": int})["created"])

    def update_prediction(self, prediction_id: int, **fields: Any) -> Json:
        """Change a prediction, such as its `score` and its `cluster`, which no bulk import takes."""
        path = f"/api/predictions/{prediction_id}/"
        return self._api.send("PATCH", path, what=f"prediction {prediction_id}", json=fields)

    def delete_prediction(self, prediction_id: int) -> None:
        self._api.delete(f"/api/predictions/{prediction_id}/", what=f"prediction {prediction_id}")

    def delete_predictions(self, project_id: int, task_ids: Sequence[int]) -> None:
        """Delete all predictions of these tasks."""
        self._data_manager_action("delete_tasks_predictions", project_id, task_ids)

    # --- what is attached to a project ------------------------------------------------------------------------------

    def ml_backends(self, project_id: int) -> list[Json]:
        """The project's ML backends. Label Studio requests the health of each before it answers."""
        params, fields = {"project": project_id}, {**WITH_ID, "url": str}
        return self._api.get_list("/api/ml/", what=f"project {project_id}", params=params, fields=fields)

    def create_ml_backend(self, project_id: int, **fields: Any) -> Json:
        """Attach an ML backend. Label Studio calls its /health and /setup, and creates a webhook for it."""
        body = {"project": project_id, **fields}
        return self._api.save("POST", "/api/ml/", what="ML backends", json=body, timeout_s=_LONG_TIMEOUT_S)

    def update_ml_backend(self, ml_backend_id: int, **fields: Any) -> Json:
        """Change an ML backend; `url` and `project` are required each time, since Label Studio checks them again."""
        path = f"/api/ml/{ml_backend_id}"
        return self._api.save("PATCH", path, what=f"ML backend {ml_backend_id}", json=fields, timeout_s=_LONG_TIMEOUT_S)

    def start_training(self, ml_backend_id: int) -> None:
        """The same as pressing Start Training in the settings."""
        what = f"ML backend {ml_backend_id}"
        self._api.call("POST", f"/api/ml/{ml_backend_id}/train", what=what, timeout_s=_LONG_TIMEOUT_S)

    def delete_ml_backend(self, ml_backend_id: int) -> None:
        self._api.delete(f"/api/ml/{ml_backend_id}", what=f"ML backend {ml_backend_id}")

    def webhooks(self, project_id: int) -> list[Json]:
        what, params = f"webhooks of project {project_id}", {"project": project_id}
        return self._api.get_list("/api/webhooks/", what=what, params=params, fields={**WITH_ID, "url": str})

    def create_webhook(self, project_id: int, url: str, **fields: Any) -> Json:
        body = {"project": project_id, "url": url, **fields}
        return self._api.save("POST", "/api/webhooks/", what="webhooks", json=body)

    def update_webhook(self, webhook_id: int, url: str, **fields: Any) -> Json:
        """Change a webhook; Label Studio requires its `url` each time."""
        body = {"url": url, **fields}
        return self._api.save("PATCH", f"/api/webhooks/{webhook_id}/", what=f"webhook {webhook_id}", json=body)

    def delete_webhook(self, webhook_id: int) -> None:
        self._api.delete(f"/api/webhooks/{webhook_id}/", what=f"webhook {webhook_id}")

    # --- the Data Manager's tabs ------------------------------------------------------------------------------------

    def views(self, project_id: int) -> list[Json]:
        """The tabs of a project."""
        what = f"tabs of project {project_id}"
        return self._api.get_list("/api/dm/views/", what=what, params={"project": project_id})

    def create_view(self, project_id: int, data: Json) -> Json:
        body = {"project": project_id, "data": data}
        return self._api.send("POST", "/api/dm/views/", what=f"tabs of project {project_id}", json=body)

    def update_view(self, project_id: int, view_id: int, data: Json) -> Json:
        path, params = f"/api/dm/views/{view_id}/", {"project": project_id}
        return self._api.send("PATCH", path, what=f"tab {view_id}", params=params, json={"data": data})

    def delete_view(self, project_id: int, view_id: int) -> None:
        self._api.delete(f"/api/dm/views/{view_id}/", what=f"tab {view_id}", params={"project": project_id})

    # --- directories of its own machine ----------------------------------------------------------------------------

    def local_files_storages(self, project_id: int) -> list[Json]:
        """The directories that the project's pictures may be read from."""
        what, params = f"storages of project {project_id}", {"project": project_id}
        return self._api.get_list("/api/storages/localfiles", what=what, params=params, fields=WITH_ID)

    def create_local_files_storage(self, project_id: int, path: str, **fields: Any) -> Json:
        """Let the project's pictures be read from a directory.

        Raises:
            LabelStudioError: with status 400 when the server does not see that directory, or may not serve it.
        """
        body = {"project": project_id, "path": path, **fields}
        return self._api.save("POST", "/api/storages/localfiles", what=f"directory {path}", json=body)

    def delete_local_files_storage(self, storage_id: int) -> None:
        self._api.delete(f"/api/storages/localfiles/{storage_id}", what=f"storage {storage_id}")

    # --- files ------------------------------------------------------------------------------------------------------

    def owns(self, url: str) -> bool:
        """Whether an absolute URL is on this server, below its path: only there the token may be sent."""
        return _lies_below(url, self.url)

    def renamed(self, url: str) -> str:
        """An absolute URL under one of the server's other names, rewritten to its own address; others unchanged."""
        for name in self._names:
            if _lies_below(url, name):
                parts = urlsplit(url)
                path = parts.path[len(urlsplit(name).path) :] or "/"
                return self.url + path + (f"?{parts.query}" if parts.query else "")
        return url

    def authorization(self) -> str:
        """The value of the Authorization header that the server accepts now."""
        return self._authorization.header()

    def renew_authorization(self) -> bool:
        """Get a new Authorization value after the server refused one; False if there is no other."""
        return self._authorization.forget()

    # --- how it is asked --------------------------------------------------------------------------------------------

    def _task_summaries(self, project_id: int, conditions: list[Json]) -> Iterator[TaskSummary]:
        return map(_summary, self._tasks_by_id(project_id, conditions, with_results=False))

    def _tasks_by_id(self, project_id: int, conditions: list[Json], *, with_results: bool) -> Iterator[Json]:
        """Tasks by id, a page at a time.

        Each page begins after the last id seen, so that tasks that are added or deleted meanwhile shift nothing.
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
        """The first matching tasks, and whether these are all. A server may limit the size of pages."""
        params = {
            "project": project_id,
            "query": json.dumps(query),
            "page_size": _TASKS_PER_PAGE,
            "resolve_uri": "false",
            "fields": "all" if with_results else "task_only",
        }
        path = "/api/tasks/"
        answer = self._api.get(path, what=f"project {project_id}", params=params)
        tasks = self._api.expected(answer, f"GET {path}", {"tasks": list, "total": int})["tasks"]
        for task in tasks:
            self._api.expected(task, f"GET {path}", _TASK_WITH_RESULTS if with_results else _TASK)
        return tasks, not tasks or len(tasks) >= answer["total"]

    def _imported(self, project_id: int, **body: Any) -> Json:
        return self._api.send(
            "POST",
            f"/api/projects/{project_id}/import",
            what=f"project {project_id}",
            params={"return_task_ids": "true"},
            timeout_s=_LONG_TIMEOUT_S,
            **body,
        )

    def _data_manager_action(self, action: str, project_id: int, task_ids: Sequence[int]) -> None:
        if not task_ids:
            return
        self._api.call(
            "POST",
            "/api/dm/actions/",
            what=f"project {project_id}",
            params={"id": action, "project": project_id},
            json={"selectedItems": {"all": False, "included": list(task_ids)}},
            timeout_s=_LONG_TIMEOUT_S,
        )


def _task_ids(answer: Json) -> list[int]:
    return [int(task_id) for task_id in answer.get("task_ids", [])]


def _lost(tasks: Sequence[Mapping[str, Any]], answer: Json) -> int:
    """How many annotations and predictions of these tasks an import has not stored, by its own count."""
    given = {
        f"{kind}_count": sum(len(task.get(f"{kind}s", ())) for task in tasks) for kind in ("annotation", "prediction")
    }
    return sum(count - int(answer.get(name, count)) for name, count in given.items())


def _filter(column: str, operator: str, value: Any, kind: str = "Number") -> Json:
    """A filter condition of the Data Manager."""
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
    """Whether an absolute URL has the origin of a server, and a path below its own."""
    ours, theirs = urlsplit(server), urlsplit(url)
    try:
        same_origin = _origin(ours) == _origin(theirs)
    except ValueError:  # a port that is none
        return False
    return same_origin and (theirs.path + "/").startswith(ours.path.rstrip("/") + "/")
