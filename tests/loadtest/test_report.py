"""What people read of a result."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from loadtest.report import CLOSED, facts, format_ms, headline, notes, to_html
from loadtest.result import Generator, Model, Plan, Result, summarise
from loadtest.samples import OK, Samples

PLAN = Plan("http://h", users=2, duration_s=3, warm_up_s=0, texts="built-in", num_texts=51)


def _made(outcome: str = OK, name: str = "topics") -> Result:
    samples = Samples("2026-01-02T03:04:05+00:00", stopped_s=3.0)
    for i in range(30):
        samples.add(i / 10, 0.004 + i / 10_000, OK if i % 3 else outcome)
    models = [Model(name, "3", "ab" * 32)]
    return summarise(samples, PLAN, models, Generator("2.47.0", 2, cpu_warning=False))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0012345, "1.23 ms"), (0.0456, "45.6 ms"), (0.2004, "200 ms"), (12.3, "12,300 ms")],
)
def test_milliseconds_keep_at_least_three_digits(seconds: float, text: str) -> None:
    """A 1 ms service and a 10 s stall are both readable."""
    assert format_ms(seconds) == text


def test_headline_has_the_figures_of_the_result() -> None:
    """30 requests in 3 s, every third failed: 20 answers, 6.7 per second."""
    figures = headline(_made("status 503"))
    assert figures["throughput"] == "6.7 requests/s"
    assert figures["failed"] == "10 of 30"
    assert figures["p50"] == "5.40 ms"
    assert figures["max"] == "6.90 ms"


def test_headline_of_a_run_without_an_answer_shows_dashes() -> None:
    """Nothing measured is not zero."""
    assert headline(replace(_made(), latency=None))["p99"] == "-"


def test_facts_name_model_and_load() -> None:
    """Enough to know what was measured against what."""
    run = facts(_made())
    assert run["model"] == "topics version 3"
    assert run["manifest sha256"] == "ab" * 32
    assert run["duration"] == "3.0 s, after 0 s of warm-up"
    assert run["started"] == "2026-01-02 03:04:05 UTC"


def test_notes_say_closed_workload_first_and_every_doubt() -> None:
    """A generator short of CPU and a run cut short are said, not hidden."""
    assert notes(_made()) == [CLOSED]
    result = _made()
    generator = replace(result.generator, cpu_warning=True)
    doubtful = notes(replace(result, generator=generator, interrupted=True))
    assert len(doubtful) == 3
    assert "short of CPU" in doubtful[1]
    assert "Stopped by hand" in doubtful[2]


def test_page_loads_nothing_and_escapes_everything() -> None:
    """No address in the page but the service's own text; no markup from a name or an error."""
    page = to_html(_made(outcome="<img src=x>", name="<script>alert(1)</script>"))
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;img src=x&gt;" in page
    assert set(re.findall(r"https?://\w+", page)) == {"http://h"}
    assert not re.search(r"""\b(src|href|xlink|url\()|@import""", page.replace("&lt;img src=x", ""))


def test_page_closes_every_element_it_opens() -> None:
    """Well-formed with and without errors and answers."""
    for result in (_made(), _made("status 503"), replace(_made(), latency=None, series=[])):
        _Balance(to_html(result))


def test_page_draws_three_charts_or_says_nothing_was_measured() -> None:
    """Without an answer there is nothing to draw, and no empty frame."""
    assert to_html(_made()).count("<svg") == 3
    assert to_html(replace(_made(), latency=None, series=[])).count("<svg") == 0


class _Balance(HTMLParser):
    """Fails at the first end tag that does not fit."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember what must be closed."""
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens and closes at once."""

    def handle_endtag(self, tag: str) -> None:
        """It closes the last one opened."""
        assert self.open.pop() == tag
