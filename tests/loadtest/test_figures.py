"""The figures of a result, counted and said as they should be."""

from loadtest import figures
from loadtest.result import Overload
from tests.loadtest import examples


def test_headline_counts_unanswered_requests_as_infinitely_late() -> None:
    """175 of 3,924 timed out: the p99 has no end, and they count as failed."""
    tiles = {t.name: t for t in figures.headline(figures.sections(examples.stalled())["steady"])}
    assert tiles["p99"].value == "∞"
    assert tiles["p99"].bad
    assert tiles["failed"].value == "175 of 3,924"
    assert tiles["failed"].note == "4.46 %"
    assert tiles["good"].note == "answered within 100 ms"


def test_sent_differs_from_offered_by_what_was_dropped() -> None:
    """A generator that is too slow shows."""
    stages = examples.invalid().stages
    tiles = {t.name: t for t in figures.headline(stages)}
    assert tiles["offered"].value == "152 requests/s"
    assert tiles["offered"].note == "sent 148/s"


def test_latencies_of_a_capacity_search_are_those_of_its_confirmations() -> None:
    """Rates that were only tried are not mixed in."""
    ((name, stages),) = figures.sections(examples.capacity()).items()
    assert name == "at 223 requests/s"
    assert len(stages) == 5
    assert {stage.rate_rps for stage in stages} == {223.0}


def test_capacity_is_one_sentence() -> None:
    """What one instance carries, at which latency, and how many the peak needs."""
    capacity = examples.capacity().capacity
    assert capacity
    said = figures.capacity_sentence(capacity)
    carried = "One instance carries 348 texts/s with p99 at most 100 ms"
    assert said == f"{carried}; for your peak of 2,000 texts/s you need 6 instances."
    assert figures.sentence(examples.capacity()) == said
    alone = capacity.model_copy(update={"limited_by": "generator", "instances": None})
    assert "carries at least 348 texts/s with p99 at most 100 ms." in figures.capacity_sentence(
        alone
    )
    nothing = capacity.model_copy(update={"rate_rps": None, "texts_per_s": None})
    assert "No rate was confirmed" in figures.capacity_sentence(nothing)


def test_overload_says_when_it_was_over_and_when_the_generator_fell_short() -> None:
    """The recovery is the stage below the capacity."""
    known = {"offered_rps": 170.0, "sent_rps": 170.0, "goodput_rps": 169.0, "p99_s": 0.02}
    after = Overload(factor=0.8, recovery_s=2.0, **known)
    assert figures.overload_name(after) == "after"
    assert figures.overload_words(after) == (
        "good 169/s of 170/s, p99 20.0 ms, recovered within 2.0 s"
    )
    never = after.model_copy(update={"recovery_s": None, "sent_rps": 90.0})
    assert "only 90.0/s could be sent, not recovered" in figures.overload_words(never)
    assert figures.overload_name(after.model_copy(update={"factor": 5.0})) == "5x"


def test_outcome_table_has_a_row_for_each_kind_and_a_column_for_each_failure() -> None:
    """Rows add up to what was offered."""
    head, rows = figures.outcome_table(examples.stalled().stages)
    assert head == ["kind", "offered", "ok", "timeout", "good", "texts", "p50", "p99"]
    assert {row[0] for row in rows} == {"single", "batch", "explain"}
    for row in rows:
        offered, ok, timeout = (int(cell.replace(",", "")) for cell in row[1:4])
        assert offered == ok + timeout


def test_closed_workload_has_one_latency() -> None:
    """Nothing is scheduled, so from sent is the same."""
    tiles = figures.headline(examples.closed().stages)
    assert not any("sent" in tile.note for tile in tiles)
    assert (tiles[3].value, tiles[3].note) == ("251 requests/s", "by 8 users")


def test_sentence_is_that_of_the_verdict() -> None:
    """Without its outcome, which stands beside it; a load test has none."""
    said = figures.sentence(examples.stalled())
    assert said == "steady: p95 at most 50 ms: 1,794 ms (1,728 ms to ∞), and 3 more"
    assert figures.sentence(examples.invalid()).startswith("achieved of offered 97.31 %, not at")
    assert figures.sentence(examples.closed()) == ""


def test_rounds_of_a_comparison_are_those_that_were_judged() -> None:
    """In a unit that people read; where nothing was compared, there are none."""
    p50, p95, p99, *_ = figures.judgements(examples.regression())
    values = figures.round_values(p50)
    assert {role: len(found) for role, found in values.items()} == {"candidate": 5, "baseline": 5}
    assert values["candidate"][0] == 1000 * (p50.values[0] or 0)
    assert figures.round_values(p99) == {}
    for metric, unit in (("p50", "ms"), ("goodput", "%"), ("memory_growth", "MB")):
        assert figures.round_unit(p95.model_copy(update={"metric": metric})) == unit
    late = p95.model_copy(update={"values": [None]})
    assert figures.round_values(late)["candidate"] == [float("inf")]
