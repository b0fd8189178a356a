"""Fixtures of training, export and the contract: one run and its artifacts; copy, then change."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from model.checkpoint import Checkpoint, load_checkpoint
from service.runtime.predictor import Predictor
from tests import runs


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """See `runs.one_thread`."""
    with runs.one_thread():
        yield


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with validation and test rows."""
    return runs.trained_run(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def checkpoint(trained_run: Path) -> Checkpoint:
    """Its best weights."""
    return load_checkpoint(trained_run)


@pytest.fixture(scope="session")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its fp32 artifact."""
    return runs.exported(tmp_path_factory.getbasetemp(), "fp32")


@pytest.fixture(scope="session")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its int8 artifact."""
    return runs.exported(tmp_path_factory.getbasetemp(), "int8")


@pytest.fixture(scope="session")
def predictor(fp32: Path) -> Predictor:
    """What the fp32 artifact predicts with."""
    return Predictor(fp32, "cpu")
