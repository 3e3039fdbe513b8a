"""Start times: `python -m benchmarks.start [--runs 5] [--json]`.

`captionloop --help`; from the start of `captionloop serve` in an empty home to the first response of `/health`, and to
the first caption of the starter model; imports included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from captionloop.backend.bench.material import jpeg
from captionloop.backend.bench.served import our_server

_COMMAND = [sys.executable, "-c", "from captionloop.backend.cli import main; main()"]


def help_s() -> float:
    begun = time.perf_counter()
    subprocess.run([*_COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def serve_s() -> tuple[float, float]:
    """Until `/health` answers, and until the first caption is there."""
    with our_server({}) as server:
        healthy = server.wait_for("/health")
        server.turn([jpeg(0, 0)])
        return healthy, time.perf_counter() - server.started


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    served = [serve_s() for _ in range(options.runs)]
    seconds = {
        "help": [help_s() for _ in range(options.runs)],
        "health": [healthy for healthy, _ in served],
        "first caption": [captioned for _, captioned in served],
    }
    if options.json:
        print(json.dumps(seconds, indent=2))
        return
    for name, found in seconds.items():
        print(f"{name:14} {statistics.median(found):5.2f} s (median of {len(found)}; worst {max(found):.2f} s)")


if __name__ == "__main__":
    main()
