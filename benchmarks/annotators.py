"""People for Locust, which `benchmarks.load` starts: they open tasks at random, and somebody looks at `/health`.

Each opens a task, waits for the suggestion, and thinks. The address, the password and the tasks' pictures come from the
environment, as Locust starts this file by itself.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from locust import HttpUser, between, constant, task

from captionloop.backend.bench.served import request_for

_REQUESTS = [request_for(path.read_bytes()) for path in sorted(Path(os.environ["BENCHMARK_PICTURES"]).glob("*.jpg"))]
_ACCOUNT = (os.environ["BENCHMARK_USER"], os.environ["BENCHMARK_PASSWORD"])


class Annotator(HttpUser):
    wait_time = between(4, 16)  # seconds: looking at the picture, mending the caption, submitting

    @task
    def open_a_task(self) -> None:
        with self.client.post("/predict", json=random.choice(_REQUESTS), auth=_ACCOUNT, catch_response=True) as answer:
            if answer.status_code != 200 or not answer.json()["results"][0]["result"]:
                answer.failure(f"{answer.status_code}, no suggestion")


class Watcher(HttpUser):
    fixed_count = 1
    wait_time = constant(0.2)

    @task
    def look(self) -> None:
        self.client.get("/health")
