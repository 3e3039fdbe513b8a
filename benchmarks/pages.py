"""How long the pages take: `python -m benchmarks.pages [--corrections 20000 --versions 40] [--json]`.

Fills a home as `benchmarks.seed` does, serves it with the real server, signs in, and asks for every page and for the
ways to filter, sort and leaf through them, in turns. The time is from the request to the last byte, over loopback;
pictures are not asked for. The aim: a median below 200 ms, 95 % below 500 ms, and less than 200 KB a page, on two
cores. The first answer of each page after a start stands for itself.
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
from benchmarks.served_room import PASSWORD, USER, served_room
from tests.support.room_pages import page_paths

from captionloop.home import Home

_MEDIAN_MS, _P95_MS, _BYTES = 200, 500, 200_000
_PROJECT = 1


@dataclass(frozen=True)
class Timing:
    """How long one page took.

    Args:
        first_ms: the first answer after the server's start.
        median_ms, p95_ms: of the others.
        size_bytes: of the page, uncompressed, without pictures, styles and script.
    """

    page: str
    path: str
    first_ms: float
    median_ms: float
    p95_ms: float
    size_bytes: int

    @property
    def is_good(self) -> bool:
        return self.median_ms < _MEDIAN_MS and self.p95_ms < _P95_MS and self.size_bytes < _BYTES


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
        "overview as JSON": f"/api/v1{here}/overview",
        "review by score": f"{here}/review?sort=lowest-score",
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


def measure(client: httpx.Client, pages: Mapping[str, str], rounds: int) -> list[Timing]:
    """Ask for all pages, `rounds` times after the first."""
    times: dict[str, list[float]] = {name: [] for name in pages}
    sizes: dict[str, int] = {}
    for _ in range(1 + rounds):
        for name, path in pages.items():
            begun = time.perf_counter()
            answer = client.get(path)
            times[name].append((time.perf_counter() - begun) * 1000)
            answer.raise_for_status()
            sizes[name] = len(answer.content)
    return [
        Timing(name, path, first, statistics.median(rest), _percentile(rest, 95), sizes[name])
        for name, path in pages.items()
        for first, *rest in [times[name]]
    ]


def table(timings: Sequence[Timing]) -> str:
    lines = ["| page | first ms | median ms | 95 % ms | KB | |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    lines += [
        f"| {found.page} | {found.first_ms:.0f} | {found.median_ms:.0f} | {found.p95_ms:.0f} "
        f"| {found.size_bytes / 1000:.0f} | {'' if found.is_good else 'over the aim'} |"
        for found in timings
    ]
    return "\n".join(lines)


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _signed_in(address: str) -> httpx.Client:
    client = httpx.Client(base_url=address, follow_redirects=True, timeout=60, trust_env=False)
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/login").text)
    assert token, "no form to sign in"
    client.post("/login", data={"user": USER, "password": PASSWORD, "csrf_token": token[1]}).raise_for_status()
    return client


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
        with served_room(home) as address, closing(_signed_in(address)) as client:
            timings = measure(client, addresses(client, options.corrections), options.rounds)
    print(json.dumps([asdict(found) for found in timings], indent=1) if options.json else table(timings))


if __name__ == "__main__":
    main()
