"""The cost of spinning threads: `python -m benchmarks.waiting`.

Steps per second of training one layer of the starter model's size, alone and beside other such processes, with OpenMP's
two wait policies. Each process uses as many threads as there are cores, like backend and worker.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence

_POLICIES = ("", "PASSIVE")  # spinning for some milliseconds is what OpenMP does unless told otherwise
_TRAIN = """
import sys, time
import torch

layer = torch.nn.TransformerDecoderLayer(128, 4, 512, batch_first=True)
optimizer = torch.optim.AdamW(layer.parameters())
words, patches = torch.randn(16, 20, 128), torch.randn(16, 65, 128)

def step():
    layer(words, patches).sum().backward()
    optimizer.step()
    optimizer.zero_grad()

for _ in range(3):
    step()
steps, begun = 0, time.monotonic()
while time.monotonic() - begun < float(sys.argv[1]):
    step()
    steps += 1
print(steps / (time.monotonic() - begun))
"""


def steps_per_second(policy: str, processes: int, seconds: float) -> float:
    """The mean over processes that begin together."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": policy} if policy else {}
    command = [sys.executable, "-c", _TRAIN, str(seconds)]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(processes)]
    return statistics.mean(float(process.communicate()[0]) for process in running)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=15)
    options = parser.parse_args(arguments)
    print("processes   steps/s each:   spinning    PASSIVE   ratio")
    for processes in options.processes:
        found = [steps_per_second(policy, processes, options.seconds) for policy in _POLICIES]
        shown = "   ".join(f"{rate:8.1f}" for rate in found)
        print(f"{processes:9}                   {shown}   {found[1] / found[0]:5.2f}", flush=True)


if __name__ == "__main__":
    main()
