"""From the answers of the measurements to one answer for each promise. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from tests.reliability import accounts
from tests.reliability.measured import Figure, Measured, all_held, skip
from tests.reliability.promises import EVERY, PROMISES, Promise

TESTS = "named_tests"
Answers = Mapping[str, Mapping[str, Measured]]  # by measurement and key


def judged(answers: Answers) -> list[tuple[Promise, Measured]]:
    """Each promise with its answer: `skipped` where nothing was measured."""
    return [(promise, _judge(promise, answers)) for promise in PROMISES]


def failed(name: str, error: Exception) -> dict[str, Measured]:
    """What a measurement says that could not be made."""
    reason = f"{name} failed: {type(error).__name__}: {error}"
    keys = [promise.key for promise in PROMISES if promise.measurement == name]
    if name == TESTS:
        keys = [test for promise in PROMISES for test in promise.tests]
    return {key: Measured(held=False, unmeasured=(reason,)) for key in keys}


def _judge(promise: Promise, answers: Answers) -> Measured:
    parts = []
    if promise.measurement == EVERY:
        found = {name: each[promise.key] for name, each in answers.items() if promise.key in each}
        parts.append(accounts.together(found) if found else skip("not measured"))
    elif promise.measurement:
        missing = skip("not measured")
        parts.append(answers.get(promise.measurement, {}).get(promise.key, missing))
    if promise.tests:
        parts.append(_tests(promise, answers.get(TESTS, {})))
    return all_held(parts)


def _tests(promise: Promise, outcomes: Mapping[str, Measured]) -> Measured:
    """The named tests as one figure."""
    whole = all_held([outcomes.get(test, skip("tests not run")) for test in promise.tests])
    passed = sum(figure.value for figure in whole.figures)
    return replace(whole, figures=(Figure(passed, "tests passed"),) if whole.figures else ())
