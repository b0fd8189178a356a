"""Runs the tests that the table names, in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping

from tests.reliability import outcomes
from tests.reliability.lab import Lab
from tests.reliability.measured import Figure, Measured, skip
from tests.reliability.promises import PROMISES
from tests.reliability.server import ROOT

CASES = "10000"  # of each test that draws its inputs


def named_tests(measurements: Collection[str] = ()) -> list[str]:
    """The node ids of the table, once each; of the promises of these measurements, or of all."""
    chosen = [each for each in PROMISES if not measurements or each.measurement in measurements]
    return list(dict.fromkeys(test for promise in chosen for test in promise.tests))


def measure(lab: Lab) -> Mapping[str, Measured]:
    """What each named test says; all parameters of one together."""
    out, names = lab.folder / "outcomes.json", named_tests(lab.only)
    files = sorted({name.partition("::")[0] for name in names})
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "tests.reliability.outcomes"]
    environment = {outcomes.OUTCOMES: str(out), outcomes.NAMES: "\n".join(names)}
    if not lab.quick:
        environment["HEED_FUZZ_CASES"] = CASES
    done = subprocess.run(
        [*command, *(file for file in files if (ROOT / file).exists())],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    (lab.folder / "tests.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode > 1 or not out.exists():
        said = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
        raise RuntimeError(f"pytest ended with {done.returncode}: {' '.join(said)}")
    found = json.loads(out.read_text("utf-8"))
    return {name: judge(name, found) for name in names}


def judge(test: str, found: Mapping[str, str]) -> Measured:
    """One answer for all parameters of a test, from outcomes by node id."""
    own = {
        name: outcome
        for name, outcome in found.items()
        if name == test or name.startswith(f"{test}[")
    }
    failed = [name for name, outcome in own.items() if outcome == "failed"]
    passed = sum(outcome == "passed" for outcome in own.values())
    if not own:
        return Measured(held=False, note=f"no such test: {test}")
    if not passed and not failed:
        return skip("its tests were skipped")
    note = f"failed: {', '.join(name.rpartition('::')[2] for name in failed)}" if failed else ""
    return Measured(not failed, (Figure(passed, "tests"),), note)
