"""Prometheus instruments, built on a registry that is passed in."""

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from service.batcher import BatchRecord
from service.loader import LoadedModel

# 0.5 ms to 10 s in steps of 1-2-5: even on a log scale, and objectives fall on an edge.
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_ACCURACY = (0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0, 5.0)
_RATIOS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75)
OUTCOMES = (
    "ok",
    "invalid",
    "unauthorized",
    "limited",
    "shed",
    "expired",
    "cancelled",
    "engine_error",
    "internal_error",
)
CHANGES = ("activated", "unchanged", "refused", "cancelled", "failed")


def heed_version() -> str:
    """The version that is installed."""
    try:
        return version("heed")
    except PackageNotFoundError:
        return "unknown"


class Queue(Protocol):
    """What waits for the engine."""

    @property
    def queue_depth(self) -> int:
        """Number of texts waiting."""

    @property
    def queue_limit(self) -> int:
        """Number of texts that may wait."""


class Metrics:
    """What `/metrics` shows. Requests are those to `/v1/classify`, each with one outcome."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every instrument on `registry`."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for each, unread
        self._registry = registry
        ProcessCollector(registry=registry)
        requests = Counter(
            "heed_requests_total", "Requests by outcome.", ["outcome"], registry=registry
        )
        self.received = Counter(
            "heed_requests_received_total",
            "Requests that came; each has one outcome when it is done.",
            registry=registry,
        )
        self.late_responses = Counter(
            "heed_late_responses_total", "Answers 200 after the deadline.", registry=registry
        )
        # All there from the start: a rate over a series that appears late misses its first steps.
        self._outcomes = {outcome: requests.labels(outcome) for outcome in OUTCOMES}
        self._duration = self._seconds("heed_request_duration_seconds", "Whole request.")
        self._tokenize = self._seconds(
            "heed_tokenize_seconds", "Tokenising the texts of a request."
        )
        self._queue_wait = self._seconds("heed_queue_wait_seconds", "Wait of a text for a worker.")
        self._engine = Histogram(
            "heed_engine_duration_seconds",
            "Computing a batch, with padding and softmax.",
            ["provider"],
            registry=registry,
            buckets=_SECONDS,
        )
        self._batch_size = Histogram(
            "heed_batch_size", "Texts in a batch.", registry=registry, buckets=_SIZES
        )
        self._padding = Histogram(
            "heed_batch_padding_ratio",
            "Share of a batch's tokens that is padding.",
            registry=registry,
            buckets=_RATIOS,
        )
        self.in_flight = Gauge(
            "heed_in_flight_requests", "Requests being answered.", registry=registry
        )
        self._queue_depth = Gauge("heed_queue_depth", "Texts waiting.", registry=registry)
        self._refused = Counter(
            "heed_refused_connections_total",
            "Connections that the protocol guard refused or cut.",
            ["reason"],
            registry=registry,
        )
        self._connections = Gauge("heed_open_connections", "Open connections.", registry=registry)
        self._queue_limit = Gauge(
            "heed_queue_limit",
            "Texts that may wait: as many as the service time allows within the timeout.",
            registry=registry,
        )
        self._accuracy = Histogram(
            "heed_service_time_ratio",
            "Measured over expected seconds of a batch.",
            registry=registry,
            buckets=_ACCURACY,
        )
        self._truncated = Counter(
            "heed_truncated_texts_total", "Texts that were cut.", registry=registry
        )
        self.dropped_lines = Counter(
            "heed_log_lines_dropped_total",
            "Log lines that nobody read in time, or that could not be written.",
            registry=registry,
        )
        loads = Counter(
            "heed_model_loads_total",
            "Attempts to change the version that answers.",
            ["outcome"],
            registry=registry,
        )
        self._changes = {outcome: loads.labels(outcome) for outcome in CHANGES}
        self._build_info = Gauge(
            "heed_build_info",
            "What is served; always 1.",
            ["version", "model", "model_version", "manifest_sha256", "provider"],
            registry=registry,
        )

    def describe(self, model: LoadedModel, queue: Queue) -> None:
        """Say what is served, and where to read how much waits."""
        provider = model.engine.execution_provider
        self._engine_duration = self._engine.labels(provider)
        self._build_info.clear()
        self._build_info.labels(
            heed_version(),
            model.manifest.name,
            model.manifest.version,
            model.manifest_sha256,
            provider,
        ).set(1)
        self._queue_depth.set_function(lambda: queue.queue_depth)
        self._queue_limit.set_function(lambda: queue.queue_limit)

    def observe_request(self, outcome: str, duration_s: float) -> None:
        """Count an answered request."""
        self._outcomes[outcome].inc()
        self._duration.observe(duration_s)

    def observe_change(self, outcome: str) -> None:
        """Count an attempt to change the version that answers."""
        self._changes[outcome].inc()

    def observe_encoded(self, tokenize_s: float, truncated: int) -> None:
        """Count the texts of a request as they are tokenised."""
        self._tokenize.observe(tokenize_s)
        if truncated:
            self._truncated.inc(truncated)

    def observe_batch(self, record: BatchRecord) -> None:
        """Count a batch that was computed."""
        if record.whole and record.expected_s > 0.0:
            self._accuracy.observe(record.engine_s / record.expected_s)
        self._engine_duration.observe(record.engine_s)
        self._batch_size.observe(record.texts)
        self._padding.observe(1.0 - record.tokens / record.padded_tokens)
        for queue_s in record.queue_s:
            self._queue_wait.observe(queue_s)

    def observe_refusal(self, reason: str) -> None:
        """Count a connection that was refused or cut."""
        self._refused.labels(reason).inc()

    def count_connections(self, count: Callable[[], int], reasons: Iterable[str]) -> None:
        """Say where to read how many connections are open, and why some may be refused."""
        self._connections.set_function(count)
        for reason in reasons:
            self._refused.labels(reason)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)

    def _seconds(self, name: str, documentation: str) -> Histogram:
        return Histogram(name, documentation, registry=self._registry, buckets=_SECONDS)
