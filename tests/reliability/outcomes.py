"""A pytest plugin that runs the tests in $TEST_NAMES alone, and writes what becomes of each.

Used as `pytest -p tests.reliability.outcomes FILE...`; it imports nothing of ours, as pytest wants
to be first. Names that are not there are no error: the test that misses them says so.
"""

import json
import os
import re
from pathlib import Path

import pytest

NAMES = "TEST_NAMES"  # node ids without parameters, a line each
OUTCOMES = "TEST_OUTCOMES"  # the file for the worst outcome of each node id
_RANK = ("passed", "skipped", "failed")
_by_test: dict[str, str] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the others out."""
    names = set(os.environ[NAMES].splitlines())
    items[:] = [item for item in items if re.sub(r"\[.*", "", item.nodeid) in names]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One of setup, call and teardown."""
    before = _by_test.get(report.nodeid, "passed")
    _by_test[report.nodeid] = max(before, report.outcome, key=_RANK.index)


def pytest_sessionfinish() -> None:
    """All have run."""
    Path(os.environ[OUTCOMES]).write_text(json.dumps(_by_test), encoding="utf-8")
