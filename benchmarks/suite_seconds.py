"""Seconds of a core that the suite takes, by file, with those of all processes that its tests start.

    python -m pytest -p benchmarks.suite_seconds [--numprocesses 3] [PATH…]

Unlike durations, they depend little on what else the machine does. The kernel counts them, in a control group for each
process of pytest: as root on Linux, with cgroup2 mounted.
"""

import os
from collections import defaultdict
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

_SECONDS = "seconds of a core"
_SHOWN = 40


class _Group:
    """The control group of this process and of all that it starts from now on."""

    def __init__(self) -> None:
        self._directory = _mounted() / f"captionloop-suite-{os.getpid()}"
        self._directory.mkdir()
        (self._directory / "cgroup.procs").write_text(str(os.getpid()))

    def seconds(self) -> float:
        usage = (self._directory / "cpu.stat").read_text().partition("usage_usec ")[2]
        return int(usage.partition("\n")[0]) / 1e6

    def leave(self) -> None:
        for process in (self._directory / "cgroup.procs").read_text().split():  # also what lives as long as pytest
            with suppress(ProcessLookupError):
                (self._directory.parent / "cgroup.procs").write_text(process)
        self._directory.rmdir()


class _Clock:
    """Adds to the report of each test's end what the test took, the making of its fixtures included."""

    def __init__(self, group: _Group) -> None:
        self._group = group
        self._begun = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        self._begun = self._group.seconds()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "teardown":
            report.user_properties.append((_SECONDS, self._group.seconds() - self._begun))
        return report

    def pytest_unconfigure(self) -> None:
        self._group.leave()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Clock(_Group()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    by_file: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                took = [value for name, value in report.user_properties if name == _SECONDS]
                by_file[report.nodeid.partition("::")[0]] += sum(float(str(value)) for value in took)
    terminalreporter.section(_SECONDS)
    terminalreporter.write_line(f"{sum(by_file.values()):8.1f} in all tests")
    for path, seconds in sorted(by_file.items(), key=lambda entry: -entry[1])[:_SHOWN]:
        terminalreporter.write_line(f"{seconds:8.1f} {path}")


def _mounted() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, directory, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(directory)
    raise pytest.UsageError("No cgroup2 is mounted, so nobody counts the seconds of a process and its children.")
