"""The CPU quota, from cgroup files of both versions."""

from pathlib import Path

import pytest

from service.runtime import cpu


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The affinity mask of a machine with eight."""
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("1600000 100000\n", 8),
        ("max 100000\n", 8),
        ("garbage", 8),
        ("", 8),
    ],
)
def test_quota_of_cgroup_v2(tmp_path: Path, content, expected):
    """Rounded up, at least 1, at most the affinity mask; unreadable is no quota."""
    (tmp_path / "cpu.max").write_text(content)
    assert cpu.cpu_quota(tmp_path / "cpu.max", tmp_path) == expected


@pytest.mark.parametrize(("limit", "expected"), [("300000", 3), ("-1", 8)])
def test_quota_of_cgroup_v1(tmp_path: Path, limit, expected):
    """-1 is no quota."""
    (tmp_path / "cpu.cfs_quota_us").write_text(f"{limit}\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu.cpu_quota(tmp_path / "none", tmp_path) == expected


def test_without_cgroups_the_affinity_mask_counts(tmp_path: Path):
    """Outside of containers."""
    assert cpu.cpu_quota(tmp_path / "none", tmp_path / "none") == 8
