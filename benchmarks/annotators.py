"""People for Locust, which `benchmarks.load` starts: they open tasks at random, and somebody looks at `/health`.

Each opens a task, waits for the suggestion, and thinks. The address, the password and the tasks' pictures come from the
environment, as Locust starts this file by itself.
"""

from __future__ import annotations

import base64
import os
import random
from pathlib import Path

from locust import HttpUser, between, constant, task

_CONFIG = '<View><Image name="image" value="$image"/><TextArea name="caption" toName="image"/></View>'
_PICTURES = [
    "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()
    for path in sorted(Path(os.environ["BENCHMARK_PICTURES"]).glob("*.jpg"))
]
_ACCOUNT = (os.environ["BENCHMARK_USER"], os.environ["BENCHMARK_PASSWORD"])


class Annotator(HttpUser):
    wait_time = between(4, 16)  # seconds: looking at the picture, mending the caption, submitting

    @task
    def open_a_task(self) -> None:
        number = random.randrange(len(_PICTURES))
        body = {
            "tasks": [{"id": number + 1, "data": {"image": _PICTURES[number]}}],
            "project": "1.1",
            "label_config": _CONFIG,
        }
        with self.client.post("/predict", json=body, auth=_ACCOUNT, catch_response=True) as answer:
            if answer.status_code != 200 or not answer.json()["results"][0]["result"]:
                answer.failure(f"{answer.status_code}, no suggestion")


class Watcher(HttpUser):
    fixed_count = 1
    wait_time = constant(0.2)

    @task
    def look(self) -> None:
        self.client.get("/health")
