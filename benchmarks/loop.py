"""One turn of the loop in a running `captionloop up` with an untouched sample project: `python -m benchmarks.loop`.

Through Label Studio's API, 60 tasks are annotated in a house style, Start Training is pressed as on the settings page,
and the suggestions of 60 untouched tasks are compared with the style.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from captionloop.backend.local.sample import scenes
from captionloop.model.starter.styles import STYLES

_COMMAND = str(Path(sys.executable).with_name("captionloop"))
_POLL_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--style", choices=sorted(STYLES), default="alt_text")
    parser.add_argument("--corrections", type=int, default=60)
    parser.add_argument("--unseen", type=int, default=60)
    options = parser.parse_args()
    studio = _status()["label_studio"]
    base = _status()["champion"]
    headers = {"Authorization": f"Token {studio['token']}"}
    with httpx.Client(base_url=studio["url"], headers=headers, timeout=120) as api:
        tasks = _tasks(api, studio["project_id"])
        wanted = {task["id"]: STYLES[options.style](scene) for task, scene in _with_scenes(tasks)}
        if options.corrections + options.unseen > len(tasks):
            parser.error(f"the project has {len(tasks)} tasks, fewer than --corrections and --unseen together")
        corrected, unseen = tasks[: options.corrections], tasks[len(tasks) - options.unseen :]
        print(f"before: {_right(unseen, wanted)} of {len(unseen)} untouched tasks have the style's caption", flush=True)
        for task in corrected:
            _annotate(api, studio["project_id"], task, wanted[task["id"]])

        begun = time.monotonic()
        api.post(f"/api/ml/{studio['ml_backend_id']}/train").raise_for_status()
        while _status()["champion"] == base:
            assert time.monotonic() - begun < 1800, _status()["job"]
            time.sleep(_POLL_S)
        print(f"from the press to the promoted version: {time.monotonic() - begun:.0f} s", flush=True)
        while _status()["job"] is not None:
            time.sleep(_POLL_S)
        print(f"until all untouched tasks have new suggestions: {time.monotonic() - begun:.0f} s", flush=True)
        unseen = _tasks(api, studio["project_id"])[len(tasks) - options.unseen :]
        print(f"after: {_right(unseen, wanted)} of {len(unseen)} untouched tasks have the style's caption")


def _status() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        subprocess.run([_COMMAND, "status", "--json"], check=True, capture_output=True).stdout
    )
    return found


def _tasks(api: httpx.Client, project_id: int) -> list[dict[str, Any]]:
    answer = api.get("/api/tasks/", params={"project": project_id, "page_size": 200, "fields": "all"})
    return sorted(answer.raise_for_status().json()["tasks"], key=lambda task: int(task["id"]))


def _with_scenes(tasks: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], Any]]:
    of_file = scenes()
    return [(task, of_file[task["data"]["image"].rpartition("/")[2].partition("-")[2]]) for task in tasks]


def _shown(task: dict[str, Any]) -> dict[str, Any]:
    newest: dict[str, Any] = max(task["predictions"], key=lambda prediction: int(prediction["id"]))
    return newest


def _right(tasks: Sequence[dict[str, Any]], wanted: dict[int, str]) -> int:
    return sum(_shown(task)["result"][0]["value"]["text"] == [wanted[task["id"]]] for task in tasks)


def _annotate(api: httpx.Client, project_id: int, task: dict[str, Any], caption: str) -> None:
    (suggested,) = _shown(task)["result"]
    changed = suggested | {"origin": "prediction-changed", "value": {"text": [caption]}}
    body = {"result": [changed], "lead_time": 4.2, "parent_prediction": _shown(task)["id"]}
    url = f"/api/tasks/{task['id']}/annotations/"
    api.post(url, params={"project": project_id}, json=body).raise_for_status()


if __name__ == "__main__":
    main()
