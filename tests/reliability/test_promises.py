"""The table: what answers for a promise is there."""

import importlib
import inspect
import re
import subprocess
import sys

import pytest

from tests.reliability.__main__ import DOCUMENT
from tests.reliability.named_tests import named_tests
from tests.reliability.promises import EVERY, MEASUREMENTS, PROMISES
from tests.reliability.server import ROOT


def test_each_named_test_exists_and_is_collected() -> None:
    """A test that is renamed takes its promise with it."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *named_tests()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    collected = {re.sub(r"\[.*", "", line) for line in done.stdout.splitlines()}
    assert set(named_tests()) <= collected


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.text)
def test_each_promise_has_something_that_answers_for_it(promise) -> None:
    """Tests, or an answer that a measurement gives by that name."""
    assert promise.tests or promise.measurement
    if promise.measurement not in ("", EVERY):
        assert promise.measurement in MEASUREMENTS
        module = importlib.import_module(f"tests.reliability.{promise.measurement}")
        assert f'"{promise.key}"' in inspect.getsource(module)


def test_no_two_promises_are_the_same() -> None:
    """Each answer counts once."""
    assert len({promise.text for promise in PROMISES}) == len(PROMISES)
    measured = [(promise.measurement, promise.key) for promise in PROMISES if promise.measurement]
    assert len(set(measured)) == len(measured)


def test_all_measurements_take_less_than_an_hour() -> None:
    """And each of them answers for a promise."""
    assert sum(MEASUREMENTS.values()) < 3000
    assert set(MEASUREMENTS) - {"named_tests"} <= {promise.measurement for promise in PROMISES}


@pytest.mark.skipif(not DOCUMENT.exists(), reason="not measured yet")
def test_document_has_a_row_for_each_promise() -> None:
    """A promise that is added is measured before it is published."""
    page = DOCUMENT.read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\d+)\]\(#\d+\) \| (.+?) \| ", page, re.MULTILINE)
    assert rows == [(str(number), each.text) for number, each in enumerate(PROMISES, 1)]
