"""From figures to verdicts, and to a page."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from tests.reliability import accounts
from tests.reliability.document import to_markdown
from tests.reliability.measured import (
    Figure,
    Measured,
    all_held,
    of_rounds,
    of_slope,
    quantile,
    show,
    skip,
)
from tests.reliability.named_tests import judge
from tests.reliability.promises import MEASUREMENTS, PROMISES
from tests.reliability.results import failed, judged
from tests.reliability.store import Row, load, save, updated

STRADDLES = Figure(24.3, "us", low=-8.3, high=42.5, spread="95 % CI", at_most=30)


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (Measured(True), "met"),
        (Measured(False), "not met"),
        (Measured(True, noise=("steal",)), "met"),
        (Measured(False, noise=("steal",)), "inconclusive"),
        (Measured(True, unmeasured=("not sent",)), "inconclusive"),
        (Measured(False, unmeasured=("not sent",)), "inconclusive"),
        (skip("no wrk"), "not measured"),
        (Measured(True, (STRADDLES,)), "undecided"),
        (Measured(False, (STRADDLES,)), "not met"),
        (Measured(True, (STRADDLES, Figure(3, "", at_most=2))), "not met"),
        (Measured(True, (STRADDLES,), noise=("steal",)), "inconclusive"),
        (all_held([Measured(True), Measured(True, (STRADDLES,))]), "undecided"),
    ],
)
def test_noise_excuses_a_miss_and_an_idle_generator_proves_nothing(
    measured: Measured, verdict: str
) -> None:
    """What held on a busy machine held; what was never sent did not."""
    assert measured.verdict == verdict


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure(1.5, "", low=1, high=2, at_most=2), "met"),
        (Figure(1.5, "", low=1, high=2, at_most=0.9), "not met"),
        (Figure(1.5, "", low=1, high=2, at_most=1.6), "undecided"),
        (Figure(1.5, "", low=1, high=2, at_most=1.4), "undecided"),
        (Figure(1.5, "", low=1, high=2, at_least=1), "met"),
        (Figure(1.5, "", low=1, high=2, at_least=2.1), "not met"),
        (Figure(1.5, "", low=1, high=2, at_least=1.6), "undecided"),
        (Figure(1.5, "", low=1, high=2), "met"),
        (Figure(1.5, "", at_most=2), "met"),
        (Figure(1.5, "", at_most=1), "not met"),
        (of_rounds([3.0, 1.0, 2.0], "", at_most=2.5), "undecided"),
        (of_slope(1.0, 0.1, 100, "", at_most=2.0), "met"),
    ],
)
def test_spread_against_the_target_decides(figure: Figure, verdict: str) -> None:
    """All of it on the right side is met, all on the wrong one is not; else nobody knows."""
    assert figure.verdict == verdict


def test_a_promise_with_several_answers_holds_if_each_does() -> None:
    """What was not measured is not met, whatever else was; what is broken stays broken."""
    assert all_held([Measured(True), Measured(True)]).verdict == "met"
    assert all_held([Measured(True), Measured(False)]).verdict == "not met"
    assert all_held([Measured(True), skip("no wrk")]).verdict == "not measured"
    assert all_held([Measured(True), skip("no wrk")]).skipped == "no wrk"
    assert all_held([Measured(False), skip("no wrk")]).verdict == "not met"
    assert all_held([skip("no wrk"), skip("no haproxy")]).skipped == "no wrk; no haproxy"
    assert all_held([]).verdict == "not measured"
    noisy = Measured(False, noise=("steal",), unmeasured=("not sent",))
    assert all_held([Measured(True), noisy]).verdict == "inconclusive"
    assert all_held([Measured(False), noisy]).verdict == "not met"


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0182, "s", "18.2 ms"),
        (0.00012, "s", "120 us"),
        (2.0, "s", "2 s"),
        (0.0, "s", "0 s"),
        (-0.0004, "s", "-400 us"),
        (0.951, "share", "95.1 %"),
        (1_500_000, "B", "1.5 MB"),
        (17.25, "B", "17.2 B"),
        (12_345, "texts/s", "12,345 texts/s"),
        (3, "", "3"),
        (math.inf, "s", "endless"),
        (math.nan, "s", "nothing"),
    ],
)
def test_numbers_are_shown_with_three_digits_and_a_unit(
    value: float, unit: str, shown: str
) -> None:
    """Of a size that people read."""
    assert show(value, unit) == shown


def test_figures_show_their_spread_and_what_they_rest_on() -> None:
    """Range of rounds, interval of a slope."""
    assert str(of_rounds([0.1, 0.3, 0.2], "s", "ready after")) == (
        "ready after 200 ms (range 100 ms to 300 ms, n 3)"
    )
    growth = of_slope(10.0, 1.0, 22, "B", "a request")
    assert (growth.low, growth.high) == pytest.approx((10 - 2.086, 10 + 2.086), abs=0.001)
    assert quantile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert math.isnan(quantile([], 0.5))


def test_answers_reach_the_rows_that_ask_for_them() -> None:
    """What failed is inconclusive; what was measured is not met before its tests were run."""
    fine = {"goodput": Measured(True), "no late answer": Measured(True)}
    answers = {"ladder": fine, "bound": failed("bound", OSError("no"))}
    rows = {promise.key: measured for promise, measured in judged(answers) if promise.measurement}
    assert rows["no late answer"].verdict == "met"
    assert rows["goodput"].verdict == "not measured"
    assert rows["derived bound"].verdict == "not measured"
    assert rows["derived bound"].unmeasured == ("bound failed: OSError: no",)
    assert rows["leak"].verdict == "not measured"


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_a_measurement_that_fails_answers_for_all_of_its_promises(name: str) -> None:
    """As inconclusive, so that the others are measured all the same."""
    answers = failed(name, ValueError())
    rows = [row for promise, row in judged({name: answers}) if promise.measurement == name]
    assert answers
    assert all(row.unmeasured for row in rows)


def test_parameters_of_a_test_are_judged_together() -> None:
    """One that fails is enough, one that is skipped is not."""
    found = {"a::x[1]": "passed", "a::x[2]": "failed", "a::xy": "failed", "a::z": "skipped"}
    assert judge("a::x", found).note == "failed: x[2]"
    assert judge("a::x", found | {"a::x[2]": "skipped"}).held
    assert judge("a::z", found).verdict == "not measured"
    assert judge("a::none", found).verdict == "not met"


def test_page_has_a_row_and_a_section_for_each_promise() -> None:
    """What is not met comes first, and every cell is one line whatever it holds."""
    late = Measured(False, (Figure(2, "", "late"),), "a | b\nc")
    answers = {"ladder": {"no late answer": late}}
    page = to_markdown([Row(*answer, "a machine") for answer in judged(answers)])
    rows = [line for line in page.splitlines() if line.startswith("| [")]
    assert len(rows) == len(PROMISES)
    assert rows[2] == f"| [3](#3) | {PROMISES[2].text} | 0 | **not met** |"
    assert page.index("## Not met") < page.index("## Not measured") < page.index("## Overload")
    assert f"- [3](#3) {PROMISES[2].text}: late 2; a | b c" in page
    assert "- late 2\n- a | b c\n- again: `python -m tests.reliability --only ladder`" in page
    assert f"{len(PROMISES)} promises: 1 not met, {len(PROMISES) - 1} not measured." in page


def test_part_that_is_measured_again_replaces_what_the_whole_run_found(tmp_path: Path) -> None:
    """And says when; what was not measured this time, and the accounts of all, stay."""
    late, in_time = Measured(False, (Figure(2, "", "late"),)), Measured(True, (Figure(0, ""),))
    answers = {name: {"accounts": in_time} for name in MEASUREMENTS}
    whole = [Row(*each, "then") for each in judged(answers | {"ladder": {"no late answer": late}})]
    save(tmp_path / "all.json", whole, quick=False)
    old = load(tmp_path / "all.json")
    assert old == whole
    again = {"ladder": {"no late answer": in_time, "accounts": late}}
    rows = updated(old, [Row(*each, "now") for each in judged(again)])
    changed = [row for row, before in zip(rows, whole, strict=True) if row != before]
    assert [(row.promise.key, row.measured, row.where) for row in changed] == [
        ("no late answer", in_time, "now")
    ]
    assert "- measured again: now\n" in to_markdown(rows)


def test_result_of_a_quick_run_is_no_whole_run(tmp_path: Path) -> None:
    """Its figures mean nothing; neither is there one before the first."""
    with pytest.raises(ValueError, match="a whole run makes one"):
        load(tmp_path / "all.json")
    save(tmp_path / "all.json", [Row(*each, "then") for each in judged({})], quick=True)
    with pytest.raises(ValueError, match="quick"):
        load(tmp_path / "all.json")


def test_measured_becomes_json() -> None:
    """Figures that are not finite too."""
    text = json.dumps(Measured(True, (Figure(math.inf, "s"),)).to_dict(), allow_nan=False)
    assert json.loads(text)["figures"][0]["value"] is None
    assert json.loads(text)["verdict"] == "met"


def metrics(received: float, **outcomes: float) -> dict[str, float]:
    """As a service shows them."""
    named = {f'heed_requests_total{{outcome="{name}"}}': n for name, n in outcomes.items()}
    gauges = {"heed_queue_depth": 0.0, "heed_in_flight_requests": 0.0}
    return {"heed_requests_received_total": received, **gauges, **named}


@pytest.mark.parametrize(
    ("seen", "clients", "held"),
    [
        (metrics(5, ok=3, shed=2), None, True),
        (metrics(6, ok=3, shed=2), None, False),
        (metrics(5, ok=3, shed=2) | {"heed_queue_depth": 1.0}, None, False),
        (metrics(5, ok=3, shed=2) | {"heed_in_flight_requests": 1.0}, None, False),
        (metrics(5, ok=3, shed=2), {"ok": 3, "status 503": 2}, True),
        (metrics(5, ok=3, shed=2), {"ok": 2, "status 503": 3}, False),
        (metrics(5, ok=3, shed=2), {"ok": 3, "status 503": 1}, False),
        (metrics(5, ok=3, cancelled=2), {"ok": 3, "timeout": 2}, True),
        (metrics(5, ok=4, cancelled=1), {"ok": 3, "timeout": 2}, True),
        (metrics(5, ok=5), {"ok": 2, "timeout": 2, "status 503": 1}, False),
    ],
)
def test_accounts_add_up_or_say_where_they_do_not(
    seen: dict[str, float], clients: dict[str, int] | None, held: bool
) -> None:
    """What a client gave up on may have had any outcome, everything else one."""
    answer = accounts.compare(seen, None if clients is None else Counter(clients))
    assert answer.held is held
    assert bool(answer.note) is not held
