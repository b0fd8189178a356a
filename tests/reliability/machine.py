"""The machine: who runs on which core, and what else went on while something was measured."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date

import psutil

from loadtest.host import this_host
from model.provenance import git_commit

STEAL = 0.02  # of all cores, taken by the hypervisor: the limit of the gate
OTHERS = 0.05  # of all cores, used by programs that are not ours


@dataclass(frozen=True)
class Cores:
    """Disjoint where there are two cores or more: the load does not take the service's time."""

    server: frozenset[int]
    clients: frozenset[int]


def split_cores() -> Cores:
    """The first core is the service's, the others are the clients'."""
    first, *others = sorted(os.sched_getaffinity(0))
    return Cores(frozenset({first}), frozenset(others or {first}))


def describe() -> str:
    """CPU, cores, memory and Python, the day and the commit, for the head of a document."""
    host, python = this_host(), platform.python_version()
    memory = f"{host.memory_bytes / 2**30:.0f} GiB"
    commit = (git_commit() or "unknown")[:12]
    return (
        f"{host.cpu}, {os.cpu_count()} cores, {memory}, {platform.system()}, Python {python}; "
        f"{date.today().isoformat()}, commit {commit}"
    )


@dataclass
class Watch:
    """CPU shares of all cores during a block; `noise` says what was too much."""

    steal: float = 0.0
    others: float = 0.0

    @property
    def noise(self) -> tuple[str, ...]:
        """Reasons to distrust a miss."""
        found = []
        if self.steal > STEAL:
            found.append(f"the hypervisor took {self.steal:.1%} of the CPU")
        if self.others > OTHERS:
            found.append(f"other programs took {self.others:.1%} of the CPU")
        return tuple(found)


@contextmanager
def watched() -> Iterator[Watch]:
    """Measure steal, and what programs that are not ours used."""
    watch = Watch()
    before, own_before = psutil.cpu_times(), _own_cpu_s()
    yield watch
    after, own_after = psutil.cpu_times(), _own_cpu_s()
    total = sum(after) - sum(before) or 1e-9
    watch.steal = (after.steal - before.steal) / total
    busy = _busy_s(after) - _busy_s(before)
    watch.others = max(0.0, busy - (own_after - own_before)) / total


def _busy_s(times: "psutil._common.scputimes") -> float:
    return sum(times) - times.idle - times.iowait - times.steal - times.irq - times.softirq


def _own_cpu_s() -> float:
    """Of this process and all its children, living and gone."""
    times = os.times()
    seconds = times.user + times.system + times.children_user + times.children_system
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            cpu = child.cpu_times()
            # Its own children that are gone, not those that live: they are in the list themselves.
            seconds += cpu.user + cpu.system + cpu.children_user + cpu.children_system
    return seconds
