"""Watches machine, generator and servers once a second while a run goes on, from outside."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from loadtest.result import Tick
from loadtest.target import Target

PERIOD_S = 1.0


@dataclass(frozen=True)
class Look:
    """All counters at one monotonic moment; CPU times in seconds."""

    at: float
    total_s: float
    idle_s: float
    steal_s: float
    generator_s: dict[int, float]  # by process
    servers: list[dict[str, float]]  # metrics by name, empty when there were none


class Monitor(threading.Thread):
    """A thread that takes ticks from `start` to `stop`.

    Attributes:
        ticks: with the monotonic moment as `at_s`; one per target and period.
    """

    def __init__(self, generator_pid: int, targets: Sequence[Target]) -> None:
        """Watch the process tree of `generator_pid`, and /metrics of the targets."""
        super().__init__(daemon=True)
        self.ticks: list[Tick] = []
        self._generator_pid, self._targets = generator_pid, targets
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Take no more ticks."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Take ticks until stopped."""
        before = self._look()
        while not self._stopping.wait(PERIOD_S):
            now = self._look()
            self.ticks += [to_tick(i, before, now) for i in range(len(self._targets))]
            before = now

    def _look(self) -> Look:
        cpu = psutil.cpu_times()
        return Look(
            at=time.monotonic(),
            total_s=sum(cpu),
            idle_s=cpu.idle + getattr(cpu, "iowait", 0.0),
            steal_s=getattr(cpu, "steal", 0.0),
            generator_s=_cpu_of_tree(self._generator_pid),
            servers=[target.metrics() for target in self._targets],
        )


def to_tick(target: int, before: Look, now: Look) -> Tick:
    """What happened between two looks at the counters."""
    elapsed_s = now.at - before.at
    total_s = max(now.total_s - before.total_s, 1e-9)
    generator_s = (now.generator_s[pid] - before.generator_s.get(pid, 0) for pid in now.generator_s)
    old, new = before.servers[target], now.servers[target]
    cpu_s = _growth(old, new, "process_cpu_seconds_total")
    rss = new.get("process_resident_memory_bytes")
    return Tick(
        at_s=now.at,
        target=target,
        host_cpu_ratio=1 - (now.idle_s - before.idle_s) / total_s,
        steal_ratio=(now.steal_s - before.steal_s) / total_s,
        generator_cpu_ratio=max(generator_s, default=0.0) / elapsed_s,
        server_cpu_ratio=None if cpu_s is None else cpu_s / elapsed_s,
        server_rss_bytes=None if rss is None else int(rss),
        queue_s=_mean(old, new, "heed_queue_wait_seconds"),
        engine_s=_mean(old, new, "heed_engine_duration_seconds"),
        batch_size=_mean(old, new, "heed_batch_size"),
        queue_depth=new.get("heed_queue_depth"),
    )


def _cpu_of_tree(pid: int) -> dict[int, float]:
    seconds = {}
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                cpu = process.cpu_times()
                seconds[process.pid] = cpu.user + cpu.system
    return seconds


def _growth(old: Mapping[str, float], new: Mapping[str, float], name: str) -> float | None:
    return new[name] - old[name] if name in old and name in new else None


def _mean(old: Mapping[str, float], new: Mapping[str, float], name: str) -> float | None:
    """Mean of what a Prometheus histogram observed in between."""
    count, total = _growth(old, new, f"{name}_count"), _growth(old, new, f"{name}_sum")
    return total / count if count and total is not None else None
