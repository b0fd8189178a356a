"""Prometheus instruments, built on a registry that is passed in."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

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
_RATIOS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75)
OUTCOMES = ("ok", "invalid", "shed", "expired", "cancelled", "engine_error", "internal_error")


def heed_version() -> str:
    """The version that is installed."""
    try:
        return version("heed")
    except PackageNotFoundError:
        return "unknown"


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
        self._truncated = Counter(
            "heed_truncated_texts_total", "Texts that were cut.", registry=registry
        )
        self._build_info = Gauge(
            "heed_build_info",
            "What is served; always 1.",
            ["version", "model", "model_version", "manifest_sha256", "provider"],
            registry=registry,
        )

    def describe(self, model: LoadedModel, queue_depth: Callable[[], int]) -> None:
        """Say what is served, and where to read how much waits."""
        provider = model.engine.execution_provider
        self._engine_duration = self._engine.labels(provider)
        self._build_info.labels(
            heed_version(),
            model.manifest.name,
            model.manifest.version,
            model.manifest_sha256,
            provider,
        ).set(1)
        self._queue_depth.set_function(queue_depth)

    def observe_request(self, outcome: str, duration_s: float) -> None:
        """Count an answered request."""
        self._outcomes[outcome].inc()
        self._duration.observe(duration_s)

    def observe_encoded(self, tokenize_s: float, truncated: int) -> None:
        """Count the texts of a request as they are tokenised."""
        self._tokenize.observe(tokenize_s)
        if truncated:
            self._truncated.inc(truncated)

    def observe_batch(self, record: BatchRecord) -> None:
        """Count a batch that was computed."""
        self._engine_duration.observe(record.engine_s)
        self._batch_size.observe(record.texts)
        self._padding.observe(1.0 - record.tokens / record.padded_tokens)
        for queue_s in record.queue_s:
            self._queue_wait.observe(queue_s)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)

    def _seconds(self, name: str, documentation: str) -> Histogram:
        return Histogram(name, documentation, registry=self._registry, buckets=_SECONDS)
