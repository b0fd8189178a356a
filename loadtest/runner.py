"""Runs a plan: Locust in a process of its own, so that gevent's patches stay out of this one."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loadtest.monitor import Monitor
from loadtest.plan import Plan
from loadtest.recording import Recording
from loadtest.result import Generator, Run, Stage, Tick
from loadtest.target import Target

DRAIN_S = 10  # a closed user without an answer this long after the end of the load is unfinished
OVERDUE_S = 60  # after the last answer is due, Locust hangs
POLL_S = 0.1

OnProgress = Callable[[float], None]


class RunError(Exception):
    """Locust itself failed; the message is its last line."""


def run_plan(  # noqa: PLR0913 - two of them are what is run, the others how
    plan: Plan,
    targets: Sequence[Target],
    *,
    api_key: str | None = None,
    processes: int = 1,
    records: Path | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Run:
    """Load the targets as planned and gather what was counted and seen. Blocks for the whole run.

    Args:
        plan: what to send, when, and where.
        targets: the services of `plan.targets`, for their /metrics.
        api_key: bearer token for the services.
        processes: Locust processes that share the schedule; more than one in open loops only.
        records: gets a CSV row for each request of an open loop; with one process only.
        on_progress: called about ten times a second with the seconds since the start.

    Raises:
        RunError: Locust failed.
        KeyboardInterrupt: Ctrl-C before the load began; later it only ends the run early.
    """
    with TemporaryDirectory(prefix="heed-loadtest-") as name:
        folder = Path(name)
        (folder / "plan.json").write_text(plan.to_json(), encoding="utf-8")
        clock_s = time.time() - time.monotonic()
        longest_s = plan.duration_s + plan.workload.timeout_s + OVERDUE_S
        watched = partial(_watch, on_progress, longest_s)
        command = _command(plan, processes)
        if records is not None:
            command += ["--records", str(records.resolve())]
        interrupted, ticks = _run(command, folder, targets, api_key, watched)
        clock_step_s = time.time() - time.monotonic() - clock_s
        counted = _collect(folder, interrupted)
    return _to_run(plan, counted, ticks, interrupted, clock_step_s)


def _watch(on_progress: OnProgress, longest_s: float, seconds: float) -> None:
    on_progress(seconds)
    if seconds > longest_s:
        raise RunError(f"Locust failed: it did not end within {longest_s:.0f} s")


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the block as an exception, so that no Locust is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _command(plan: Plan, processes: int) -> list[str]:
    locustfile = Path(__file__).with_name("locustfile.py")
    command = [
        *(sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--only-summary"),
        *("--host", plan.targets[0], "--plan", "plan.json", "--result-file", "counted.json"),
        *("--exit-code-on-error", "0", "--loglevel", "ERROR"),
    ]
    if plan.arrivals != "closed":
        if processes > 1:
            command += ["--processes", str(processes)]
        return [*command, "--users", str(processes), "--spawn-rate", str(processes)]
    users = plan.stages[-1].users
    return [
        *(*command, "--users", str(users), "--spawn-rate", str(users)),
        *("--run-time", f"{math.ceil(plan.duration_s)}s", "--stop-timeout", str(DRAIN_S)),
    ]


def _run(
    command: list[str],
    folder: Path,
    targets: Sequence[Target],
    api_key: str | None,
    on_progress: OnProgress,
) -> tuple[bool, list[Tick]]:
    """Run Locust in `folder`; returns whether Ctrl-C ended it early, and what was seen."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOCUST_")}
    environment["HEED_API_KEY"] = api_key or ""
    began = time.monotonic()
    interrupted = False
    with _terminable(), (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes to us alone; we pass it on, once
        )
        monitor = Monitor(process.pid, targets)
        monitor.start()
        try:
            while process.poll() is None:
                on_progress(time.monotonic() - began)
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            interrupted = True
            process.terminate()
            process.wait()
        finally:
            process.kill()
            process.wait()
            monitor.stop()
    return interrupted, monitor.ticks


def _collect(folder: Path, interrupted: bool) -> dict[str, Any]:
    try:
        counted: dict[str, Any] = json.loads((folder / "counted.json").read_bytes())
    except (OSError, ValueError):
        if interrupted:
            raise KeyboardInterrupt from None
        log = (folder / "log").read_text(encoding="utf-8", errors="replace")
        last_line = log.strip().rpartition("\n")[2] or "it said nothing"
        raise RunError(f"Locust failed: {last_line}") from None
    return counted


def _to_run(
    plan: Plan, counted: dict[str, Any], ticks: list[Tick], interrupted: bool, clock_step_s: float
) -> Run:
    recording = Recording(plan)
    recording.merge(counted["stages"])
    processes = counted["processes"]
    began = min(process["began"] for process in processes)
    interrupted = interrupted or any(process["interrupted"] for process in processes)
    stages = [stage.to_stage() for stage in recording.stages]
    if interrupted:
        elapsed_s = max(process["elapsed_s"] for process in processes)
        stages = [_cut(stage, elapsed_s) for stage in stages if stage.start_s < elapsed_s]
    return Run(
        started_at=counted["started_at"],
        workload=plan.workload.fingerprint(),
        arrivals=plan.arrivals,
        seed=plan.workload.seed,
        texts=f"{plan.workload.texts}, {len(plan.workload.text_pool):,} different",
        timeout_s=plan.workload.timeout_s,
        generator=Generator(
            locust_version=version("locust"),
            processes=len(processes),
            cpu_ratio=max(process["cpu_ratio"] for process in processes),
            cpu_warning=any(process["cpu_warning"] for process in processes),
            realtime=all(process["realtime"] for process in processes),
        ),
        stages=stages,
        ticks=[tick.model_copy(update={"at_s": tick.at_s - began}) for tick in ticks],
        clock_step_s=clock_step_s,
        interrupted=interrupted,
    )


def _cut(stage: Stage, elapsed_s: float) -> Stage:
    """What there was of a stage when the run was stopped."""
    duration_s = min(stage.duration_s, elapsed_s - stage.start_s)
    seconds = stage.seconds[: math.ceil(duration_s)]
    if seconds:
        width_s = min(1.0, duration_s - (len(seconds) - 1))
        seconds[-1] = seconds[-1].model_copy(update={"width_s": width_s})
    return stage.model_copy(update={"duration_s": duration_s, "seconds": seconds})
