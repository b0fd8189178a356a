"""Raw samples survive the way from Locust's process to ours."""

from pathlib import Path

from loadtest.samples import OK, Samples


def test_samples_read_back_are_bit_for_bit_those_written(tmp_path: Path) -> None:
    """No float loses a digit, no outcome its comma."""
    samples = Samples("2026-01-02T03:04:05+00:00", stopped_s=10 / 3, cpu_warning=True)
    samples.add(0.1 + 0.2, 1 / 3, OK)
    samples.add(1e-7, 123.456, 'status 503, "busy"')
    samples.write(tmp_path / "samples.csv")
    assert Samples.read(tmp_path / "samples.csv") == samples


def test_run_without_a_request_reads_back_empty(tmp_path: Path) -> None:
    """A service that never answers leaves a valid file."""
    Samples("2026-01-02T03:04:05+00:00").write(tmp_path / "samples.csv")
    assert Samples.read(tmp_path / "samples.csv").outcome == []
