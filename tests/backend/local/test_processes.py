import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from captionloop.backend.local.processes import (
    Process,
    Program,
    Supervisor,
    how_it_ended,
    is_owned,
    sole_owner,
    wait_until,
)
from captionloop.errors import BusyError, ServiceError
from captionloop.home import Home, write_json

# A child, and a grandchild that left its group and does not care for SIGTERM, as a worker's job might.
_FAMILY = """
    import os, signal, subprocess, sys, time
    stubborn = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "open({mark!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    )
    subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True)
    time.sleep(600)
"""


def _program(code: str, *, name: str = "thing", grace_s: float = 0.5) -> Program:
    return Program(name, (sys.executable, "-c", textwrap.dedent(code)), dict(os.environ), grace_s=grace_s)


def _wait_for(condition: Callable[[], object], *, within_s: float = 120) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _family(tmp_path: Path) -> tuple[Program, Callable[[], int]]:
    mark = tmp_path / "grandchild"

    def grandchild() -> int:
        _wait_for(lambda: mark.exists() and mark.read_text())
        return int(mark.read_text())

    return _program(_FAMILY.replace("{mark!r}", repr(str(mark)))), grandchild


def test_output_goes_to_a_log_that_only_we_can_read(tmp_path: Path) -> None:
    process = Process(
        _program("print('hello'); import sys; print('trouble', file=sys.stderr)"), log=tmp_path / "thing.log"
    )
    process.start()
    _wait_for(lambda: process.exit_code() is not None)
    assert process.log.read_text() == "hello\ntrouble\n" or process.log.read_text() == "trouble\nhello\n"
    assert process.log.stat().st_mode & 0o777 == 0o600
    process.stop()


@pytest.mark.parametrize(
    ("code", "expected"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137), ("", 0)]
)
def test_the_exit_code_is_the_programs_own(tmp_path: Path, code: str, expected: int) -> None:
    process = Process(_program(code), log=tmp_path / "thing.log")
    process.start()
    _wait_for(lambda: process.exit_code() is not None)
    assert process.exit_code() == expected
    process.stop()


def test_a_command_that_is_not_there_ends_with_127_and_says_so(tmp_path: Path) -> None:
    process = Process(Program("thing", ("/nowhere/to/be/found",), {}), log=tmp_path / "thing.log")
    process.start()
    _wait_for(lambda: process.exit_code() is not None)
    assert process.exit_code() == 127
    assert "/nowhere/to/be/found cannot be started" in process.log.read_text()
    process.stop()


def test_an_early_death_is_told_with_the_end_of_the_log(tmp_path: Path) -> None:
    process = Process(_program("print('the disk is full'); raise SystemExit(2)"), log=tmp_path / "thing.log")
    process.start()
    _wait_for(lambda: process.exit_code() is not None)
    with pytest.raises(ServiceError, match=r"(?s)thing ended with exit code 2 while starting.*the disk is full"):
        process.require_running()
    process.stop()


def test_stopping_lets_a_program_finish(tmp_path: Path) -> None:
    code = """
        import signal, sys, time
        def finish(*_):
            print("finished")
            sys.exit()
        signal.signal(signal.SIGTERM, finish)
        print("ready", flush=True)
        time.sleep(600)
    """
    process = Process(_program(code, grace_s=60), log=tmp_path / "thing.log")
    process.start()
    _wait_for(lambda: "ready" in process.last_lines(5))
    process.stop()
    assert "finished" in process.log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the process group is ended")
def test_stopping_ends_a_grandchild_that_left_the_group_and_ignores_sigterm(tmp_path: Path) -> None:
    program, grandchild = _family(tmp_path)
    with Supervisor(tmp_path, say=print) as supervisor:
        supervisor.start(program)
        pid = grandchild()
    assert not _is_alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the process group is ended")
@pytest.mark.faults
def test_nothing_survives_when_we_are_killed(tmp_path: Path) -> None:
    program, grandchild = _family(tmp_path)
    parent = multiprocessing.get_context("spawn").Process(target=_start_and_sleep, args=(program, tmp_path))
    parent.start()
    pid = grandchild()
    os.kill(parent.pid or 0, signal.SIGKILL)
    parent.join()
    _wait_for(lambda: not _is_alive(pid))


def _start_and_sleep(program: Program, directory: Path) -> None:
    Process(program, log=directory / "thing.log").start()
    time.sleep(600)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the process group is ended")
@pytest.mark.faults
def test_a_crash_takes_along_what_the_program_had_started(tmp_path: Path) -> None:
    program, grandchild = _family(tmp_path)
    process = Process(program, log=tmp_path / "thing.log")
    process.start()
    pid = grandchild()
    child = int(subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()[0])
    os.kill(child, signal.SIGKILL)
    _wait_for(lambda: process.exit_code() is not None)
    assert not _is_alive(pid)
    process.stop()


def test_a_process_that_does_not_become_ready_in_time_is_an_error_with_the_message_given() -> None:
    looks: list[str] = []
    with pytest.raises(ServiceError, match=r"The server did not answer\."):
        wait_until(
            lambda: False,
            meanwhile=lambda: looks.append("looked after"),
            within_s=0.05,
            too_late="The server did not answer.",
            looks_every_s=0.01,
        )
    assert len(looks) > 1


def test_a_program_that_crashes_is_started_again_and_reported(tmp_path: Path) -> None:
    said: list[str] = []
    with Supervisor(tmp_path, say=said.append) as supervisor:
        process = supervisor.start(_program("print('run'); raise SystemExit(7)", name="worker"))

        def ran_twice() -> bool:
            supervisor.look_after()
            return process.log.read_text().count("run") == 2

        _wait_for(ran_twice)
    assert said[0].startswith("worker ended with exit code 7; it is started again in 1 s. Its log: ")


def test_each_crash_in_a_row_is_waited_for_longer(tmp_path: Path) -> None:
    said: list[str] = []
    with Supervisor(tmp_path, say=said.append) as supervisor:
        supervisor.start(_program("raise SystemExit(7)", name="worker"))

        def crashed_thrice() -> bool:
            supervisor.look_after()
            return len(said) == 3

        _wait_for(crashed_thrice)
    assert [text.partition("again in ")[2].partition(" s")[0] for text in said] == ["1", "2", "4"]


def test_stopping_twice_is_fine(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, say=print)
    supervisor.start(_program("import time; time.sleep(600)"))
    supervisor.stop()
    supervisor.stop()


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "ended with exit code 0"), (137, "was ended by SIGKILL"), (250, "ended with exit code 250")],
)
def test_exit_codes_in_words(code: int, words: str) -> None:
    assert how_it_ended(code) == words


def test_a_second_owner_of_a_home_is_refused_with_the_first_ones_process(home: Home) -> None:
    with sole_owner(home):
        write_json(home.services, {"pid": 4711})
        with pytest.raises(BusyError, match=r"already running in .* \(process 4711\)"), sole_owner(home):
            pass


def test_a_home_is_owned_only_while_its_owner_lives(home: Home) -> None:
    assert not is_owned(home)
    with sole_owner(home):
        assert is_owned(home)
    assert not is_owned(home)


def test_the_services_file_of_a_crashed_owner_does_not_keep_the_next_one_away(home: Home) -> None:
    write_json(home.services, {"pid": os.getpid(), "ready": True})
    assert not is_owned(home)
    with sole_owner(home):
        pass


def test_a_home_that_is_not_there_is_not_owned(tmp_path: Path) -> None:
    assert not is_owned(Home(tmp_path / "nowhere"))
