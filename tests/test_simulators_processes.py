"""A worker may crash, hang or eat memory; it takes nothing with it but its own request."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from pathlib import Path
from typing import Any

import pytest

from app.errors import SimulatorCrashed, SimulatorFailure, SimulatorTimeout
from app.simulators.processes import PoolShare, ProcessLimits, WorkerPool, read_cpu_s


def open_pool(
    *,
    size: int = 1,
    timeout_s: float = 20.0,
    recycle_after: int = 1000,
    limits: ProcessLimits | None = None,
    options: dict[str, Any] | None = None,
    start_timeout_s: float = 20.0,
) -> WorkerPool:
    return WorkerPool(
        "accident_worker",
        size=size,
        timeout_s=timeout_s,
        recycle_after=recycle_after,
        limits=limits or ProcessLimits(),
        options=options,
        start_timeout_s=start_timeout_s,
    )


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with open_pool(size=2) as pool:
        yield pool


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(is_true: Any, timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(is_true())


def echo(pool: WorkerPool, value: object = None) -> dict[str, Any]:
    return pool.submit({"do": "echo", "value": value}).result(timeout=30)


def test_an_answer_comes_back_as_it_was_given(pool: WorkerPool) -> None:
    value = {"text": "Ω\n", "numbers": [1, 2.5, None], "long": "x" * 300_000}
    assert echo(pool, value)["value"] == value


def test_the_background_waits_until_nobody_else_does() -> None:
    order: list[int] = []
    with open_pool() as pool:
        busy = pool.submit({"do": "sleep", "seconds": 0.3})
        waiting = []
        for number, in_background in enumerate((True, True, False, False)):
            future = pool.submit({"do": "echo", "value": number}, in_background=in_background)
            future.add_done_callback(lambda done: order.append(done.result()["value"]))
            waiting.append(future)
        assert pool.statistics()["queued"] >= 4
        for future in (busy, *waiting):
            future.result(timeout=30)
    assert wait_until(lambda: order == [2, 3, 0, 1])


def test_a_stopped_share_takes_its_requests_back_and_leaves_those_of_others() -> None:
    with open_pool() as pool:
        assert not pool.is_closed
        leaving, staying = PoolShare(pool), PoolShare(pool, in_background=True)
        running = leaving.submit({"do": "hang"})
        assert wait_until(lambda: pool.statistics()["running"] == 1)
        queued = leaving.submit({"do": "echo", "value": 1})
        kept = staying.submit({"do": "echo", "value": 2})
        dropped = staying.submit({"do": "echo", "value": 3})
        staying.cancel(dropped)
        leaving.stop()
        for future in (running, queued, dropped):
            with pytest.raises(CancelledError):
                future.result(timeout=30)
        assert kept.result(timeout=30)["value"] == 2
        with pytest.raises(SimulatorFailure, match="the work was stopped and asks for nothing more; begin it anew"):
            leaving.submit({"do": "echo", "value": 4})
        assert staying.size == 1
    assert pool.is_closed


def test_who_waits_for_queued_requests_alone_hears_that_they_were_stopped() -> None:
    with open_pool() as pool:
        running = pool.submit({"do": "hang"})
        assert wait_until(lambda: pool.statistics()["running"] == 1)
        share = PoolShare(pool)
        queued = [share.submit({"do": "echo", "value": value}) for value in range(2)]
        threading.Timer(0.2, share.stop).start()
        done, _ = wait(queued, timeout=20, return_when=FIRST_COMPLETED)
        assert done
        assert pool.statistics()["queued"] == 0
        pool.cancel(running)


def test_no_process_starts_before_the_first_request() -> None:
    with open_pool() as pool:
        assert pool._lanes == []
        assert echo(pool)["pid"] != os.getpid()


def test_one_process_answers_many_requests_one_after_the_other() -> None:
    with open_pool() as pool:
        assert [echo(pool)["answered"] for _ in range(3)] == [1, 2, 3]


def test_the_options_reach_the_start_of_the_module() -> None:
    with open_pool(options={"library": "somewhere"}) as pool:
        assert echo(pool)["options"] == {"library": "somewhere"}


def test_what_a_library_prints_does_not_disturb_the_answers(pool: WorkerPool) -> None:
    assert pool.submit({"do": "print"}).result(timeout=30)["pid"]
    assert echo(pool, 1)["value"] == 1


def test_a_crash_costs_one_future() -> None:
    with open_pool() as pool:
        futures = [pool.submit({"do": "echo", "value": n} if n != 3 else {"do": "crash"}) for n in range(8)]
        with pytest.raises(SimulatorCrashed, match="died on this request, and so did the one that tried it again"):
            futures[3].result(timeout=30)
        assert [futures[n].result(timeout=30)["value"] for n in range(8) if n != 3] == [0, 1, 2, 4, 5, 6, 7]
        assert pool.statistics()["crashed"] == 2


def test_a_request_whose_worker_died_is_tried_once_more_on_a_fresh_one(tmp_path: Path) -> None:
    with open_pool() as pool:
        answer = pool.submit({"do": "crash_once", "marker": str(tmp_path / "marker")}).result(timeout=30)
        assert answer["pid"]
        assert pool.statistics()["crashed"] == 1
        assert pool.statistics()["failed"] == 0


def test_a_hanging_worker_is_killed_in_time_and_the_next_request_is_answered() -> None:
    with open_pool(timeout_s=0.3) as pool:
        echo(pool)
        began = time.monotonic()
        with pytest.raises(SimulatorTimeout, match=r"did not answer within 0\.3 s and was killed"):
            pool.submit({"do": "hang"}).result(timeout=30)
        assert time.monotonic() - began < 5
        assert echo(pool, "next")["value"] == "next"
        assert pool.statistics()["timed_out"] == 1


def test_what_a_hanging_worker_started_dies_with_it() -> None:
    with open_pool(timeout_s=1.0) as pool:
        pid = echo(pool)["pid"]
        hanging = pool.submit({"do": "hang_with_child"})
        assert wait_until(lambda: _processes_of_group(pid) > 1)
        with pytest.raises(SimulatorTimeout):
            hanging.result(timeout=30)
        assert wait_until(lambda: _processes_of_group(pid) == 0)


def _processes_of_group(group: int) -> int:
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        count += fields[0] != "Z" and int(fields[2]) == group
    return count


def test_a_worker_that_spins_is_ended_by_its_processor_time() -> None:
    with (
        open_pool(timeout_s=60, limits=ProcessLimits(cpu_s=1)) as pool,
        pytest.raises(SimulatorTimeout, match="used its 1 s of processor time and was killed"),
    ):
        pool.submit({"do": "spin"}).result(timeout=60)


def test_a_worker_that_eats_memory_fails_its_own_request_only() -> None:
    with open_pool(limits=ProcessLimits(memory_bytes=512 << 20)) as pool:
        with pytest.raises(SimulatorFailure, match="could not do its work: MemoryError"):
            pool.submit({"do": "eat", "bytes": 1 << 30}).result(timeout=30)
        assert echo(pool, 1)["value"] == 1


def test_an_exception_in_the_module_becomes_a_sentence_and_a_fresh_worker(pool: WorkerPool) -> None:
    before = echo(pool)["pid"]
    with pytest.raises(SimulatorFailure, match="could not do its work: ValueError: a bad request"):
        pool.submit({"do": "raise"}).result(timeout=30)
    assert wait_until(lambda: not is_alive(before)) or echo(pool)["pid"]


def test_a_module_that_cannot_start_says_why() -> None:
    with open_pool(options={"start": "fail"}) as pool, pytest.raises(SimulatorFailure, match="nothing to load"):
        echo(pool)


def test_a_module_that_does_not_get_ready_is_given_up() -> None:
    with (
        open_pool(options={"start": "hang"}, start_timeout_s=0.5) as pool,
        pytest.raises(SimulatorTimeout, match=r"within 0\.5 s"),
    ):
        echo(pool)


def test_a_module_that_does_not_exist_says_so() -> None:
    pool = WorkerPool("app.simulators.nothing", size=1, timeout_s=5, recycle_after=1, limits=ProcessLimits())
    with pool, pytest.raises(SimulatorFailure, match="No module named"):
        pool.submit({}).result(timeout=30)


def test_a_process_that_cannot_be_started_is_a_failure_and_not_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with open_pool() as pool, pytest.raises(SimulatorFailure, match="could be started: No such file"):
        echo(pool)


def test_a_worker_makes_way_after_its_number_of_requests() -> None:
    with open_pool(recycle_after=3) as pool:
        pids = [echo(pool)["pid"] for _ in range(7)]
        assert len(set(pids)) == 3
        assert pids[0] == pids[2] != pids[3]
        assert wait_until(lambda: pool.statistics()["restarted"] == 2)


def test_a_worker_makes_way_when_its_module_asks_for_it() -> None:
    with open_pool() as pool:
        first = pool.submit({"do": "recycle"}).result(timeout=30)["pid"]
        assert echo(pool)["pid"] != first


def test_two_hundred_concurrent_requests_all_settle_whatever_happens_to_their_workers() -> None:
    with open_pool(size=2, timeout_s=0.5) as pool:
        kinds = {17: "crash", 60: "raise", 90: "hang", 130: "crash"}
        futures = [pool.submit({"do": kinds.get(n, "echo"), "value": n}) for n in range(200)]
        for n, future in enumerate(futures):
            if n in kinds:
                with pytest.raises(SimulatorFailure):
                    future.result(timeout=60)
            else:
                assert future.result(timeout=60)["value"] == n
        counts = pool.statistics()
        assert (counts["done"], counts["failed"], counts["queued"]) == (196, 4, 0)


def test_a_cancelled_request_that_waits_leaves_the_queue() -> None:
    with open_pool() as pool:
        first = pool.submit({"do": "sleep", "seconds": 0.4})
        second = pool.submit({"do": "echo", "value": 2})
        assert wait_until(lambda: pool.statistics()["running"] == 1)
        assert second.cancel()
        assert pool.statistics()["queued"] == 0
        assert first.result(timeout=30)["pid"]
        assert pool.statistics()["cancelled"] == 1


def test_a_running_request_is_cancelled_with_its_worker() -> None:
    with open_pool() as pool:
        pid = echo(pool)["pid"]
        running = pool.submit({"do": "hang"})
        assert wait_until(running.running)
        pool.cancel(running)
        with pytest.raises(CancelledError):
            running.result(timeout=10)
        assert wait_until(lambda: not is_alive(pid))
        assert echo(pool, 5)["value"] == 5
        assert pool.statistics()["crashed"] == 0


def test_cancelling_everything_leaves_a_pool_that_works() -> None:
    with open_pool(size=2) as pool:
        futures = [pool.submit({"do": "hang"}) for _ in range(6)]
        assert wait_until(lambda: pool.statistics()["running"] == 2)
        pool.cancel_all()
        for future in futures:
            with pytest.raises(CancelledError):
                future.result(timeout=10)
        assert echo(pool, 1)["value"] == 1


def test_closing_ends_every_process_and_refuses_new_requests() -> None:
    pool = open_pool(size=2)
    pid = echo(pool)["pid"]
    hanging = pool.submit({"do": "hang"})
    began = time.monotonic()
    pool.close()
    pool.close()
    assert time.monotonic() - began < 5
    assert not is_alive(pid)
    with pytest.raises(CancelledError):
        hanging.result(timeout=1)
    with pytest.raises(SimulatorFailure, match="closed"):
        pool.submit({"do": "echo"})


def test_a_worker_sees_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOSEPHSON_SECRET", "token")
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    monkeypatch.setenv("JOSEPHSON_NGSPICE_LIBRARY", "/somewhere/libngspice.so")
    with open_pool(limits=ProcessLimits(processes=7)) as pool:
        seen = pool.submit({"do": "environment"}).result(timeout=30)
    environment = seen["environment"]
    assert set(environment) <= {
        "PATH", "LANG", "HOME", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "OMP_THREAD_LIMIT",
        "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "JOSEPHSON_NGSPICE_LIBRARY", "LC_CTYPE",
    }  # fmt: skip
    assert environment["OMP_THREAD_LIMIT"] == environment["OMP_NUM_THREADS"] == "1"
    assert environment["LANG"] == "C.UTF-8"
    assert environment["JOSEPHSON_NGSPICE_LIBRARY"] == "/somewhere/libngspice.so"
    assert seen["core"] == seen["file"] == [0, 0]
    assert seen["memory"][0] == 2 << 30
    assert seen["processes"] == [7, 7]
    assert seen["session"] == seen["pid"]
    assert not {"torch", "numpy", "pydantic"} & set(seen["modules"])


def test_a_worker_has_no_folder_and_cannot_write(tmp_path: Path) -> None:
    with open_pool() as pool:
        home = pool.submit({"do": "environment"}).result(timeout=30)["environment"]["HOME"]
        assert not os.path.exists(home)
        with pytest.raises(SimulatorFailure, match="FileNotFoundError"):
            pool.submit({"do": "write", "path": "here"}).result(timeout=30)
        with pytest.raises(SimulatorFailure, match="File too large"):
            pool.submit({"do": "write", "path": str(tmp_path / "there")}).result(timeout=30)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_workers_die_with_a_parent_that_is_killed() -> None:
    program = (
        "import sys\n"
        f"sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parent.parent)]!r}\n"
        "from app.simulators.processes import ProcessLimits, WorkerPool\n"
        "pool = WorkerPool('accident_worker', size=1, timeout_s=600, recycle_after=9, limits=ProcessLimits())\n"
        "print(pool.submit({'do': 'echo', 'value': 0}).result()['pid'], flush=True)\n"
        "pool.submit({'do': 'spin'}).result()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        worker = int(parent.stdout.readline())
        assert is_alive(worker)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until(lambda: not is_alive(worker))


def test_a_thousand_requests_take_a_second_not_a_minute() -> None:
    with open_pool(size=2) as pool:
        echo(pool)
        began = time.monotonic()
        for future in [pool.submit({"do": "echo", "value": n}) for n in range(1000)]:
            future.result(timeout=30)
        assert time.monotonic() - began < 10


def test_processor_time_is_that_of_this_process_and_its_children_the_ended_ones_too():
    began = read_cpu_s()
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    child = subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    living = read_cpu_s()
    child.communicate(b"\n")
    assert living - began > 0.25
    assert read_cpu_s() >= living - 0.05
