"""The machine that a load test runs on."""

import hashlib
import os
import platform
import re
from pathlib import Path

import psutil

from loadtest.result import Host


def this_host() -> Host:
    """Name and size of this machine, and a fingerprint of what decides its speed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_bytes = psutil.virtual_memory().total
    facts = (_cpu_name(), cores or 1, round(memory_bytes / 2**30), platform.system())
    fingerprint = hashlib.sha256(repr((*facts, platform.machine())).encode()).hexdigest()
    return Host(
        fingerprint=fingerprint[:16],
        cpu=facts[0],
        cores=facts[1],
        memory_bytes=memory_bytes,
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    )


def _cpu_name() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
