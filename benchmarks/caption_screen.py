"""What a caption costs on the caption screen: `python -m benchmarks.caption_screen [--captioned 1000 --measured 60]`.

On its own Label Studio, Redis and backend, somebody in Chromium captions by keyboard alone a project in which
`--captioned` tasks are captioned already: half of the suggestions are kept as they are, a quarter get two more words,
and a quarter are begun anew and finished by the model. Counted are the keys; measured is the time from the key that
keeps a caption to the frame in which the next picture stands, decoded, with its suggestion. Between two pictures the
person looks for `--look` seconds. With `--picture PATH` the screen is photographed instead.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from tests.support.browser import ARGUMENTS, find_or_install
from tests.support.caption_person import KEEP, ScreenPerson
from tests.support.caption_screen import POOL, CaptionProject, make_project
from tests.support.people import another_annotator
from tests.support.processes import running, until
from tests.support.servers import LabelStudioServer, running_label_studio, running_redis

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.local.ports import free_port
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.model.database import Project
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import caption
from captionloop.settings import Settings

_WANTED_MS = 150
_SIZE = (960, 720)  # of the pictures


@dataclass(frozen=True)
class Cost:
    """What was measured.

    Args:
        captioned: tasks that were captioned before.
        measured: captions.
        keys_unchanged: per suggestion that is kept; typed letters are keys as well.
        keys_changed: per changed caption, beside the typed letters.
        keys_completed: per caption that the model finished, beside the typed letters.
        median_ms, p95_ms: until the next picture stands.
    """

    captioned: int
    measured: int
    keys_unchanged: float
    keys_changed: float
    keys_completed: float
    median_ms: float
    p95_ms: float


@contextmanager
def screen(directory: Path, studio: LabelStudioServer, redis_url: str, project: CaptionProject) -> Iterator[str]:
    """The address of a backend for the project."""
    home = Home(directory / "home")
    home.create()
    port = free_port()
    variables = {
        "CAPTIONLOOP_HOME": str(home.root), "CAPTIONLOOP_SERVER": "local", "CAPTIONLOOP_PORT": str(port),
        "CAPTIONLOOP_USER": "captionloop", "CAPTIONLOOP_PASSWORD": "benchmark", "REDIS_URL": redis_url,
        "LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": studio.token,
    }  # fmt: skip
    with closing(Context.open(Settings.read(variables))) as context:
        context.database.migrate()
        found = context.label_studio.project(project.number)
        with context.database.session() as session:
            session.add(
                Project(
                    server="local", label_studio_id=project.number, title="Drawn scenes", is_connected=True,
                    webhook_secret="x", label_config=found["label_config"],
                )
            )  # fmt: skip
    with running("serve", log=directory / "backend.log", environment=os.environ | variables):
        until(lambda: "listening" in (directory / "backend.log").read_text(encoding="utf-8"))
        yield f"http://localhost:{port}"


def measure(person: ScreenPerson, *, captioned: int, count: int, look_s: float) -> Cost:
    keys: dict[str, list[int]] = {"unchanged": [], "changed": [], "completed": []}
    task = person.waits_for_task()
    for place in range(count):
        time.sleep(look_s)
        kind = ("unchanged", "changed", "unchanged", "completed")[place % 4]
        begun, letters = person.keys, 0
        if kind == "changed":
            person.types(words := " at night")
            letters = len(words)
        elif kind == "completed":
            person.presses("Control+a")
            person.types(words := "a ")
            letters = len(words)
            person.takes_the_rest()
        person.presses(KEEP)
        task = person.waits_for_task(other_than=task)
        keys[kind].append(person.keys - begun - letters)
    person.waits_until_all_is_sent()
    times = person.times_ms()
    return Cost(
        captioned=captioned,
        measured=count,
        keys_unchanged=statistics.mean(keys["unchanged"]),
        keys_changed=statistics.mean(keys["changed"]),
        keys_completed=statistics.mean(keys["completed"]),
        median_ms=statistics.median(times),
        p95_ms=statistics.quantiles(times, n=20, method="inclusive")[18],
    )


def photograph(page: Page, path: Path) -> None:
    """The screen while somebody lets the model go on."""
    page.wait_for_selector("#others button")
    page.keyboard.press("Control+a")
    page.keyboard.type("a big ")
    page.keyboard.press("Tab")
    page.wait_for_selector("#caption.with-rest")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.getElementById('picture').complete")
    page.screenshot(path=path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captioned", type=int, default=1000)
    parser.add_argument("--measured", type=int, default=60)
    parser.add_argument("--look", type=float, default=1.0)
    parser.add_argument("--picture", type=Path, help="photograph the screen instead: the README's picture")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--phone", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    captioned = 3 if options.picture else options.captioned
    with (
        tempfile.TemporaryDirectory() as made,
        running_redis() as redis,
        running_label_studio(Path(made) / "label-studio", cache=Settings.read().cache) as studio,
        sync_playwright() as playwright,
    ):
        email = f"ada-{uuid.uuid4().hex[:4]}@example.org"
        another_annotator(studio, email).close()
        with closing(LabelStudio(studio.url, studio.token)) as client:
            project = make_project(client, options.measured + 4, captioned=captioned, caption=_said, size=_SIZE)
        browser = playwright.chromium.launch(executable_path=find_or_install(playwright.chromium), args=ARGUMENTS)
        context = browser.new_context(
            locale="en-US",
            viewport={"width": 390, "height": 844} if options.phone else {"width": 1280, "height": 800},
            color_scheme="dark" if options.dark else "light",
        )
        with screen(Path(made), studio, redis.url, project) as address:
            person = ScreenPerson.at(context.new_page(), address, project.number, email)
            if options.picture:
                photograph(person.page, options.picture)
                return
            cost = measure(person, captioned=captioned, count=options.measured, look_s=options.look)
    print(json.dumps(asdict(cost), indent=1) if options.json else _told(cost))


def _said(place: int) -> str:
    return caption(example(POOL, place)[0])


def _told(cost: Cost) -> str:
    verdict = "within the aim" if cost.median_ms < _WANTED_MS else "over the aim"
    return (
        f"{cost.measured} captions, with {cost.captioned} tasks captioned before\n"
        f"keys: {cost.keys_unchanged:.1f} unchanged, typing + {cost.keys_changed:.1f} changed, "
        f"typing + {cost.keys_completed:.1f} finished by the model\n"
        f"next picture: {cost.median_ms:.0f} ms at the median, 95 % within {cost.p95_ms:.0f} ms "
        f"({verdict} of {_WANTED_MS} ms)"
    )


if __name__ == "__main__":
    main()
