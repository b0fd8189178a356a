"""Fixtures of training."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import runs


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """See `runs.one_thread`."""
    with runs.one_thread():
        yield


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Not to be changed: copy it first."""
    return runs.trained_run(tmp_path_factory.getbasetemp())
