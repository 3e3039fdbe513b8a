"""CPU time and memory of syncs by project size: `python -m benchmarks.growth [--sizes 1000 10000 100000] [--json]`.

A scripted Label Studio has a project with that many annotated tasks, each with its own picture, ten seconds apart. A
separate process syncs them all, and then a hundred more; its CPU time and peak memory are measured, without Label
Studio's.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks.measured import Used, measured, say_used
from sqlalchemy import func, select
from tests.support.contexts import opened_context
from tests.support.models import add_project
from tests.support.pictures import picture
from tests.support.scripted_studio import TOKEN, moment, scripted_studio

from captionloop.home import Home
from captionloop.jobs.project.sync import sync
from captionloop.model.database import Correction, Database, utc_now

_NEW = 100
_APART = timedelta(seconds=10)


@dataclass(frozen=True)
class Growth:
    """CPU time and memory for a project of this size.

    Args:
        first: by the sync that fetched them all.
        later: by the one that fetched a hundred more.
    """

    corrections: int
    first: Used
    later: Used


def grown_to(size: int) -> Growth:
    with tempfile.TemporaryDirectory(prefix="captionloop-") as directory, scripted_studio() as studio:
        home = Home(Path(directory) / "home")
        home.create()
        with closing(Database(f"sqlite:///{home.database}")) as database:
            database.migrate()
            project = add_project(database)
            now = utc_now()
            for number in range(size):
                task = studio.add_task({"image": picture(f"#{number:06x}")})
                studio.annotate(task, f"a caption of picture {number}", at=moment(now - (size - number) * _APART))
            first = _synced(studio.url, home, project.id)
            for number in range(_NEW):
                task = studio.add_task({"image": picture(f"#{size + number:06x}")})
                studio.annotate(task, f"a later caption {number}")
            later = _synced(studio.url, home, project.id)
            with database.reading() as session:
                kept = session.scalar(select(func.count()).select_from(Correction))
        if kept != size + _NEW:
            raise RuntimeError(f"{kept} corrections were kept, not {size + _NEW}")
        return Growth(size, first, later)


def _synced(url: str, home: Home, project_id: int) -> Used:
    return measured("benchmarks.growth", "--sync", url, str(home.root), str(project_id))


def _sync(url: str, home: Home, project_id: int) -> None:
    with (
        closing(Database(f"sqlite:///{home.database}")) as database,
        opened_context(database, home, url=url, token=TOKEN) as context,
    ):
        sync(context, project_id)
    say_used()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sync", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.sync:
        url, home, project_id = options.sync
        _sync(url, Home(Path(home)), int(project_id))
        return
    print("corrections   first sync: s of CPU   MB   a hundred more: s of CPU   MB", file=sys.stderr)
    found = []
    for size in options.sizes:
        growth = grown_to(size)
        found.append(growth)
        print(
            f"{growth.corrections:11,}   {growth.first.cpu_s:20.1f}  {growth.first.peak_mb:3.0f}"
            f"   {growth.later.cpu_s:24.2f}  {growth.later.peak_mb:3.0f}",
            file=sys.stderr,
            flush=True,
        )
    if options.json:
        print(json.dumps([asdict(growth) for growth in found], indent=2))


if __name__ == "__main__":
    main()
