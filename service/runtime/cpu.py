"""How many CPUs this process may use: ONNX Runtime by itself counts the host's."""

import math
import os
import sys
import threading
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


def cpu_quota(cgroup_v2: Path = _CGROUP_V2, cgroup_v1: Path = _CGROUP_V1) -> int:
    """Whole CPUs of the container's quota and the affinity mask, whichever is less; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _quota(cgroup_v2, cgroup_v1)
    return max(1, math.ceil(min(affinity or 1, quota)))


def _quota(cgroup_v2: Path, cgroup_v1: Path) -> float:
    try:
        if cgroup_v2.exists():
            limit, period = cgroup_v2.read_text().split()
        else:
            limit = (cgroup_v1 / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup_v1 / "cpu.cfs_period_us").read_text().strip()
        return int(limit) / int(period) if limit not in ("max", "-1") else math.inf
    except (OSError, ValueError):
        return math.inf


def lower_priority() -> None:
    """Let the calling thread have what others leave of the processors. Only on Linux.

    It cannot be undone without a privilege, and threads started from now on inherit it.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
