"""How long the pages take: `python -m benchmarks.pages [--corrections 20000 --versions 40] [--json]`.

Fills a home like `benchmarks.seed`, serves it with the real server, signs in, and requests every page with its filters,
orders and pagination, in turns. The time is from the request to the last byte, over loopback, without pictures; the
server's CPU time, which other load does not affect, is reported as well. Between two rounds a reviewer makes a
decision, after which the dataset must be searched again. The targets: a median below 200 ms, 95 % below 500 ms, and
less than 200 KB a page, on two cores. The first response of each page after a start is reported separately.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from benchmarks.seed import seed
from benchmarks.served_room import PASSWORD, USER, cpu_s, served_room
from tests.support.room_pages import page_paths

from captionloop.backend.bench.served import Server
from captionloop.home import Home

_MEDIAN_MS, _P95_MS, _BYTES = 200, 500, 200_000
_PROJECT = 1
_PICTURE = re.compile(rb"data:image/[^\"]+")  # the report has its pictures in itself


@dataclass(frozen=True)
class Timing:
    """How long one page took.

    Args:
        first_ms, first_cpu_ms: the first answer after the server's start.
        median_ms, p95_ms: of the others.
        median_cpu_ms, p95_cpu_ms: the same of the server's processor time, what goes on beside the request included;
            None where the system does not tell.
        size_bytes: of the page, uncompressed, without pictures, styles and script.
    """

    page: str
    path: str
    first_ms: float
    median_ms: float
    p95_ms: float
    first_cpu_ms: float | None
    median_cpu_ms: float | None
    p95_cpu_ms: float | None
    size_bytes: int

    @property
    def is_good(self) -> bool:
        return self.median_ms < _MEDIAN_MS and self.p95_ms < _P95_MS and self.size_bytes < _BYTES

    @property
    def is_good_by_cpu(self) -> bool:
        """Whether it meets the targets in CPU time; False if the system does not report it."""
        if self.median_cpu_ms is None or self.p95_cpu_ms is None:
            return False
        return self.median_cpu_ms < _MEDIAN_MS and self.p95_cpu_ms < _P95_MS and self.size_bytes < _BYTES


def addresses(client: httpx.Client, corrections: int) -> dict[str, str]:
    """Every page, and its filters, orders and later pages, by name."""
    versions = [row["version"] for row in client.get(f"/projects/{_PROJECT}/versions?format=json").json()]
    here, middle = f"/projects/{_PROJECT}", corrections // 2
    champion = versions[-1]
    pages = page_paths(_PROJECT, first=champion, second=versions[0], item=middle)
    parent = re.search(r"first=([^&\"]+)", str(client.get(f"{here}/compare").url))
    if parent:
        pages = page_paths(_PROJECT, first=parent[1], second=versions[0], item=middle)
    return {
        **{name: path for name, path in pages.items() if name not in {"health", "error"}},
        "report": f"{here}/versions/{versions[0]}/report",
        "overview as JSON": f"/api/v1{here}/overview",
        "review by score": f"{here}/review?sort=lowest-score",
        "review by score, last page": f"{here}/review?sort=lowest-score&page={corrections // 12}",
        "review newest": f"{here}/review?sort=newest",
        "review of a number": f"{here}/review?category=number",
        "review of a word": f"{here}/review?text=square",
        "review of a version": f"{here}/review?version={versions[len(versions) // 2]}",
        "review of an annotator": f"{here}/review?annotator=ada@example.org&words=changed",
        "review far back": f"{here}/review?sort=newest&page={middle // 12}",
        "review everything": f"{here}/review?words=changed&category=attributes&score_from=0.4&text=red&sort=newest",
        "compare page 2": f"{pages['compare']}&page=2",
        "dataset far back": f"{here}/dataset?page={middle // 24}",
        "dataset held out": f"{here}/dataset?split=held-out",
        "dataset left out": f"{here}/dataset?state=left-out",
    }


def measure(server: Server, client: httpx.Client, pages: Mapping[str, str], rounds: int) -> list[Timing]:
    """Ask for all pages, `rounds` times after the first."""
    answers: dict[str, list[tuple[float, float | None]]] = {name: [] for name in pages}
    sizes: dict[str, int] = {}
    for number in range(1 + rounds):
        for name, path in pages.items():
            begun, used = time.perf_counter(), cpu_s(server)
            answer = client.get(path)
            answers[name].append(((time.perf_counter() - begun) * 1000, _ms_since(used, cpu_s(server))))
            answer.raise_for_status()
            sizes[name] = len(_PICTURE.sub(b"", answer.content))
        _decide(client, item=1 + number)
    return [_timing(name, path, answers[name], sizes[name]) for name, path in pages.items()]


def _timing(name: str, path: str, answers: Sequence[tuple[float, float | None]], size_bytes: int) -> Timing:
    (first, first_cpu), *others = answers
    times, cpu = [ms for ms, _ in others], [ms for _, ms in others if ms is not None]
    return Timing(
        page=name,
        path=path,
        first_ms=first,
        median_ms=statistics.median(times),
        p95_ms=_percentile(times, 95),
        first_cpu_ms=first_cpu,
        median_cpu_ms=statistics.median(cpu) if cpu else None,
        p95_cpu_ms=_percentile(cpu, 95) if cpu else None,
        size_bytes=size_bytes,
    )


def _ms_since(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else (now - before) * 1000


def _decide(client: httpx.Client, *, item: int) -> None:
    """Leave a correction out of training, as a reviewer does."""
    token = _token(client, f"/projects/{_PROJECT}/review")
    fields = {"left_out": "yes", "csrf_token": token}
    client.post(f"/projects/{_PROJECT}/review/{item}", data=fields).raise_for_status()


def table(timings: Sequence[Timing]) -> str:
    heads = ("page", "first", "median", "95 %", "first, CPU", "median, CPU", "95 %, CPU", "KB", "")
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * 7} --- |"]
    for found in timings:
        figures = (found.first_ms, found.median_ms, found.p95_ms)
        cpu = (found.first_cpu_ms, found.median_cpu_ms, found.p95_cpu_ms)
        cells = [found.page, *("–" if ms is None else f"{ms:.0f}" for ms in (*figures, *cpu))]
        note = "" if found.is_good else "over the aim" if not found.is_good_by_cpu else "over the aim on the clock"
        lines.append(f"| {' | '.join([*cells, f'{found.size_bytes / 1000:.0f}', note])} |")
    return "\n".join(lines)


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _signed_in(address: str) -> httpx.Client:
    client = httpx.Client(base_url=address, follow_redirects=True, timeout=60, trust_env=False)
    fields = {"user": USER, "password": PASSWORD, "csrf_token": _token(client, "/login")}
    client.post("/login", data=fields).raise_for_status()
    return client


def _token(client: httpx.Client, path: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).text)
    assert found, f"no form at {path}"
    return found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corrections", type=int, default=20_000)
    parser.add_argument("--versions", type=int, default=40)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=20, help="how often each page is asked for, after the first time")
    parser.add_argument("--home", type=Path, help="a home that was seeded before, instead of a new one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        home = Home(options.home or Path(directory) / "home")
        if options.home is None:
            begun = time.perf_counter()
            seed(home, corrections_count=options.corrections, versions=options.versions, images=options.images)
            print(f"seeded in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        with served_room(home) as server, closing(_signed_in(server.address)) as client:
            timings = measure(server, client, addresses(client, options.corrections), options.rounds)
    print(json.dumps([asdict(found) for found in timings], indent=1) if options.json else table(timings))


if __name__ == "__main__":
    main()
