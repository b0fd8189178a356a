"""How many CPUs this process may use: ONNX Runtime by itself counts the host's."""

import math
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path


def cpu_quota(root: Path = Path("/")) -> int:
    """Whole CPUs that the cgroups and the affinity mask leave, whichever is least; at least 1.

    Args:
        root: of the file system; another one in tests.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min([affinity or 1, *map(_quota, _cgroups(root))])))


def _cgroups(root: Path) -> Iterator[Path]:
    """The folders of our cgroup and of all above it: each may have a quota, and all count.

    Where containers are nested, or systemd has a `CPUQuota`, it is often not the topmost folder
    that has one. What a namespace hides cannot be seen, nor asked.
    """
    try:
        own: dict[str, str] = {}  # by controller; that of version 2 has no name
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            own |= dict.fromkeys(controllers.split(","), path)
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except (OSError, ValueError):
        return
    for mount in mounts:
        place, _, kind = mount.partition(" - ")
        name, *_, options = kind.split(" ") if kind else ("", "")
        controller = {"cgroup2": "", "cgroup": "cpu"}.get(name)
        if controller not in own or (controller and controller not in options.split(",")):
            continue
        top, point = place.split(" ")[3:5]  # which cgroup is seen there
        prefix, path = f"{top.rstrip('/')}/", f"{own[controller]}/"
        below = path.removeprefix(prefix) if path.startswith(prefix) else ""
        folder = root / point.lstrip("/")
        yield folder
        for part in below.split("/"):
            if part not in ("", ".."):  # above the namespace
                folder /= part
                yield folder


def _quota(cgroup: Path) -> float:
    """CPUs that the files of one folder allow, of either version."""
    try:
        if (cgroup / "cpu.max").exists():
            limit, period = (cgroup / "cpu.max").read_text().split()
        else:
            limit = (cgroup / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu.cfs_period_us").read_text().strip()
        return int(limit) / int(period) if limit not in ("max", "-1") else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def lower_priority() -> None:
    """Let the calling thread have what others leave of the processors. Only on Linux.

    It cannot be undone without a privilege, and threads started from now on inherit it.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
