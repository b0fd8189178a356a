"""What people read of a result, in a browser."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest

from loadtest import figures
from loadtest.facts import CLOSED
from loadtest.junit import to_junit
from loadtest.markdown import to_markdown
from loadtest.report import to_html
from loadtest.result import Result
from loadtest.row import row
from loadtest.terminal import show
from loadtest.timeline import MAX_POINTS
from tests.loadtest import examples
from tests.loadtest.examples import EXAMPLES


@pytest.fixture(params=EXAMPLES)
def result(request: pytest.FixtureRequest) -> Result:
    """Each example in turn."""
    return EXAMPLES[request.param]()


def _visible(page: str) -> str:
    """The text of a page, spaces as one."""
    body = page.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_page_loads_nothing_and_runs_nothing(result: Result) -> None:
    """One file: no script, no reference, no address but those of the services as text."""
    page = to_html(result)
    markup = re.sub(r">[^<]*<", "><", page.partition("<body>")[2])
    assert "<script" not in page
    assert not re.search(r"""\s(src|href|on\w+|style)=""", markup)
    style = page[page.index("<style>") : page.index("</style>")]
    assert not re.search(r"url\(|@import|@font-face|//", style)


def test_page_closes_every_element_it_opens(result: Result) -> None:
    """Well-formed for every result, also where nothing was measured or answered."""
    _Balance(to_html(result))


def test_every_chart_has_a_name_for_those_who_cannot_see_it(result: Result) -> None:
    """Also the small ones in a table."""
    for tag in re.findall(r"<svg[^>]*>", to_html(result)):
        assert 'role="img"' in tag
        assert re.search(r'aria-label="[^"]+"', tag)


def test_text_that_others_chose_stays_text() -> None:
    """Names of models, scenarios, outcomes, conditions: shown, never markup."""
    page = to_html(examples.hostile())
    assert "<script" not in page
    assert "alert(&#34;x&#34;)" in page


def test_all_renderers_show_the_same_figures(
    result: Result, capsys: pytest.CaptureFixture[str]
) -> None:
    """Objective by objective: measured, interval, limit and outcome, in four places."""
    show(result)
    texts = {
        "html": _visible(to_html(result)),
        "junit": unescape(to_junit(result)),
        "markdown": to_markdown(result),
        "terminal": capsys.readouterr().out,
    }
    for judgement in figures.judgements(result):
        said = row(judgement)
        for place, text in texts.items():
            for figure in said[1:4]:
                assert figure in text, place
    tiles = [t for s in figures.sections(result).values() for t in figures.headline(s)]
    for tile in tiles:
        assert tile.value in texts["html"]
        assert tile.value in texts["markdown"]
        assert tile.value in texts["terminal"]


def test_verdict_comes_first_and_facts_last() -> None:
    """What decides is read first."""
    text = _visible(to_html(examples.regression()))
    order = [
        "regression steady: p50 at most 10 % above the baseline: +26.0 %",
        "from sent 6.47 ms",
        "Verdict",
        "Was the measurement valid?",
        "Against the baseline",
        "Latency over time",
        "Throughput over time",
        "Backlog",
        "Latency by percentile",
        "Latency histogram",
        "Outcomes",
        "Queue and engine",
        "Batch size",
        "Server CPU",
        "Server memory",
        "Generator CPU",
        "Machine CPU",
        "fingerprint 5f1c09aa",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_every_scenario_has_its_figures_and_charts() -> None:
    """Two scenarios at different rates are never merged."""
    page = to_html(examples.passing())
    assert page.count("<h3>Latency over time</h3>") == 2
    assert page.count('<p class="named">') == 2


def test_baseline_is_a_shade_and_not_part_of_the_lines() -> None:
    """40 candidate seconds of 104 are drawn."""
    page = to_html(examples.regression())
    chart = page[page.index("Latency over time") : page.index("Throughput over time")]
    assert chart.count('class="hover"') == 40
    assert chart.count('class="shade"') == 1 + 4  # legend, A/A with the baseline rounds beside it
    assert "A/A and baseline" in chart


def test_comparison_shows_a_dot_for_each_round() -> None:
    """5 of the candidate and 5 of the baseline; for each of the three metrics."""
    page = to_html(examples.regression())
    for name, count in (("candidate", 5), ("baseline", 5)):
        assert page.count(f'<circle class="dot {name}"') == 3 * count


def test_closed_workload_has_one_latency_and_no_backlog() -> None:
    """Nothing was scheduled; the page says what that hides."""
    page = to_html(examples.closed())
    assert CLOSED in page
    assert "from sent" not in page.partition('<p class="hint">Percentiles')[0]
    assert "Backlog" not in page


def test_what_was_not_seen_of_a_server_has_no_chart() -> None:
    """A remote server has no CPU and memory to show; the generator always has."""
    page = to_html(examples.closed())
    assert "Server CPU" not in page
    assert "Server memory" not in page
    assert "Generator CPU" in page


def test_a_long_run_is_thinned_to_its_worst_seconds() -> None:
    """An hour is 300 points, and the page says so; a slow second is still in it."""
    page = to_html(examples.long())
    chart = page[page.index("Latency over time") : page.index("Throughput over time")]
    assert chart.count('class="hover"') == MAX_POINTS
    assert "worst second of 12" in chart
    slowest_ms = max(s.max_s or 0 for s in examples.long().stages[0].seconds) * 1000
    assert f"max {slowest_ms:,.4g}" in chart
    assert len(page) < 600_000


def test_seconds_and_requests_without_an_answer_are_marked() -> None:
    """In the charts over time, in the histogram and at the end of the percentile curve."""
    text = _visible(to_html(examples.stalled()))
    assert "nothing answered" in text
    assert "175 never answered" in text
    assert "never" in text


def test_capacity_has_its_sentence_steps_and_overload() -> None:
    """What one instance carries is the banner."""
    page = to_html(examples.capacity())
    text = _visible(page)
    assert figures.sentence(examples.capacity()) in text
    assert page.count('class="cross failed"') == 4
    assert page.count('class="dot good"') == 10
    assert "good 282/s of 443/s, p99 100 ms" in text
    assert "Latency by percentile ms, at 223 requests/s" in text


def test_nothing_measured_is_said_and_nothing_is_drawn() -> None:
    """No empty frames."""
    page = to_html(examples.empty())
    assert "Nothing was measured." in page
    assert page.count("<svg") == 0
    assert "∞" in to_html(examples.unanswered())


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
