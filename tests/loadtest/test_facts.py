"""What was run is named, and every doubt about it."""

from loadtest.facts import CLOSED, facts, notes
from tests.loadtest import examples


def test_notes_name_every_doubt() -> None:
    """A generator short of CPU, a run cut short, nothing measured, a load that stalls with us."""
    assert "short of CPU" in notes(examples.invalid())[0]
    assert notes(examples.empty()) == ["Stopped by hand before its end.", "Nothing was measured."]
    assert notes(examples.closed()) == [CLOSED]
    assert notes(examples.passing()) == []


def test_facts_name_service_model_machine_and_load() -> None:
    """Enough to run the same again."""
    said = facts(examples.regression())
    assert "topics version 4" in said["service"]
    assert "c4" * 6 in said["service"]
    assert "ab" * 6 in said["baseline"]
    assert said["load"] == "poisson; 90.0 requests/s"
    assert said["seed"] == "20260102"
    assert said["started"] == "2026-01-02 03:04:05 UTC"
    assert "models not listed" in facts(examples.unanswered())["service"]
    stored = examples.passing().model_copy(update={"baseline": "old/result.json"})
    assert facts(stored)["baseline"] == "old/result.json"
