"""A result as JUnit XML: one suite per scenario, and one for the conditions of validity. Pure."""

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from loadtest import figures
from loadtest.facts import facts
from loadtest.result import Check, Judgement, Result
from loadtest.row import row

FAILURES = {"fail", "regression"}
ERRORS = {"invalid", "inconclusive"}
COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}
_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


def to_junit(result: Result) -> str:
    """An XML document that CI servers read: a test case for each objective and each condition."""
    root = Element("testsuites", name=f"heed {result.command}")
    judged, interval = figures.judgements(result), figures.interval_name(result)
    stages = [stage for stage in result.stages if stage.role == "candidate"]
    names = (*(stage.scenario for stage in stages), *(each.scenario for each in judged))
    for scenario in dict.fromkeys(names):
        measured_s = sum(stage.duration_s for stage in stages if stage.scenario == scenario)
        suite = _suite(root, result, scenario, measured_s)
        own = [each for each in judged if each.scenario == scenario]
        for judgement in own:
            _judgement(_case(suite, scenario, judgement.objective), judgement, interval)
        if not own:
            _scenario_alone(_case(suite, scenario, "objectives"), result)
        _count(suite, [suite])
    if result.verdict and result.verdict.checks:
        suite = _suite(root, result, "validity", 0.0)
        for check in result.verdict.checks:
            _check(_case(suite, "validity", check.name), check)
        _count(suite, [suite])
    _count(root, root.findall("testsuite"))
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, "unicode")}\n'


def _suite(root: Element, result: Result, name: str, measured_s: float) -> Element:
    about = {"name": _clean(name), "timestamp": result.started_at[:19], "time": f"{measured_s:.3f}"}
    suite = SubElement(root, "testsuite", about)
    properties = SubElement(suite, "properties")
    for key, value in facts(result).items():
        SubElement(properties, "property", name=key, value=_clean(value))
    return suite


def _case(suite: Element, scenario: str, name: str) -> Element:
    place = {"name": _clean(name), "classname": _clean(f"heed.{scenario}"), "time": "0.000"}
    return SubElement(suite, "testcase", place)


def _judgement(case: Element, judgement: Judgement, interval: str) -> None:
    found = row(judgement)
    said = f"{found.measured}, {interval} {found.interval}, limit {found.limit}"
    said = f"{found.outcome}: {said}, n = {found.samples}. {found.detail}"
    _say(case, _tag(judgement), judgement.outcome, said.strip())


def _tag(judgement: Judgement) -> str | None:
    """What makes CI stop; an objective that only warns does not."""
    if judgement.severity == "warn":
        return None
    if judgement.outcome in FAILURES:
        return "failure"
    return "error" if judgement.outcome in ERRORS else None


def _scenario_alone(case: Element, result: Result) -> None:
    """A scenario without objectives of its own: a capacity search has a verdict as a whole."""
    verdict = result.verdict
    if verdict is None:
        _say(case, "skipped", "", "nothing was judged: a load test has no objectives")
        return
    stops = verdict.outcome in FAILURES | ERRORS
    tag = None if not stops else "failure" if verdict.outcome in FAILURES else "error"
    _say(case, tag, verdict.outcome, figures.sentence(result))


def _check(case: Element, check: Check) -> None:
    said = f"{check.measured}, limit {check.limit}. {'' if check.ok else check.advice}".strip()
    _say(case, None if check.ok else "error", "invalid", said)


def _say(case: Element, tag: str | None, kind: str, said: str) -> None:
    if tag is None:
        SubElement(case, "system-out").text = _clean(said)
    else:
        element = SubElement(case, tag, message=_clean(said))
        if kind:
            element.set("type", kind)


def _count(element: Element, suites: Iterable[Element]) -> None:
    cases = [case for suite in suites for case in suite.findall("testcase")]
    element.set("tests", str(len(cases)))
    for attribute, tag in COUNTED.items():
        element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
