"""The CPU quota, from the files of cgroups of both versions under another root."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from service.runtime import cpu

V2 = "30 25 0:26 {top} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "33 25 0:29 {top} {point} rw,nosuid shared:7 - cgroup cgroup rw,cpu,cpuacct"
OTHERS = """\
22 26 0:20 / /sys rw,nosuid shared:2 - sysfs sysfs rw
34 25 0:30 / /sys/fs/cgroup/memory rw shared:8 - cgroup cgroup rw,memory
"""


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The affinity mask of a machine with eight."""
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda _: set(range(8)))


def quota(  # noqa: PLR0917  the files of a machine
    root: Path,
    groups: Mapping[str, str],
    own: str,
    mount: str = V2,
    top: str = "/",
    point: str = "/sys/fs/cgroup",
) -> int:
    """What is found where the folders below `point` have these quotas."""
    for name, content in groups.items():
        folder = root / point.lstrip("/") / name
        folder.mkdir(parents=True, exist_ok=True)
        if mount == V2:
            (folder / "cpu.max").write_text(content)
        else:
            (folder / "cpu.cfs_quota_us").write_text(f"{content}\n")
            (folder / "cpu.cfs_period_us").write_text("100000\n")
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own)
    (root / "proc/self/mountinfo").write_text(OTHERS + mount.format(top=top, point=point) + "\n")
    return cpu.cpu_quota(root)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("1600000 100000\n", 8),
        ("max 100000\n", 8),
        ("100000 0\n", 8),
        ("garbage", 8),
        ("", 8),
    ],
)
def test_quota_of_cgroup_v2(tmp_path: Path, content, expected):
    """Rounded up, at least 1, at most the affinity mask; unreadable is no quota."""
    assert quota(tmp_path, {"": content}, "0::/\n") == expected


@pytest.mark.parametrize(("limit", "expected"), [("300000", 3), ("-1", 8)])
def test_quota_of_cgroup_v1(tmp_path: Path, limit, expected):
    """-1 is no quota."""
    own = "4:memory:/\n3:cpu,cpuacct:/\n0::/\n"
    assert quota(tmp_path, {"": limit}, own, V1, point="/sys/fs/cgroup/cpu,cpuacct") == expected


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        (("max", "max", "100000"), 1),
        (("max", "100000", "max"), 1),
        (("300000", "max", "max"), 3),
        (("400000", "300000", "200000"), 2),
        (("200000", "300000", "400000"), 2),
        (("max", "max", "max"), 8),
    ],
)
@pytest.mark.parametrize("mount", [V1, V2])
def test_least_of_its_own_cgroup_and_all_above_it_counts(tmp_path: Path, quotas, expected, mount):
    """As systemd's `CPUQuota=` of a service or a slice, or a container in a limited pod."""
    names = ("", "system.slice", "system.slice/heed.service")
    v1 = {name: limit.replace("max", "-1") for name, limit in zip(names, quotas, strict=True)}
    v2 = {name: f"{limit} 100000" for name, limit in zip(names, quotas, strict=True)}
    own = "3:cpuacct,cpu:/{0}\n1:name=systemd:/x\n" if mount == V1 else "0::/{0}\n"
    groups = v1 if mount == V1 else v2
    assert quota(tmp_path, groups, own.format(names[-1]), mount) == expected


@pytest.mark.parametrize(
    ("own", "top"),
    [
        ("/docker/abc/child", "/docker/abc"),  # version 1, no namespace: only its part is mounted
        ("/child", "/"),  # a namespace
        ("/../../child", "/"),
    ],
)
@pytest.mark.parametrize("mount", [V1, V2])
def test_cgroup_in_a_container_is_found_below_its_mount(tmp_path: Path, own, top, mount):
    """The path of the host is not there, that of the mount is."""
    groups = {"": "max 100000", "child": "100000 100000"}
    if mount == V1:
        groups = {"": "-1", "child": "100000"}
    line = f"3:cpu:{own}\n" if mount == V1 else f"0::{own}\n"
    assert quota(tmp_path, groups, line, mount, top) == 1


@pytest.mark.parametrize("own", ["/docker/abc", "/", "/../..", "/elsewhere", "/docker/abcdef"])
def test_quota_at_the_top_of_the_mount_counts_whatever_the_path(tmp_path: Path, own):
    """That is how most containers see their own."""
    assert quota(tmp_path, {"": "100000 100000"}, f"0::{own}\n", top="/docker/abc") == 1


def test_both_versions_at_once_are_looked_at(tmp_path: Path):
    """The hybrid of systemd: version 1 has the CPUs, version 2 nothing."""
    (tmp_path / "sys/fs/cgroup/unified").mkdir(parents=True)
    own = "3:cpu,cpuacct:/a\n0::/a\n"
    assert quota(tmp_path, {"a": "100000"}, own, V1, point="/sys/fs/cgroup/cpu") == 1


def test_without_cgroups_the_affinity_mask_counts(tmp_path: Path):
    """Outside of containers, and on other systems."""
    assert cpu.cpu_quota(tmp_path) == 8
