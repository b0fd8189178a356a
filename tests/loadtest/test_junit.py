"""What CI servers read of a result."""

from xml.etree.ElementTree import Element, fromstring

import pytest

from loadtest.junit import to_junit
from loadtest.result import Result
from tests.loadtest import examples
from tests.loadtest.examples import EXAMPLES

STOPS = {"fail": "failure", "regression": "failure", "inconclusive": "error", "invalid": "error"}


def _parsed(result: Result) -> Element:
    return fromstring(to_junit(result).encode())  # noqa: S314 - our own markup


@pytest.fixture(params=EXAMPLES)
def result(request: pytest.FixtureRequest) -> Result:
    """Each example in turn."""
    return EXAMPLES[request.param]()


def test_document_follows_the_common_schema(result: Result) -> None:
    """Suites hold properties, then cases; a case has a name, a class and at most one outcome."""
    root = _parsed(result)
    assert root.tag == "testsuites"
    for suite in root:
        assert suite.tag == "testsuite"
        assert {"name", "tests", "failures", "errors", "skipped", "time"} <= set(suite.attrib)
        assert [child.tag for child in suite[:2]] == ["properties", "testcase"]
        for case in suite.findall("testcase"):
            assert {"name", "classname", "time"} <= set(case.attrib)
            assert len(case) == 1
            assert case[0].tag in {"failure", "error", "skipped", "system-out"}
            assert case[0].text or case[0].attrib["message"]


def test_counts_are_those_of_the_cases(result: Result) -> None:
    """Servers trust the attributes."""
    root = _parsed(result)
    for element in (root, *root):
        cases = list(element.iter("testcase"))
        assert int(element.attrib["tests"]) == len(cases)
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped",) * 2):
            assert int(element.attrib[attribute]) == sum(c.find(tag) is not None for c in cases)


@pytest.mark.parametrize("name", ["passing", "stalled", "regression", "invalid", "inconclusive"])
def test_every_objective_and_condition_is_a_case_with_its_outcome(name: str) -> None:
    """Failed and regressed ones are failures, what could not be told is an error."""
    result = EXAMPLES[name]()
    assert result.verdict
    outcomes = [STOPS.get(each.outcome, "system-out") for each in result.verdict.judgements]
    outcomes += ["system-out" if check.ok else "error" for check in result.verdict.checks]
    assert [case[0].tag for case in _parsed(result).iter("testcase")] == outcomes


def test_scenarios_are_suites_and_validity_is_one() -> None:
    """In the order in which they were run."""
    assert [s.attrib["name"] for s in _parsed(examples.passing())] == ["steady", "busy", "validity"]


def test_a_warning_does_not_stop_ci() -> None:
    """It is said, and that is all."""
    root = _parsed(examples.passing())
    assert root.attrib["failures"] == root.attrib["errors"] == "0"
    said = [case.findtext("system-out", "") for case in root.iter("testcase")]
    assert any(text.startswith("warn: 2.8 MB, 95 % interval -, limit ≤ 1 MB") for text in said)


def test_only_what_was_not_judged_is_skipped() -> None:
    """A plain load test has no objectives; nothing measured has no cases."""
    assert _parsed(examples.open_loop()).attrib["skipped"] == "1"
    assert _parsed(examples.invalid()).attrib["skipped"] == "0"
    assert _parsed(examples.empty()).attrib["tests"] == "0"


def test_capacity_is_a_case_with_its_sentence() -> None:
    """Passed when a rate was confirmed, an error when the generator was the limit."""
    found = examples.capacity()
    assert "6 instances" in _parsed(found).findtext("testsuite/testcase/system-out", "")
    assert found.verdict
    verdict = found.verdict.model_copy(update={"outcome": "invalid", "exit_code": 3})
    limited = found.model_copy(update={"verdict": verdict})
    assert _parsed(limited).attrib["errors"] == "1"
    missed = verdict.model_copy(update={"outcome": "fail"})
    assert _parsed(found.model_copy(update={"verdict": missed})).attrib["failures"] == "1"


def test_properties_name_host_model_and_seed() -> None:
    """Enough to know what was measured where."""
    suite = _parsed(examples.regression())[0]
    properties = {p.attrib["name"]: p.attrib["value"] for p in suite.iter("property")}
    assert "5f1c09aa" in properties["host"]
    assert "c4" * 6 in properties["service"]
    assert properties["seed"] == "20260102"
    assert suite.attrib["time"] == "40.000"


def test_characters_that_xml_cannot_hold_are_replaced() -> None:
    """A control character in a name does not make the file unreadable."""
    root = _parsed(examples.hostile())
    assert "\x1b" not in to_junit(examples.hostile())
    assert any("<script>" in case.attrib["name"] for case in root.iter("testcase"))
